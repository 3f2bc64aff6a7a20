"""Past data into a store: what it becomes, that doing it twice changes nothing, and what is refused.

Method: the command itself on small files and a store in a temporary folder; the reduction beside a plain
loop over the rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from sentinel.cli.baseline import command as baseline
from sentinel.core.model import SeriesKey, WindowBlock
from sentinel.errors import StoreError
from sentinel.history import HistoryRows
from sentinel.pipeline.backfill import STEP_NS, Backfill
from sentinel.pipeline.backfill import spool as spool_module
from sentinel.storage.memory import MemoryStore
from sentinel.storage.sqlite import SqliteStore, StoreConfig, StoreReader
from tests.support.store_blocks import rectangle
from tests.support.surroundings import make_surroundings

NOW_NS = 1_790_000_000_000_000_000
KEEP_NS = 400 * 86_400 * 10**9
KEYS = [SeriesKey("shop", "edge", f"GET /{number}", "latency") for number in range(5)]
HEADER = "timestamp,service,stage,route,signal,value,weight\n"
FIRST_S = 1_789_999_800


def random_rows(count: int, *, seed: int) -> HistoryRows:
    rng = np.random.default_rng(seed)
    value = rng.lognormal(size=count)
    value[rng.random(count) < 0.2] = np.nan
    weight = rng.poisson(5.0, count).astype(np.float64)
    weight[rng.random(count) < 0.5] = np.nan
    return HistoryRows(
        series=rng.integers(0, len(KEYS), count, dtype=np.int32),
        time_ns=NOW_NS - 10 * STEP_NS * 48 + rng.integers(0, 9 * STEP_NS * 48, count),
        value=value,
        weight=weight,
    )


def stored(store: MemoryStore) -> list[WindowBlock]:
    return list(store.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62))


def test_windows_are_medians_and_sums_whatever_the_order_of_rows() -> None:
    rows = random_rows(4000, seed=1)
    store = MemoryStore()
    with Backfill(now_ns=NOW_NS, keep_ns=KEEP_NS) as run:
        run.add([rows])
        summary = run.store(store, KEYS)
    cells: dict[tuple[int, int], list[int]] = {}
    for at in range(rows.time_ns.size):
        start_ns = int(rows.time_ns[at]) // STEP_NS * STEP_NS
        cells.setdefault((start_ns, int(rows.series[at]) + 1), []).append(at)
    found = {
        (one.start_ns + row * STEP_NS, series_id): (
            one.value[row, column],
            one.weight[row, column],
        )
        for one in stored(store)
        for row in range(one.window_count)
        for column, series_id in enumerate(one.series.tolist())
        if one.heard[row, column]
    }
    assert found.keys() == cells.keys()
    assert summary.window_count == len(cells)
    assert summary.row_count == 4000
    for place, rows_of_cell in cells.items():
        values = rows.value[rows_of_cell].astype(np.float32)
        known = [float(value) for value in values if not np.isnan(value)]
        median = np.float32(statistics.median(known)) if known else np.float32(np.nan)
        weights = rows.weight[rows_of_cell]
        weights = weights[~np.isnan(weights)]
        np.testing.assert_equal(found[place][0], median)
        assert found[place][1] == (weights.sum() if weights.size else len(known))


def test_spilling_to_disk_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [random_rows(500, seed=seed) for seed in range(6)]
    results = []
    for limit in (10**6, 700):
        monkeypatch.setattr(spool_module, "_SPOOLED_ROWS_MAX", limit)
        store = MemoryStore()
        with Backfill(now_ns=NOW_NS, keep_ns=KEEP_NS) as run:
            run.add(parts)
            folder = run._spool
            assert folder is not None
            assert bool(list(folder.iterdir())) == (limit == 700)
            results.append((run.store(store, KEYS), rectangle(stored(store))))
        assert not folder.exists()
    assert results[0] == results[1]


def test_rows_too_old_or_too_new_are_counted() -> None:
    times_ns = np.array([NOW_NS - KEEP_NS - 1, NOW_NS - 1, NOW_NS - 2 * STEP_NS])
    rows = HistoryRows(
        series=np.zeros(3, np.int32), time_ns=times_ns, value=np.ones(3), weight=np.ones(3)
    )
    with Backfill(now_ns=NOW_NS, keep_ns=KEEP_NS) as run:
        run.add([rows])
        summary = run.store(None, KEYS)
    assert summary.skipped == {"older than the store keeps": 1, "in a window that is not over": 1}
    assert (summary.series_count, summary.window_count, summary.row_count) == (1, 1, 1)


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    baseline.add_arguments(parser.add_subparsers(required=True).add_parser("baseline"))
    args = parser.parse_args(["baseline", *words])
    code: int = args.run(args)
    return code


def history(path: Path, *, routes: int = 3, first_s: int = FIRST_S) -> Path:
    lines = [HEADER]
    for at in range(100):
        lines += [
            f"{first_s - 300 * (100 - at)},shop,edge,r{route},traffic,{at + route / 3},{at}\n"
            for route in range(routes)
        ]
    path.write_text("".join(lines))
    return path


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.runtime.clock.SystemClock.now_ns", lambda _: NOW_NS)


def test_the_command_twice_leaves_the_same_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = history(tmp_path / "h.csv"), str(tmp_path / "store")
    contents = []
    for _ in range(2):
        assert run("backfill", str(path), "--store", store, "-o", "json") == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["series_count"], told["window_count"], told["skipped"]) == (3, 300, {})
        assert told["start"] == "2026-09-21T05:50:00+00:00"
        with StoreReader(store) as reader:
            contents.append(
                rectangle(list(reader.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62)))
            )
            assert [row.key.route for row in reader.series()] == ["r0", "r1", "r2"]
    assert contents[0] == contents[1]
    assert run("show", "--store", store) == 0
    assert "step_s 300.0" in capsys.readouterr().out


def test_a_backfill_ends_with_what_to_do_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ended with figures and "dry run False", and one wondered what to do now."""
    path = history(tmp_path / "h.csv")
    assert run("backfill", str(path), "--store", str(tmp_path / "store")) == 0
    out = capsys.readouterr().out
    *_, stored, following = out.splitlines()
    assert stored == "Stored. Start the sidecar; it fits at once."
    assert following == f"Next: SENTINEL_STORE__DIRECTORY={tmp_path / 'store'} sentinel run"
    assert "dry run" not in out


def test_a_dry_run_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = history(tmp_path / "h.csv")
    assert run("backfill", str(path), "--store", str(tmp_path / "store"), "--dry-run") == 0
    *figures, last, following = capsys.readouterr().out.splitlines()
    assert "window count   300" in figures
    assert last == "Dry run: all of it can be stored, and nothing was."
    assert following == "Next: the same without --dry-run."
    assert not (tmp_path / "store").exists()


def test_a_fault_in_the_last_line_stores_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = history(tmp_path / "good.csv"), history(tmp_path / "bad.csv")
    bad.write_text(bad.read_text() + f"{FIRST_S},shop,edge,r0,traffic,oops,1\n")
    assert run("backfill", str(good), str(bad), "--store", str(tmp_path / "store")) == 1
    assert "bad.csv:302: " in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_the_future_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = history(tmp_path / "h.csv", first_s=FIRST_S + 86_400)
    assert run("backfill", str(path), "--store", str(tmp_path / "store")) == 1
    told = capsys.readouterr().err.splitlines()
    assert "in the future" in told[0]
    assert len(told) == 12  # ten faults, that there may be more, that nothing is stored


def test_what_a_signal_cannot_be_is_refused_and_all_of_it_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped signal became a gauge, and shares of 50 (per cent) and negative rates were learnt from."""
    bad = tmp_path / "bad.csv"
    bad.write_text(
        HEADER
        + f"{FIRST_S - 600},shop,edge,r,trafic,1,1\n"
        + f"{FIRST_S - 600},shop,edge,r,traffic,-1,1\n"
        + f"{FIRST_S - 600},shop,edge,r,errors,50,1\n"
        + f"{FIRST_S - 300},shop,edge,r,trafic,1,1\n"
        + f"{FIRST_S - 300},shop,edge,r,latency,-0.1,1\n"
        + f"{FIRST_S - 300},shop,edge,r,errors_5xx,50,1\n"
    )
    metrics = tmp_path / "bad.om"
    metrics.write_text(
        f'errors{{service="a",stage="b",route="c"}} 2 {FIRST_S - 600}\n'
        f'latencys{{service="a",stage="b",route="c"}} 2 {FIRST_S - 600}\n# EOF\n'
    )
    none = tmp_path / "none.csv"
    assert run("backfill", str(bad), str(metrics), "--dry-run") == 1
    assert capsys.readouterr().err.splitlines() == [
        f"sentinel baseline: {line}"
        for line in (
            f"{bad}:2: signal 'trafic' is not known: did you mean traffic? (and in 1 more line)",
            f"{bad}:3: value -1 cannot be: traffic is calls a second, from 0",
            f"{bad}:4: value 50 cannot be: errors is the share of calls that failed, from 0 to 1",
            f"{bad}:6: value -0.1 cannot be: latency is seconds, from 0",
            f"{metrics}:1: value 2 cannot be: errors is the share of calls that failed, from 0 to 1",
            f"{metrics}:2: signal 'latencys' is not known: did you mean latency?",
            "nothing is stored",
        )
    ]
    assert run("backfill", str(bad), str(none), "--dry-run") == 3
    assert "none.csv cannot be read" in capsys.readouterr().err


def test_a_store_in_use_is_refused_with_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SqliteStore(StoreConfig(directory=str(tmp_path / "store")), make_surroundings())
    store.open()
    path = history(tmp_path / "h.csv")
    assert run("backfill", str(path), "--store", str(tmp_path / "store")) == 3
    assert "stop the sidecar" in capsys.readouterr().err
    assert run("show", "--store", str(tmp_path / "store"), "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["series"] == 0
    store.close()


def test_openmetrics_and_csv_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = tmp_path / "unnamed"
    metrics.write_text(
        f'depth{{service="a",stage="b",route="c"}} 1 {FIRST_S - 600}\n'.join(
            ["# TYPE depth gauge\n", ""]
        )
        + f"other 1 {FIRST_S}\n# EOF\n"
    )
    assert run("backfill", str(metrics), "--store", str(tmp_path), "--dry-run", "-o", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["window_count"] == 1
    assert told["skipped"] == {"not a gauge of a series": 1}
    (tmp_path / "neither").write_text("hello")
    assert run("backfill", str(tmp_path / "neither"), "--dry-run") == 1
    assert "--format" in capsys.readouterr().err
    with pytest.raises(StoreError, match="no store"):
        run("show", "--store", str(tmp_path / "none"))
