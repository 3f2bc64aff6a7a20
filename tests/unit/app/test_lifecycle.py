"""Goal: components start all or none, downstream first, and stop all in reverse, whatever one of them does.

Method: components that write down what happens to them, and fail or hang when told to.
"""

from __future__ import annotations

import asyncio
import logging

import pytest

from sentinel.app.lifecycle import Lifecycle
from sentinel.runtime.component import Health, HealthStatus
from sentinel.runtime.metrics import Metrics
from tests.support.surroundings import make_surroundings


class Part:
    """Writes into `events`; `start` or `stop` fails or hangs when named so."""

    def __init__(self, name: str, events: list[str], *, fails: str = "", hangs: str = "") -> None:
        self.name = name
        self._events = events
        self._fails = fails
        self._hangs = hangs

    async def start(self) -> None:
        """Start, or not."""
        await self._do("start")

    async def stop(self) -> None:
        """Stop, or not."""
        await self._do("stop")

    def health(self) -> Health:
        """Degraded, always."""
        return Health(status=HealthStatus.DEGRADED, sentence="As ever", since_ns=1)

    async def _do(self, what: str) -> None:
        self._events.append(f"{what} {self.name}")
        if self._fails == what:
            msg = f"{self.name} fails"
            raise OSError(msg)
        if self._hangs == what:
            await asyncio.sleep(60)


def lifecycle_of(*parts: Part) -> tuple[Lifecycle, Metrics]:
    metrics = make_surroundings().metrics
    lifecycle = Lifecycle(
        parts,
        metrics=metrics,
        logger=logging.getLogger("sentinel.tests"),
        start_timeout_s=0.05,
        stop_timeout_s=0.05,
    )
    return lifecycle, metrics


async def test_downstream_starts_first_and_stops_last() -> None:
    events: list[str] = []
    lifecycle, _ = lifecycle_of(Part("store", events), Part("ingest", events))
    lifecycle.add(Part("reload", events))
    await lifecycle.start()
    await lifecycle.stop()
    await lifecycle.stop()
    assert events == [
        "start store",
        "start ingest",
        "start reload",
        "stop reload",
        "stop ingest",
        "stop store",
    ]


@pytest.mark.parametrize(
    ("part", "error"), [({"fails": "start"}, OSError), ({"hangs": "start"}, TimeoutError)]
)
async def test_one_that_does_not_start_stops_all_that_had(
    part: dict[str, str], error: type[Exception]
) -> None:
    events: list[str] = []
    lifecycle, _ = lifecycle_of(
        Part("store", events), Part("ingest", events, **part), Part("receiver", events)
    )
    with pytest.raises(error):
        await lifecycle.start()
    assert events == ["start store", "start ingest", "stop ingest", "stop store"]


@pytest.mark.parametrize("part", [{"fails": "stop"}, {"hangs": "stop"}])
async def test_one_that_does_not_stop_skips_no_other(
    part: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    events: list[str] = []
    lifecycle, _ = lifecycle_of(
        Part("store", events), Part("ingest", events, **part), Part("receiver", events)
    )
    await lifecycle.start()
    await lifecycle.stop()
    assert events[3:] == ["stop receiver", "stop ingest", "stop store"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_start_that_is_cancelled_leaves_nothing_running() -> None:
    events: list[str] = []
    lifecycle, _ = lifecycle_of(Part("store", events), Part("ingest", events, hangs="start"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await lifecycle.start()
    assert events[-2:] == ["stop ingest", "stop store"]


async def test_health_is_shown_in_the_metrics_too() -> None:
    lifecycle, metrics = lifecycle_of(Part("store", []))
    assert lifecycle.health()["store"].sentence == "As ever"
    assert metrics.value("sentinel_component_health", component="store") == 1
