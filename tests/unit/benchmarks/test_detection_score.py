"""The benchmark's scorer and its rule of one page an excursion give what their descriptions say.

Method: small cases by hand, then random series with holes against a scorer written page by page in the words of the protocol. With
DETECTION_SCORER set to a program that scores pages, the same series are held against that program too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection.protocol import page_rows
from benchmarks.detection.score import Tally, figures, incidents_of, tally
from benchmarks.detection.sources import Ints, LabelledSeries, series_of
from benchmarks.detection.table import halves

WEEK_S = 604_800


def a_series(
    *, labelled: dict[int, int], rows: int = 1000, step_s: int = 60, from_row: int = 500
) -> LabelledSeries:
    is_incident = np.zeros(rows, np.bool_)
    for first, last in labelled.items():
        is_incident[first : last + 1] = True
    return LabelledSeries(
        time_s=1_000_000_020 + step_s * np.arange(rows, dtype=np.int64),
        value=np.zeros(rows),
        is_incident=is_incident,
        scored_from_s=1_000_000_020 + step_s * from_row,
    )


def score_of(series: LabelledSeries, rows: list[int]) -> Tally:
    pages = series.time_s[0] + np.array(rows, np.int64) * series.step_s
    return tally(pages, series, incidents_of(series))


def test_pages_are_true_repeated_false_or_of_the_history() -> None:
    series = a_series(labelled={300: 510, 600: 620, 700: 710})
    #                page in the history; in an incident that began there; found; again; in nothing
    got = score_of(series, [100, 505, 603, 615, 900])
    assert (got.found_count, got.incident_count) == (1, 2)
    assert (got.false_count, got.repeat_count) == (1, 1)
    assert got.delay_s.tolist() == [180.0]
    assert got.week_count == pytest.approx(500 * 60 / WEEK_S)


@pytest.mark.parametrize(
    ("step_s", "early_rows", "late_rows"), [(60, 2, 5), (10, 2, 5), (300, 1, 1), (3600, 1, 1)]
)
def test_the_tolerance_is_wider_at_short_steps(
    step_s: int, early_rows: int, late_rows: int
) -> None:
    series = a_series(labelled={600: 620}, step_s=step_s)
    assert score_of(series, [600 - early_rows]).found_count == 1
    assert score_of(series, [600 - early_rows]).delay_s.tolist() == [0.0]
    assert score_of(series, [600 - early_rows - 1]).false_count == 1
    assert score_of(series, [620 + late_rows]).found_count == 1
    assert score_of(series, [620 + late_rows + 1]).false_count == 1


def test_marked_rows_that_are_near_are_one_incident() -> None:
    near = a_series(labelled={600: 600, 630: 630})
    assert incidents_of(near).first_s.size == 1
    far = a_series(labelled={600: 600, 631: 631})
    assert incidents_of(far).first_s.size == 2
    assert incidents_of(a_series(labelled={})).first_s.size == 0


def test_missing_rows_split_no_incident() -> None:
    whole = a_series(labelled={600: 700})
    kept = np.r_[0:620, 690:1000]
    holed = LabelledSeries(
        time_s=whole.time_s[kept],
        value=whole.value[kept],
        is_incident=whole.is_incident[kept],
        scored_from_s=whole.scored_from_s,
    )
    assert incidents_of(holed).first_s.size == 1


def test_a_data_set_is_the_sum_of_its_series() -> None:
    one = score_of(a_series(labelled={600: 620, 800: 820}), [602, 700])
    other = score_of(a_series(labelled={600: 620}), [604, 605])
    both = figures([one, other])
    assert both.recall_ratio == pytest.approx(2 / 3)
    assert both.precision_ratio == pytest.approx(2 / 3)
    assert both.f1_ratio == pytest.approx(2 / 3)
    assert both.delay_rows == 3.0
    assert both.false_per_week == pytest.approx(1 / (one.week_count + other.week_count))
    assert both.false_per_week_of_median_series == pytest.approx(0.5 / one.week_count)


def test_an_excursion_pages_once_and_reminds_every_four_hours() -> None:
    score = np.zeros(1000)
    score[100:140] = 2.0  # then 29 quiet minutes: still the same
    score[169] = 2.0
    score[200] = 2.0  # 30 quiet minutes: another
    score[400:900] = 2.0
    pages = page_rows(score, 1.0, step_s=60, with_reminders=False)
    assert pages.tolist() == [100, 200, 400]
    pages = page_rows(score, 1.0, step_s=60, with_reminders=True)
    assert pages.tolist() == [100, 200, 400, 640, 880]


def test_what_has_no_score_does_not_page() -> None:
    assert not page_rows(np.full(100, np.nan), 1.0, step_s=60, with_reminders=False).size
    pages = page_rows(np.array([np.nan, 1.0, np.nan]), 1.0, step_s=300, with_reminders=True)
    assert pages.tolist() == [1]


def one_by_one(series: LabelledSeries, pages: Ints) -> dict[str, float]:
    """Score pages one after another, as the protocol's words say it."""
    step_s = int(np.median(np.diff(series.time_s)))
    near_s = max(3, int(np.ceil(1800 / step_s))) * step_s
    early_s, late_s = (2 * step_s, 5 * step_s) if step_s <= 60 else (step_s, step_s)
    incidents: list[list[int]] = []
    before_row = -10
    for row, marked in enumerate(series.is_incident.tolist()):
        if not marked:
            continue
        at = int(series.time_s[row])
        if incidents and (at - incidents[-1][1] <= near_s or row == before_row + 1):
            incidents[-1][1] = at
        else:
            incidents.append([at, at])
        before_row = row
    found: dict[int, int] = {}
    counts = {"false": 0, "repeats": 0}
    for page in sorted(pages.tolist()):
        if page < series.scored_from_s:
            continue
        inside = [a for a, b in incidents if a - early_s <= page <= b + late_s]
        if not inside:
            counts["false"] += 1
        elif inside[0] >= series.scored_from_s:
            counts["repeats"] += inside[0] in found
            found.setdefault(inside[0], page)
    delays = [max(0, page - first) / step_s for first, page in found.items()]
    return {
        **counts,
        "found": len(found),
        "incidents": sum(first >= series.scored_from_s for first, _ in incidents),
        "delay": float(np.median(delays)) if delays else -1.0,
    }


def random_series(folder: Path, *, seed: int, step_s: int) -> tuple[str, Ints]:
    """Write a series with incidents and holes, and make pages of which some are near the incidents."""
    random = np.random.default_rng(seed)
    label = np.zeros(3000, np.int64)
    for first in random.integers(0, 2950, 25).tolist():
        label[first : first + int(random.integers(1, 40))] = 1
    kept = np.flatnonzero(random.random(3000) > random.choice([0.0, 0.05, 0.3]))
    time_s = 1_000_000_020 + kept * step_s
    name = f"{step_s}_{seed}"
    np.savetxt(
        folder / f"{name}.csv.gz",
        np.column_stack([time_s, np.zeros(kept.size), label[kept]]),
        fmt=("%d", "%.6g", "%d"),
        delimiter=",",
        header="timestamp,value,label",
        comments="",
    )
    return name, np.unique(random.choice(time_s, 80))


@pytest.mark.parametrize("step_s", [10, 60, 300, 3600])
def test_random_pages_score_as_page_by_page(tmp_path: Path, step_s: int) -> None:
    folder = tmp_path / "random"
    folder.mkdir()
    pages = dict(random_series(folder, seed=seed, step_s=step_s) for seed in range(12))
    index = "".join(f"random,{name}\n" for name in pages)
    (tmp_path / "index.csv").write_text(f"dataset,series\n{index}")
    tallies = []
    for file in series_of(tmp_path, "random"):
        series = file.read()
        got = tally(pages[file.name], series, incidents_of(series))
        delays = got.delay_s / got.step_s
        assert one_by_one(series, pages[file.name]) == {
            "false": got.false_count,
            "repeats": got.repeat_count,
            "found": got.found_count,
            "incidents": got.incident_count,
            "delay": float(np.median(delays)) if delays.size else -1.0,
        }
        tallies.append(got)
    program = os.environ.get("DETECTION_SCORER")
    if program:
        told = _told_by(program, tmp_path, pages)
        both = figures(tallies)
        assert told["recall"] == pytest.approx(both.recall_ratio, abs=1e-4)
        assert told["false_pages_per_series_week"] == pytest.approx(both.false_per_week, abs=1e-4)
        assert told["event_f1"] == pytest.approx(both.f1_ratio, abs=1e-4)
        assert told["median_delay_samples"] == both.delay_rows
        assert told["repeats"] == sum(one.repeat_count for one in tallies)


def _told_by(program: str, data: Path, pages: dict[str, Ints]) -> dict[str, float]:
    """What a scoring program says: `--data DIR --dataset NAME --json PAGES.ndjson`."""
    (data / "kpi_test_from.json").write_text("{}")
    lines = [
        json.dumps({"series": name, "start": at})
        for name, of in pages.items()
        for at in of.tolist()
    ]
    (data / "pages.ndjson").write_text("\n".join(lines))
    done = subprocess.run(
        [
            *(sys.executable, program, "--data", str(data), "--dataset", "random", "--json"),
            str(data / "pages.ndjson"),
        ],
        capture_output=True,
        check=True,
        timeout=15,
    )
    told: dict[str, float] = json.loads(done.stdout)["random"]
    return told


def test_random_halves_show_what_rests_on_few_series() -> None:
    """One series with all the false pages is in a half of the halves; of a set of equals every half says the same."""
    series = a_series(labelled={600: 620})
    found, missed = score_of(series, [603]), score_of(series, [700, 800, 900])
    assert "recall 1.000 to 1.000, false/wk 0.00 to 0.00" in halves([found] * 6, count=50)
    week_count = 500 * 60 / WEEK_S
    most = f"{3 / (3 * week_count):.2f}"
    assert f"recall 0.667 to 1.000, false/wk 0.00 to {most}" in halves(
        [found] * 5 + [missed], count=50
    )
    assert halves([found] * 5 + [missed], count=50) == halves([found] * 5 + [missed], count=50)
    without = score_of(a_series(labelled={}), [])
    assert "recall -, false/wk 0.00 to 0.00" in halves([without] * 2, count=5)
