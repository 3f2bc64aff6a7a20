"""Goal: a preview of a store is what a sidecar in shadow mode decided when it lived, to the bit.

Method: the whole program in shadow mode on a manual clock: traffic, errors, latency and a gauge, three fits, an incident
with evidence, a silence, a kill in the middle of an incident, and a reload. What it decided is kept by listening; then its
store is read by the preview, also in a process of its own, and every page, every transition and every column must be equal.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
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
from sentinel.core.decide import Decision, DecisionSettings
from sentinel.core.model import Page, PageReason, Transition, WindowBlock
from sentinel.core.scoring import ScoringSettings, Sensitivity
from sentinel.pipeline.evaluate import Evaluate
from sentinel.pipeline.preview import StorePreview, preview_store
from sentinel.storage.sqlite.reader import StoreReader
from tests.support.clock import ManualClock
from tests.support.otlp_messages import CONSUMER, resource
from tests.support.whole_app import (
    Calls,
    Sidecar,
    config_of,
    crash,
    sidecar,
    usual_of,
    windows_until_resolved,
    with_history,
)

pytestmark = pytest.mark.timeout(120)

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
    folder: Path, *, from_ns: int | None = None, **how: Any
) -> tuple[Heard, StorePreview]:
    heard = Heard()
    with StoreReader(folder / "store") as reader:
        found = preview_store(reader, from_ns=from_ns, to_ns=2**62, on_decided=heard.note, **how)
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


async def lived(folder: Path, clock: ManualClock) -> None:
    """The story; it leaves a store behind."""

    def again() -> AbstractAsyncContextManager[Sidecar]:
        return sidecar(in_shadow(folder), clock=clock)

    async with again() as side:
        await told(side, 4, EDGE, POSTER)
        await with_history(side, USUAL, days=15)
        await told(side, 12, EDGE, POSTER)
        failing = replace(EDGE, failed_count=25)
        await told(side, 4, failing, POSTER, logs=["connection refused by ledger-db"])
        await side.app.fitter.fitted()
        await told(side, 3, replace(failing, duration_s=0.8), POSTER)
        await crash(side.app)
    async with again() as side:
        side.next_ns = -(-clock.now_ns() // 10**10) * 10**10
        await told(side, 2, failing, POSTER)
        await told(side, windows_until_resolved() + 2, EDGE, POSTER)
        await told(side, 9)  # nothing is heard at all
        await side.app.fitter.fitted()
        await told(side, 12, EDGE, POSTER)
        await told(side, 3, replace(EDGE, count=3), POSTER)
        await told(side, 30, EDGE, POSTER)


def assert_same(seen: Heard, lived_through: Heard) -> None:
    assert [one[0] for one in seen.windows] == [one[0] for one in lived_through.windows]
    for mine, theirs in zip(seen.windows, lived_through.windows, strict=True):
        for name, one, other in zip(COLUMNS, mine[2], theirs[2], strict=True):
            assert one == other, (name, mine[0])
        assert mine == theirs
    assert seen.transitions == lived_through.transitions
    assert seen.pages == lived_through.pages


async def test_a_preview_is_what_was_decided_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = listening(monkeypatch)
    await lived(tmp_path, ManualClock())
    assert len(heard.pages) >= 3
    assert any(page.annotations.get("logs") for page in heard.pages)
    scores = np.concatenate([np.frombuffer(one[2][5], np.float32) for one in heard.windows])
    assert np.isfinite(scores).sum() > 200

    seen, found = previewed(tmp_path)
    assert found.doubts == []
    assert_same(seen, heard)

    # From the middle on the state is brought there first, and nothing of before is told.
    middle_ns = heard.windows[len(heard.windows) // 2][0]
    part, found = previewed(tmp_path, from_ns=middle_ns)
    assert (found.from_ns, found.doubts) == (middle_ns, [])
    assert [one for one in part.windows if one[0] >= middle_ns] == [
        one for one in heard.windows if one[0] >= middle_ns
    ]
    assert found.pages == heard.pages[-len(found.pages) :]
    assert 0 < len(found.pages) < len(heard.pages)

    # A copy of what that reads gives the same elsewhere, and in a process of its own.
    copy = tmp_path / "part.sentinel"
    printed = preview_command("--store", tmp_path / "store", "--save-snapshot", copy)
    with StoreReader(copy) as reader:
        again = Heard()
        preview_store(reader, from_ns=None, to_ns=2**62, on_decided=again.note)
    assert_same(again, heard)
    shutil.rmtree(tmp_path / "store")
    assert preview_command("--snapshot", copy) == printed
    told_of = [one for one in printed if "score" in one]
    opened = [page for page in heard.pages if page.reason is PageReason.OPENED]
    assert len([one for one in told_of if one["reason"] == "opened"]) == len(opened)
    assert {one["kind"] for one in told_of} >= {"anomaly", "blind"}
    spots = [one for one in printed if "cannot_see" in one]
    assert len(spots) > len(USUAL)
    assert all(one["cannot_see"].startswith("cannot see ") for one in spots)


def preview_command(*args: str | Path) -> list[dict[str, Any]]:
    """What `sentinel preview` prints in a process of its own."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sentinel",
            "preview",
            *map(str, args),
            "-o",
            "ndjson",
            "--blind-spots",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "equal to what live decided" in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_another_sensitivity_is_another_decision_and_said(tmp_path: Path) -> None:
    await lived(tmp_path, ManualClock())
    plain, _ = previewed(tmp_path)
    settings = DecisionSettings(scoring=ScoringSettings(cut_scale=Sensitivity.QUIET.cut_scale))
    other, found = previewed(tmp_path, settings=settings)
    assert found.doubts == ["it was decided by other settings than live"]
    assert [one[0] for one in other.windows] == [one[0] for one in plain.windows]
    assert other.windows != plain.windows
