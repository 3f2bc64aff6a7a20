"""Goal: the components that only a scorer or a collector has keep the contract of components, and count the same four things.

Method: a scorer and a collector are wired as the program wires them, in temporary folders. Each component of either is started and
stopped by itself; those that the role alone has are made to work and to fail, and are asked for their counters.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sentinel.app.build import Application, build, components_of
from sentinel.app.collector import Collector
from sentinel.app.config import SentinelConfig
from sentinel.app.making import make_program
from sentinel.app.role import Role
from sentinel.core.series.collected import Collecting, encode
from sentinel.errors import MalformedInputError, OverloadedError, StoreError, StoreLockedError
from sentinel.receivers.windows.http import WindowsHttpConfig, WindowsListenConfig
from sentinel.receivers.windows.nats import WindowsNatsReceiver
from sentinel.runtime.component import Component, HealthStatus
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.nats.config import NatsStreamConfig
from sentinel.runtime.settings import Duration
from sentinel.senders.windows.config import CollectConfig
from sentinel.senders.windows.shipping import Shipping
from sentinel.senders.windows.transports import Outcome, Verdict
from tests.support.batches import EDGE, START_NS, at, calls
from tests.support.clock import ManualClock
from tests.support.fetch import fetch
from tests.support.surroundings import make_surroundings
from tests.support.whole_app import config_of, until

_SCORER_ALONE = {"pipeline.merge", "receivers.windows_http"}
COUNTERS = ("received", "sent", "errors", "dropped")


def scorer_config(folder: Path) -> SentinelConfig:
    config = config_of(folder / "scorer")
    ways = replace(
        config.receivers, windows_http=WindowsHttpConfig(listen=WindowsListenConfig(port=0))
    )
    return replace(config, role=Role.SCORE, receivers=ways)


def collector_config(folder: Path, url: str = "http://127.0.0.1:1") -> SentinelConfig:
    config = config_of(folder / "collector")
    return replace(
        config,
        role=Role.COLLECT,
        collect=CollectConfig(name="a", url=url, drain_timeout=Duration(0.2)),
    )


@pytest.fixture
def logger() -> logging.Logger:
    return logging.getLogger("sentinel.tests")


@pytest.fixture
def scorer(tmp_path: Path, logger: logging.Logger) -> Application:
    return build(scorer_config(tmp_path), clock=ManualClock(), logger=logger)


@pytest.fixture
def collector(tmp_path: Path, logger: logging.Logger) -> Collector:
    made = make_program(collector_config(tmp_path), clock=ManualClock(), logger=logger)
    assert isinstance(made, Collector)
    return made


def test_a_scorer_has_all_that_one_process_has_and_a_collector_neither_store_nor_verdicts(
    scorer: Application, collector: Collector, tmp_path: Path, logger: logging.Logger
) -> None:
    both = build(config_of(tmp_path / "both"), clock=ManualClock(), logger=logger)
    assert set(components_of(scorer)) - set(components_of(both)) == _SCORER_ALONE
    assert set(components_of(both)) <= set(components_of(scorer))
    names = {one.name for one in collector.components()}
    assert "senders.windows" in names
    assert not names & {"storage.sqlite", "pipeline.evaluate", "pipeline.fit", "pipeline.deliver"}


def test_a_collector_shows_no_number_that_says_that_nothing_is_decided(
    collector: Collector,
) -> None:
    """An alert on windows that are not decided would fire of each collector."""
    shown = collector.surroundings.metrics.exposition(openmetrics=False).decode()
    for name in (
        "sentinel_ticks_total",
        "sentinel_evaluation_lag",
        "sentinel_fit_",
        "sentinel_outbox",
    ):
        assert name not in shown
    assert "sentinel_collect_queue_windows" in shown


async def keeps_the_contract(component: Component) -> None:
    assert component.health().status is HealthStatus.FAILING
    await component.start()
    assert component.health().status is HealthStatus.OK, component.health().sentence
    await component.stop()
    await component.stop()
    assert component.health().status is HealthStatus.FAILING


@pytest.mark.parametrize("name", sorted(_SCORER_ALONE))
async def test_components_of_a_scorer_start_and_stop(scorer: Application, name: str) -> None:
    await keeps_the_contract(components_of(scorer)[name])


async def test_components_of_a_collector_start_and_stop(collector: Collector) -> None:
    alone = [one for one in collector.components() if one.name != "senders.windows"]
    assert len(alone) > 2
    for component in alone:
        await keeps_the_contract(component)


async def test_windows_are_sent_to_a_scorer_that_is_there(
    scorer: Application, tmp_path: Path, logger: logging.Logger
) -> None:
    await scorer.start()
    try:
        url = scorer.addresses()["windows_url"]
        made = make_program(collector_config(tmp_path, url), clock=ManualClock(), logger=logger)
        await made.start()
        await made.stop()
        assert scorer.merge is not None
        assert value_of(scorer.surroundings.metrics, "received", "pipeline.merge") == 2, (
            "the hello and the goodbye"
        )
    finally:
        await scorer.stop()


async def test_what_waits_for_a_scorer_that_is_away_is_shown(
    tmp_path: Path, logger: logging.Logger
) -> None:
    """The alert on a scorer that is not reached looks at it, and nothing is taken that would tell of it."""
    made = make_program(collector_config(tmp_path), clock=ManualClock(), logger=logger)
    await made.start()
    try:
        shown = made.surroundings.metrics.exposition(openmetrics=False).decode()
        assert "\nsentinel_collect_queue_windows 1.0\n" in shown, "the hello"
        assert "\nsentinel_collect_queue_bytes 0.0\n" not in shown
    finally:
        await made.stop()


def value_of(metrics: Metrics, what: str, component: str) -> float:
    """One of the four counters of a component, over all its labels."""
    name = f"sentinel_component_{what}_total"
    return sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name and sample.labels["component"] == component
    )


def assert_counted(metrics: Metrics, component: str) -> None:
    found = {what: value_of(metrics, what, component) for what in COUNTERS}
    assert all(found.values()), f"{component} counts {found}"


def parts(count: int) -> Iterator[bytes]:
    """The hello of a collector, and as many windows."""
    pod = Collecting(
        config_of(Path("/nowhere")).series.series_settings(),
        collector="a",
        incarnation=1,
        start_ns=START_NS,
    )
    yield encode(pod.hello(START_NS)).body
    for number in range(count):
        pod.add(calls([(EDGE, 10.0 * number + 3, 0.1, False)]), at(10.0 * number + 3))
        (part,) = pod.close(at(10.0 * (number + 1) + 5)).windows
        yield encode(part).body


async def test_a_merge_and_its_way_in_count_four_things(scorer: Application) -> None:
    await scorer.start()
    try:
        metrics = scorer.surroundings.metrics
        url = scorer.addresses()["windows_url"] + "/v1/windows"
        bodies = list(parts(1))
        for body in (*bodies, bodies[-1]):
            assert (await fetch(url, method="POST", body=body)).status == 200
        assert (await fetch(url, method="POST", body=b"no part")).status == 400
        clock = scorer.surroundings.clock
        assert isinstance(clock, ManualClock)
        for _ in range(90):
            await clock.advance(1.0)
        await until(lambda: value_of(metrics, "sent", "pipeline.merge") > 0, what="a window")
        assert scorer.merge is not None
        assert_counted(metrics, "receivers.windows_http")
        scorer.merge._parts.add = _full  # type: ignore[method-assign]
        with pytest.raises(OverloadedError):
            await scorer.merge.take(list(parts(30))[-1])
        assert_counted(metrics, "pipeline.merge")
    finally:
        await scorer.stop()


def _full(*_: object, **__: object) -> None:
    msg = "no disk"
    raise StoreError(msg)


class OneTransport:
    """Takes, refuses or puts off, as it is told."""

    place = "nowhere"

    def __init__(self, *verdicts: Verdict) -> None:
        self._verdicts = list(verdicts)

    async def send(self, body: bytes, *, identity: str) -> Outcome:
        """The next verdict, and the last one for ever."""
        del body, identity
        verdict = self._verdicts.pop(0) if len(self._verdicts) > 1 else self._verdicts[0]
        return Outcome(verdict=verdict, detail="as it was told")

    async def close(self) -> None:
        """Nothing is held."""


async def test_sending_windows_counts_four_things(tmp_path: Path) -> None:
    clock = ManualClock()
    surroundings = make_surroundings(clock)
    pod = Collecting(config_of(tmp_path).series.series_settings(), collector="a", incarnation=1)
    shipping = Shipping(
        CollectConfig(name="a", url="http://127.0.0.1:1"),
        tmp_path / "queue",
        OneTransport(Verdict.RETRY, Verdict.REFUSED, Verdict.TAKEN),
        lambda: pod.hello(clock.now_ns()),
        surroundings,
    )
    await shipping.start()
    await shipping.ship(pod.finish(clock.now_ns()))
    for _ in range(100):
        if value_of(surroundings.metrics, "sent", "senders.windows"):
            break
        await clock.advance(1.0)
        await asyncio.sleep(0.02)
    await shipping.stop()
    assert_counted(surroundings.metrics, "senders.windows")


class Message:
    """One of a stream."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.became = ""

    async def ack(self) -> None:
        """It is taken."""
        self.became = "acked"

    async def term(self) -> None:
        """It is never taken."""
        self.became = "ended"

    async def in_progress(self) -> None:
        """It is waited with."""


async def test_taking_windows_from_a_stream_counts_four_things() -> None:
    surroundings = make_surroundings()
    taken: list[bytes] = []

    async def take(body: bytes) -> Any:  # what it is nobody asks
        if body == b"bad":
            msg = "no part"
            raise MalformedInputError(msg)
        taken.append(body)

    receiver = WindowsNatsReceiver(
        NatsStreamConfig(urls=("nats://127.0.0.1:1",)),
        take,
        surroundings,
    )
    good, bad = Message(b"good"), Message(b"bad")
    for message in (good, bad):
        await receiver._hand_on(message)  # type: ignore[arg-type]
    assert (good.became, bad.became, taken) == ("acked", "ended", [b"good"])
    assert_counted(surroundings.metrics, "receivers.windows_nats")
    await receiver.stop()


async def test_two_processes_do_not_share_a_queue(tmp_path: Path, logger: logging.Logger) -> None:
    config = collector_config(tmp_path)
    first = make_program(config, clock=ManualClock(), logger=logger)
    second = make_program(config, clock=ManualClock(), logger=logger)
    await first.start()
    try:
        with pytest.raises(StoreLockedError, match="another process uses the queue"):
            await second.start()
    finally:
        await first.stop()
