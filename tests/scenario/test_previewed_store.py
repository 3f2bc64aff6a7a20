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
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.app.calendar_section import CalendarConfig
from sentinel.core.decide import DecisionSettings, DecisionState
from sentinel.core.model import PageReason
from sentinel.core.scoring import ScoringSettings, Sensitivity
from sentinel.pipeline.replay import preview_store
from sentinel.runtime.settings import Zone
from sentinel.storage.sqlite.reader import StoreReader
from sentinel.web.health import iso_time
from tests.support.clock import ManualClock
from tests.support.previewed import (
    EDGE,
    POSTER,
    USUAL,
    Heard,
    assert_same,
    in_shadow,
    listening,
    previewed,
    told,
)
from tests.support.whole_app import (
    Sidecar,
    crash,
    sidecar,
    windows_until_resolved,
    with_history,
)

pytestmark = pytest.mark.timeout(120)


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
    assert found.checked_count >= 2
    assert_same(seen, heard)

    # From the middle on the state is brought there first, and nothing of before is told.
    middle_ns = heard.windows[len(heard.windows) // 2][0]
    part, found = previewed(tmp_path, from_ns=middle_ns)
    assert (found.from_ns, found.doubts) == (middle_ns, [])
    assert part.windows == [one for one in heard.windows if one[0] >= middle_ns]
    assert [one.at_ns for one in part.transitions] == [
        one.at_ns for one in heard.transitions if one.at_ns > middle_ns
    ]
    assert found.pages == heard.pages[-len(found.pages) :]
    assert 0 < len(found.pages) < len(heard.pages)
    # Of a window that had begun before it nothing is told, wherever blocks and pieces are cut.
    for whole_ns in range(middle_ns - 20 * 10**9, middle_ns + 30 * 10**9, 10**10):
        again, found = previewed(tmp_path, from_ns=whole_ns - 10**10 + 1)
        assert (found.from_ns, again.windows[0][0]) == (whole_ns, whole_ns)

    # A copy of what that reads gives the same elsewhere, and in a process of its own.
    copy = tmp_path / "part.sentinel"
    printed = preview_command("--store", tmp_path / "store", "--save-snapshot", copy)
    with StoreReader(copy) as reader:
        again = Heard()
        preview_store(reader, from_ns=None, to_ns=2**62, on_decided=again.note)
    assert_same(again, heard)
    # One of a part tells of that part alone, though it holds what lies round it.
    small = tmp_path / "small.sentinel"
    first_ns, last_ns = (heard.windows[len(heard.windows) * at // 4][0] for at in (1, 3))
    span = ("--from", iso_time(first_ns), "--to", iso_time(last_ns))
    printed_small = preview_command("--store", tmp_path / "store", *span, "--save-snapshot", small)
    assert 0 < len(printed_small) < len(printed)
    shutil.rmtree(tmp_path / "store")
    assert preview_command("--snapshot", copy) == printed
    assert preview_command("--snapshot", small) == printed_small
    assert preview_command("--snapshot", small, *span) == printed_small
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


async def test_a_preview_is_what_was_decided_live_while_the_clock_was_put_back_to_winter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = datetime(2026, 10, 25, 1, tzinfo=UTC)
    clock = ManualClock(int((change - timedelta(minutes=3)).timestamp()) * 10**9)
    config = in_shadow(tmp_path)
    config = replace(config, calendar=CalendarConfig(zone=Zone("Europe/Berlin")))
    heard = listening(monkeypatch)
    async with sidecar(config, clock=clock) as side:
        await told(side, 4, EDGE, POSTER)
        await with_history(side, USUAL, days=15)
        await told(side, 25, EDGE, POSTER)
    async with sidecar(config, clock=clock) as side:
        side.next_ns = -(-clock.now_ns() // 10**10) * 10**10
        await told(side, 12, EDGE, POSTER)
    assert heard.windows[0][0] < change.timestamp() * 10**9 < heard.windows[-1][0]
    with StoreReader(tmp_path / "store") as reader:
        learned = DecisionState.from_bytes(reader.states(limit=1)[0].payload).detector
    assert [learned.clock.of_day(learned.hour - back) for back in (0, 1, 2)] == [2, 2, 1]
    seen, found = previewed(tmp_path)
    assert found.doubts == []
    assert found.checked_count >= 1
    assert_same(seen, heard)


async def test_another_sensitivity_is_another_decision_and_said(tmp_path: Path) -> None:
    await lived(tmp_path, ManualClock())
    plain, _ = previewed(tmp_path)
    settings = DecisionSettings(scoring=ScoringSettings(cut_scale=Sensitivity.QUIET.cut_scale))
    other, found = previewed(tmp_path, settings=settings)
    assert found.doubts == ["it was decided by other settings than live"]
    assert [one[0] for one in other.windows] == [one[0] for one in plain.windows]
    assert other.windows != plain.windows
