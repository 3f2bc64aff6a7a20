"""Goal: a preview of a CSV is what a sidecar in shadow mode decides that is given the same windows, to the bit.

Method: the whole program in shadow mode on a manual clock, from an empty store on, with a fit at each full hour: traffic,
errors, latency and a gauge of two services over a day and a half, outages, a silence, a series that comes late. What it decided is
kept by listening; its windows are written to a CSV, and of that file alone every page, every transition and every column
must be equal. Traces and log lines are not in a CSV, so none are remembered.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.app.config import SentinelConfig
from sentinel.cli.preview.files import read_past
from sentinel.core.evidence import RecentEvidence
from sentinel.core.model import Kind
from sentinel.pipeline.fit import FitConfig
from sentinel.pipeline.replay import Replayed, replay
from sentinel.runtime.settings import Duration
from sentinel.storage.sqlite.reader import StoreReader
from tests.support.clock import ManualClock
from tests.support.previewed import (
    EDGE,
    POSTER,
    Heard,
    assert_same,
    depth,
    in_shadow,
    listening,
)
from tests.support.whole_app import Calls, Sidecar, sidecar

pytestmark = pytest.mark.timeout(600)

HOUR_NS = 3600 * 10**9
BEGIN_NS = 1_790_000_000 * 10**9 // HOUR_NS * HOUR_NS
LATE = Calls(service="refunds", route="/v1/refunds", count=30)


@pytest.mark.parametrize(
    "window_s", [300, pytest.param(60, marks=pytest.mark.full)], ids=lambda one: f"{one}s"
)
async def test_a_preview_of_a_csv_is_what_a_shadow_run_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window_s: int
) -> None:
    monkeypatch.setattr(RecentEvidence, "remember", lambda *_args: None)
    heard = listening(monkeypatch)
    config = of_windows(tmp_path, window_s)
    async with sidecar(config, clock=ManualClock(BEGIN_NS)) as side:
        await lived(side)
        settings = side.app.decision_settings(config)
    scores = np.concatenate([np.frombuffer(one[2][5], np.float32) for one in heard.windows])
    assert np.isfinite(scores).sum() > 20 * 3600 / window_s
    kinds = {change.incident.kind.value for change in heard.transitions}
    assert kinds >= {"anomaly", "guard", "blind"}, kinds

    path = tmp_path / "windows.csv"
    path.write_text("".join(csv_of(tmp_path / "store", window_s * 10**9)))
    past = read_past([path], Kind.GAUGE)
    assert past.said == []
    seen = Heard()
    found = replay(past.series.values(), kind=Kind.GAUGE, settings=settings, on_decided=seen.note)
    assert_same(seen, heard)
    assert_told(found, heard)

    # As a person runs it, by the same configuration.
    (tmp_path / "sentinel.yaml").write_text(
        f"series: {{window: {window_s}s}}\nincidents: {{hold: 60s}}\n"
    )
    printed = preview_command("--csv", path, "--config", tmp_path / "sentinel.yaml")
    assert [(one["series"], one["start"], one["reason"]) for one in printed] == [
        (one.series, one.start_s, str(one.reason)) for one in found.pages if not one.is_reminder
    ]


def of_windows(folder: Path, window_s: int) -> SentinelConfig:
    config = in_shadow(folder)
    return replace(
        config,
        series=replace(config.series, window=Duration(window_s), tick=Duration(5)),
        # Fits are asked for at each full hour, and never come by themselves.
        fit=FitConfig(interval=Duration(86_400)),
    )


async def lived(side: Sidecar) -> None:
    """A day and a half."""
    per_hour = round(3600 / side.window_s)
    for window in range(38 * per_hour):
        hour = window / per_hour
        calls = [varied(EDGE, window), varied(POSTER, window)]
        if 3 <= hour < 3.5:
            calls[0] = replace(calls[0], failed_count=calls[0].count)
        if 6 <= hour < 6.5:
            calls = calls[1:]  # its service is not heard, nor the gauge
        if hour >= 8:
            calls.append(varied(LATE, window))
        if 33 <= hour < 33.5:
            calls[0] = replace(calls[0], count=calls[0].count * 4)
        if 35 <= hour < 35.5:
            calls[1] = replace(calls[1], failed_count=calls[1].count // 2, duration_s=0.9)
        start_ns = side.next_ns
        await side.send(*calls)
        if any(one.service == "ledger" for one in calls):
            level = 100.0 + window * 13 % 7 + (400.0 if 34 <= hour < 34.4 else 0.0)
            assert await side.post("/v1/metrics", depth(level, start_ns + 10**9)) == 200
        await side.close()
        if side.next_ns % HOUR_NS == 0:
            await side.app.fitter.fitted()


def varied(calls: Calls, window: int) -> Calls:
    """Never quite the same."""
    count = calls.count + window * 7 % 11
    return replace(calls, count=count, duration_s=calls.duration_s * (1 + window * 5 % 9 / 50))


def csv_of(store: Path, step_ns: int) -> Iterator[str]:
    """The stored windows; a series has a row where its source was heard."""
    yield "timestamp,service,stage,route,signal,value,weight\n"
    with StoreReader(store) as reader:
        keys = {row.series_id: row.key for row in reader.series()}
        for block in reader.windows(step_ns=step_ns, start_ns=0, end_ns=2**62):
            for row in range(block.window_count):
                at_s = (block.start_ns + row * step_ns) // 10**9
                for column, series_id in enumerate(block.series.tolist()):
                    if not block.heard[row, column]:
                        continue
                    value = float(block.value[row, column])
                    shown = "" if np.isnan(value) else repr(value)
                    labels = ",".join(keys[series_id])
                    yield f"{at_s},{labels},{shown},{float(block.weight[row, column])!r}\n"


def assert_told(found: Replayed, heard: Heard) -> None:
    """The rows are those pages: opened, worsened and reminders."""
    told = [page for page in heard.pages if page.status.value == "firing"]
    assert len(found.pages) == len(told)
    assert found.sidecar_count == 1


def preview_command(*args: str | Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "sentinel", "preview", *map(str, args), "-o", "ndjson"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
