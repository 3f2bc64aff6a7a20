"""Goal: with weeks of history, three collectors and a scorer decide each window as one sidecar that hears all, to the last bit, and page the same.

Method: two programs on one story: a sidecar with both roles, and a scorer with collectors, all in this process on a manual clock, windows over
real HTTP. Spans of each request are dealt out to the collectors one by one. Verdicts are compared by series and window, bit by bit, and
incidents by all they say. Collectors come, go and die on the way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sentinel.app.collector import Collector
from sentinel.app.config import SentinelConfig
from sentinel.app.making import make_program
from sentinel.app.role import Role
from sentinel.core.model import Reason, SeriesKey
from sentinel.core.series.collected import COLLECTORS
from sentinel.receivers.windows.http import WindowsHttpConfig, WindowsListenConfig
from sentinel.runtime.settings import Duration
from sentinel.senders.windows.config import CollectConfig
from tests.support.alertmanager_server import collector
from tests.support.otlp_messages import CONSUMER, traces
from tests.support.whole_app import (
    Calls,
    Sidecar,
    config_of,
    sidecar,
    thought,
    until,
    usual_of,
    with_history,
)

pytestmark = pytest.mark.timeout(280)

EDGE = Calls(count=60)
POSTER = Calls(service="ledger-poster", kind=CONSUMER, route="ledger.transfers", count=60)
SLOW = replace(EDGE, duration_s=0.8)
FEW = replace(EDGE, count=3)
USUAL = {
    **usual_of(EDGE, stage="edge", route="POST /v1/transfers"),
    **usual_of(POSTER, stage="consumer", route="process ledger.transfers"),
}

Verdicts = dict[SeriesKey, tuple[bytes, ...]]


class Fleet:
    """A scorer whose telemetry goes to its collectors."""

    def __init__(self, folder: Path, scorer: Sidecar) -> None:
        self._folder, self.scorer = folder, scorer
        self.collectors: dict[str, Collector] = {}
        self._client = scorer._client
        scorer.post = self._deal  # type: ignore[method-assign]

    async def add(self, *names: str) -> None:
        """Start collectors, and see that the scorer knows of them."""
        merge = self.scorer.app.merge
        assert merge is not None
        for name in names:
            config = config_of(self._folder / name)
            url = self.scorer.app.addresses()["windows_url"]
            made = make_program(
                replace(config, role=Role.COLLECT, collect=CollectConfig(name=name, url=url)),
                clock=self.scorer.clock,
                logger=logging.getLogger("sentinel.tests.whole_app"),
            )
            assert isinstance(made, Collector)
            await made.start()
            self.collectors[name] = made
            await until(lambda name=name: name in merge._roster.members, what="the hello")  # type: ignore[misc]

    async def end(self, name: str) -> None:
        """Stop one as SIGTERM does."""
        await self.collectors.pop(name).stop()

    async def kill(self, name: str) -> None:
        """Let go of one as a kill does: it sends nothing more, and says no goodbye."""
        dead = self.collectors.pop(name)
        dead.shipping._running = False
        await dead.shipping._tasks.close()
        await dead.shipping._transport.close()
        await dead.shipping._run(dead.shipping._queue.close)
        dead.ingest._finish = None
        dead.ingest._accepting = False
        await dead.ingest._tasks.close()
        await dead.stop()

    async def _deal(self, path: str, body: bytes) -> int:
        """Each span of a request to another collector, in turn."""
        request = ExportTraceServiceRequest.FromString(body)
        (resource,) = request.resource_spans
        service = resource.resource.attributes[0].value.string_value
        spans = list(resource.scope_spans[0].spans)
        for at, one in enumerate(self.collectors.values()):
            own = traces(*spans[at :: len(self.collectors)], service=service)
            url = one.addresses()["otlp_http_url"]
            headers = {"Content-Type": "application/x-protobuf"}
            async with self._client.post(
                url + path, data=own.SerializeToString(), headers=headers
            ) as reply:
                assert reply.status == 200
        return 200


def scoring(config: SentinelConfig) -> SentinelConfig:
    ways = WindowsHttpConfig(listen=WindowsListenConfig(port=0))
    return replace(
        config,
        role=Role.SCORE,
        receivers=replace(config.receivers, windows_http=ways),
        # The harness gives a window some seconds after its lateness, a second at a time.
        merge=replace(config.merge, grace=Duration(0.1), wait=Duration(2.0)),
    )


@asynccontextmanager
async def fleet(folder: Path, *names: str, webhook_url: str = "") -> AsyncIterator[Fleet]:
    async with sidecar(scoring(config_of(folder / "scorer", webhook_url=webhook_url))) as side:
        many = Fleet(folder, side)
        try:
            await many.add(*names)
            yield many
        finally:
            await asyncio.gather(*(one.stop() for one in many.collectors.values()))


def decided(side: Sidecar) -> Verdicts:
    """What was thought of each series in the last window, to the bit."""
    latest = side.app.evaluate.latest
    assert latest is not None
    block, verdicts = latest.block, latest.verdicts
    columns = (
        block.value,
        block.weight,
        block.heard,
        verdicts.expected,
        verdicts.lower,
        verdicts.upper,
        verdicts.score,
        verdicts.direction,
        verdicts.reason,
    )
    return {
        key: tuple(column[0, at].tobytes() for column in columns)
        for at, key in enumerate(latest.keys)
        if key != COLLECTORS
    }


STORY = [(EDGE, 12), (SLOW, 5), (EDGE, 8), (FEW, 5), (EDGE, 3)]


async def lived(side: Sidecar) -> list[Verdicts]:
    """The story: an ordinary time, slow calls, an ordinary time, hardly any calls."""
    await with_history(side, USUAL, days=15)
    found = []
    for calls, count in STORY:
        for _ in range(count):
            await side.window(calls, POSTER)
            found.append(decided(side))
    return found


def told(incident: dict[str, Any]) -> dict[str, Any]:
    return {name: incident[name] for name in incident if name != "log_lines"}


async def test_each_window_is_decided_as_by_one_sidecar_and_the_pages_are_the_same(
    tmp_path: Path,
) -> None:
    with collector() as hook, collector() as single_hook:
        async with sidecar(config_of(tmp_path / "one", webhook_url=single_hook.url)) as single:
            expected = await lived(single)
            incidents = await single.incidents()
            await single.sees(lambda: len(single_hook.distinct()) >= 2, "the pages")
        async with fleet(tmp_path, "a", "b", "c", webhook_url=hook.url) as many:
            assert await lived(many.scorer) == expected
            found = await many.scorer.incidents()
            await many.scorer.sees(lambda: len(hook.distinct()) >= 2, "the pages")
        assert len(incidents) >= 2
        assert [told(one) for one in found] == [told(one) for one in incidents]
        assert hook.distinct() == single_hook.distinct()


async def test_scaling_is_no_anomaly_and_a_death_is_one_ticket(tmp_path: Path) -> None:
    with collector() as hook:
        async with fleet(tmp_path, "a", "b", "c", webhook_url=hook.url) as many:
            side = many.scorer
            await with_history(side, USUAL, days=15)
            await side.windows(36, EDGE, POSTER)
            usual = decided(side)
            await many.add("d", "e", "f")
            await side.windows(6, EDGE, POSTER)
            assert decided(side).keys() == usual.keys()
            assert thought(side, "traffic") == (Reason.SCORED, 6.0)
            for name in "def":
                await many.end(name)
            await side.windows(6, EDGE, POSTER)
            assert thought(side, "traffic") == (Reason.SCORED, 6.0)
            assert hook.distinct() == []
            await many.kill("c")
            # The calls that it would have heard are heard by nobody: that is no fall.
            await side.windows(10, replace(EDGE, count=40), replace(POSTER, count=40))
            assert thought(side, "traffic")[0] is Reason.PARTIAL
            await side.sees(lambda: bool(hook.distinct()), "the ticket")
            (ticket,) = hook.distinct()
            assert ticket["labels"]["alertname"] == "SentinelBlind"
            assert ticket["labels"]["severity"] == "ticket"
            assert ticket["annotations"]["summary"] == "collectors: blind 1/3: c is not heard"
            assert [one["group"] for one in await side.incidents()] == ["collectors"]
