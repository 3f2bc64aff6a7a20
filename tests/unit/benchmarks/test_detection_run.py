"""The benchmark as it is run: folders in, a table and rows out, within its limits of time.

Method: small made folders through `main`, with and without a detector that cannot finish; and the simulator's folder.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection import measure
from benchmarks.detection.__main__ import main
from benchmarks.detection.measure import sweep_all, tally_ours
from benchmarks.detection.ours import PreviewError, preview
from benchmarks.detection.peers import PEERS
from benchmarks.detection.simulated import SIMULATED, simulate
from benchmarks.detection.sources import datasets_of, series_of

pytestmark = pytest.mark.timeout(120)

DAY = 288


def a_folder(folder: Path, *, datasets: tuple[str, ...] = ("made",)) -> Path:
    """Two series of twelve days a data set, of which the first falls to nothing for an hour on the tenth."""
    lines = ["dataset,series,kind"]
    for dataset in datasets:
        (folder / dataset).mkdir(parents=True)
        for name, falls in (("falls", True), ("stays", False)):
            row = np.arange(12 * DAY)
            value = 100 + 20 * np.sin(2 * np.pi * row / DAY)
            value += np.random.default_rng(3).normal(0, 1, row.size)
            label = np.zeros(row.size)
            if falls:
                value[10 * DAY : 10 * DAY + 12] = 1.0
                label[10 * DAY : 10 * DAY + 12] = 1
            np.savetxt(
                folder / dataset / f"{name}.csv",
                np.column_stack([1_700_000_100 + 300 * row, value, label]),
                fmt=("%d", "%.6g", "%d"),
                delimiter=",",
                header="timestamp,value,label",
                comments="",
            )
            lines.append(f"{dataset},{name},whatever")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_our_rows_stand_beside_the_peers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = a_folder(tmp_path / "data")
    rows_path = tmp_path / "rows"
    code = main(
        [
            *("--data", str(data), "--dataset", "made", "--jobs", "2", "--json", str(rows_path)),
            *("--peer", "sentinel", "--peer", "static-3-sigma", "--worst", "2"),
            *("--halves", "20"),
        ]
    )
    printed = capsys.readouterr().out
    assert code == 0
    assert printed.startswith("machine: ")
    rows = [json.loads(line) for line in rows_path.read_text().splitlines()]
    assert [row["detector"] for row in rows] == [
        *("sentinel quiet", "sentinel normal", "sentinel high"),
        "static-3-sigma",
    ]
    for row in rows:
        assert (row["dataset"], row["series"], row["recall_ratio"]) == ("made", 2, 1.0)
        assert row["recall_within_1"] == 1.0
        assert row["us_per_point"] > 0
        assert row["detector"] in printed
    assert printed.count(" weeks, 1 of 1 found") == printed.count(" weeks, 0 of 0 found") == 3
    # Half of two series is one: there is something to find in some of the halves, and then it is found.
    assert (
        printed.count("20 random halves of the series, 90 % of them: recall 1.000 to 1.000") == 4
    )


def test_a_peer_on_few_series_is_compared_on_these(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """MSTL runs on one series in three: its row beside rows of all series compared nothing."""
    data = a_folder(tmp_path / "data")
    main(
        [
            *("--data", str(data), "--dataset", "made", "--jobs", "1"),
            *("--peer", "mstl", "--peer", "static-3-sigma"),
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("on the 1 series of mstl:")
    assert lines[at + 1].split()[:2] == ["static-3-sigma", "1"]
    assert next(line for line in lines if line.startswith("mstl (1 series in 3)"))


def test_a_peer_out_of_time_leaves_series_out(tmp_path: Path) -> None:
    files = series_of(a_folder(tmp_path / "data"), "made")
    swept = sweep_all(PEERS[0], files, jobs=1, limit_s=1e-6, with_reminders=False)
    assert swept == {}


def test_the_limit_stops_a_peer_in_the_middle() -> None:
    with pytest.raises(measure.TooSlowError), measure.limit(0.05):
        time.sleep(60)


def test_a_preview_that_fails_is_told(tmp_path: Path) -> None:
    data = a_folder(tmp_path / "data")
    files = series_of(data, "made")
    with pytest.raises(PreviewError, match="took too long"):
        preview(files, sensitivity="normal", with_reminders=False, limit_s=0.01)
    files[0].path.write_text("timestamp,value,label\nnever,1,0\n")
    with pytest.raises(PreviewError, match="failed"):
        preview(files, sensitivity="normal", with_reminders=False, limit_s=60)


def test_only_scored_sets_are_measured_unless_asked(tmp_path: Path) -> None:
    data = a_folder(tmp_path / "data", datasets=("nab", "smoke"))
    assert datasets_of(data) == ["nab", "smoke"]
    nab = series_of(data, "nab")[0].read()
    assert nab.scored_from_s == pytest.approx(nab.time_s[0] + 0.15 * np.ptp(nab.time_s), abs=1)
    smoke = series_of(data, "smoke")[0].read()
    assert smoke.scored_from_s == pytest.approx(smoke.time_s[0] + np.ptp(smoke.time_s) / 2, abs=1)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--data", "/nowhere"],
        ["--dataset", "none"],
        ["--jobs", "0"],
        ["--limit", "0"],
        ["--halves", "-1"],
    ],
)
def test_wrong_usage_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(wrong)
    assert "error:" in capsys.readouterr().err


def test_the_simulator_makes_a_folder_like_any_other(tmp_path: Path) -> None:
    simulate(tmp_path, months=1, seed=1)
    files = series_of(tmp_path, SIMULATED)
    assert {file.kind for file in files} >= {"traffic", "errors", "latency"}
    some = [file for file in files if file.kind == "traffic"][:2]
    tallies, cost_s = tally_ours(some, sensitivity="quiet", limit_s=600, with_reminders=False)
    assert set(tallies) == {file.name for file in some}
    assert all(one.week_count > 1 for one in tallies.values())
    assert cost_s > 0


@pytest.mark.full
def test_a_folder_can_be_replayed_as_another_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of latencies a fall is nothing to page for."""
    data = a_folder(tmp_path / "data")
    rows_path = tmp_path / "rows"
    options = ["--data", str(data), "--dataset", "made", "--jobs", "1", "--json", str(rows_path)]
    options += ["--peer", "sentinel", "--sensitivity", "normal"]
    for kind in ([], ["--kind", "traffic"], ["--kind", "latency"]):
        assert main([*options, *kind]) == 0
    rows = [json.loads(line) for line in rows_path.read_text().splitlines()]
    assert [(row["detector"], row["recall_ratio"]) for row in rows] == [
        ("sentinel normal", 1.0),
        ("sentinel normal", 1.0),
        ("sentinel normal", 0.0),
    ]
    below = data / "made" / "stays.csv"
    below.write_text(f"{below.read_text()}{1_700_000_100 + 300 * 12 * DAY},-5,0\n")
    assert main([*options, "--kind", "traffic"]) == 0
    assert json.loads(rows_path.read_text().splitlines()[-1])["series"] == 1
    assert "sentinel quiet" not in capsys.readouterr().out
