"""What a whole program decided while it lived, heard beside what a preview of its store decides."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)

from sentinel.app.config import Mode, SentinelConfig
from sentinel.core.decide import Decision
from sentinel.core.model import Page, Transition, WindowBlock
from sentinel.pipeline.evaluate import Evaluate
from sentinel.pipeline.replay import StorePreview, preview_store
from sentinel.storage.sqlite.reader import StoreReader
from tests.support.otlp_messages import CONSUMER, resource
from tests.support.whole_app import Calls, Sidecar, config_of, until, usual_of

EDGE = Calls(count=60)
POSTER = Calls(service="ledger-poster", kind=CONSUMER, route="ledger.transfers", count=60)
USUAL = {
    **usual_of(EDGE, stage="edge", route="POST /v1/transfers"),
    **usual_of(POSTER, stage="consumer", route="process ledger.transfers"),
}
COLUMNS = (
    "value",
    "weight",
    "expected",
    "lower",
    "upper",
    "score",
    "direction",
    "reason",
    "views_or_none",
    "gates_or_none",
)


@dataclass
class Heard:
    """What was decided live, or in a preview: window by window, then what they led to."""

    windows: list[tuple[int, bytes, tuple[bytes, ...]]] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)

    def note(self, block: WindowBlock, decision: Decision) -> None:
        """Take what a block led to."""
        for row in range(block.window_count):
            verdicts = decision.verdicts.windows(row, row + 1)
            self.windows.append(
                (
                    block.start_ns + row * block.step_ns,
                    block.series.tobytes(),
                    tuple(getattr(verdicts, name).tobytes() for name in COLUMNS),
                )
            )
        self.transitions.extend(decision.transitions)
        self.pages.extend(decision.pages)


def listening(monkeypatch: pytest.MonkeyPatch) -> Heard:
    heard = Heard()
    store_tick = Evaluate._store_tick

    async def noted(self: Evaluate, block: WindowBlock, decision: Decision) -> None:
        heard.note(block, decision)
        await store_tick(self, block, decision)

    monkeypatch.setattr(Evaluate, "_store_tick", noted)
    return heard


def previewed(
    folder: Path,
    *,
    place: Path | None = None,
    from_ns: int | None = None,
    to_ns: int = 2**62,
    **how: Any,
) -> tuple[Heard, StorePreview]:
    heard = Heard()
    with StoreReader(place or folder / "store") as reader:
        found = preview_store(reader, from_ns=from_ns, to_ns=to_ns, on_decided=heard.note, **how)
    return heard, found


def depth(value: float, at_ns: int) -> bytes:
    point = NumberDataPoint(time_unix_nano=at_ns, as_double=value)
    metric = Metric(name="queue.depth", gauge=Gauge(data_points=[point]))
    request = ExportMetricsServiceRequest(
        resource_metrics=[
            ResourceMetrics(
                resource=resource("ledger"), scope_metrics=[ScopeMetrics(metrics=[metric])]
            )
        ]
    )
    return request.SerializeToString()


async def told(side: Sidecar, count: int, *calls: Calls, logs: Sequence[str] = ()) -> None:
    """Windows that are never quite the same, with a gauge beside the calls."""
    for number in range(count):
        start_ns = side.next_ns
        varied = [replace(one, count=one.count + number * 7 % 11) for one in calls]
        await side.send(*varied, logs=logs)
        if calls:
            value = 100.0 + number * 13 % 7
            assert await side.post("/v1/metrics", depth(value, start_ns + 10**9)) == 200
        await side.close()


def in_shadow(folder: Path) -> SentinelConfig:
    return replace(config_of(folder), mode=Mode.SHADOW)


def assert_same(seen: Heard, lived_through: Heard) -> None:
    assert [one[0] for one in seen.windows] == [one[0] for one in lived_through.windows]
    for mine, theirs in zip(seen.windows, lived_through.windows, strict=True):
        for name, one, other in zip(COLUMNS, mine[2], theirs[2], strict=True):
            assert one == other, (name, mine[0])
        assert mine == theirs
    # In words: what is not known is NaN, and equal to nothing.
    assert [repr(one) for one in seen.transitions] == [
        repr(one) for one in lived_through.transitions
    ]
    assert seen.pages == lived_through.pages


async def word(side: Sidecar, what: str, incident_id: str, *calls: Calls, by: str) -> None:
    """A person's word, as the command sends it; it is stored with the next window, which has these calls."""

    async def post() -> int:
        url = f"{side.web_url}/api/v1/incidents/{what}"
        said = {"id": incident_id, "by": by}
        async with aiohttp.ClientSession() as session, session.post(url, json=said) as reply:
            return reply.status

    answer = asyncio.create_task(post())
    # One that came after the window would wait for one that never closes.
    await until(
        lambda: answer.done() or bool(side.app.evaluate._accepting._words), what="the word"
    )
    await told(side, 1, *calls)
    assert await answer == 200
