"""Goal: months of history are repeatable, follow the clock and the calendar, and match their truth.

Method: a year of an hour's windows and shorter pasts of finer ones, compared with known dates, with
themselves under other orders of writing, and with the same past without outages.
"""

from __future__ import annotations

import csv
import functools
import gzip
import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.history.csv import read_long
from sentinel.history.rows import SeriesNumbers
from sentinel.reference.ledger.domain import LedgerError, UsageError
from sentinel.reference.ledger.domain.simulator import (
    SIGNALS,
    EventKind,
    Moved,
    StreamWindows,
    World,
    simulate_stream,
)
from sentinel.reference.ledger.operate.cli import run
from sentinel.reference.ledger.operate.history import CSV_HEADER
from sentinel.reference.ledger.operate.months import Months, MonthsConfig, Progress, write_months
from sentinel.reference.ledger.operate.months_forms import SeriesName, file_stems

END_S = datetime(2026, 11, 20, 12, 0, tzinfo=UTC).timestamp()
YEAR: dict[str, Any] = {"months": 13, "step_s": 3600, "zone": "Europe/Berlin", "country": "DE"}


def config(**settings: Any) -> MonthsConfig:
    return MonthsConfig(**{"end_s": END_S, "months": 1, "step_s": 3600, **settings})


@functools.cache
def year() -> Months:
    return Months(config(**YEAR))


def joined(months: Months, stream: int, signal: str) -> NDArray[np.float64]:
    return np.concatenate([piece.values[signal] for piece in months.windows(stream)])


def stream_of(months: Months, route: str) -> int:
    return next(i for i, stream in enumerate(months.streams) if stream.route == route)


def local_days(months: Months) -> NDArray[np.int64]:
    return np.concatenate(
        [np.floor(piece.local_s / 86_400).astype(np.int64) for piece in months._pieces()]
    )


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


def written(months: Months, form: str) -> tuple[str, Progress]:
    out = io.StringIO()
    progress = Progress(1, say=lambda _: None)
    write_months(months, form=form, out=out, folder=None, progress=progress)
    return out.getvalue(), progress


def test_the_same_seed_writes_the_same_months_and_another_another() -> None:
    first, again = (written(Months(config(seed=7)), "csv")[0] for _ in range(2))
    assert first == again
    assert first != written(Months(config(seed=8)), "csv")[0]
    truths = [b"".join(Months(config(**YEAR, seed=seed)).truth()) for seed in (7, 7, 8)]
    assert truths[0] == truths[1] != truths[2]


def test_the_days_when_the_clocks_change_have_23_and_25_hours() -> None:
    days, counts = np.unique(local_days(year()), return_counts=True)
    hours = dict(zip(days.tolist(), counts.tolist(), strict=True))
    assert hours[day("2026-03-29")] == 23
    assert hours[day("2025-10-26")] == hours[day("2026-10-25")] == 25
    assert days[0] == day("2025-10-20")
    assert sum(count != 24 for count in hours.values()) == 4  # those three, and the last half day


def test_people_follow_the_wall_clock_and_a_job_on_utc_does_not() -> None:
    months = Months(config(**YEAR, outages_a_month=0.0))
    busiest = {}
    for name in ("POST /v1/transfers [retail]", "nightly statements"):
        traffic = joined(months, stream_of(months, name), "traffic")[: 396 * 24]
        starts = months.windows(0)
        times = np.concatenate([piece.starts for piece in starts])[: traffic.size]
        hour = (times // 3600) % 24
        summer = (times > 1_777_000_000) & (times < 1_790_000_000)
        busiest[name] = tuple(
            int(np.argmax([np.nanmean(traffic[part & (hour == h)]) for h in range(24)]))
            for part in (~summer & (times < 1_774_000_000), summer)
        )
    winter, summer_hour = busiest["POST /v1/transfers [retail]"]
    assert winter - summer_hour == 1
    assert busiest["nightly statements"] == (2, 2)


def test_the_last_business_day_of_a_month_is_busier() -> None:
    months = Months(config(**YEAR, outages_a_month=0.0))
    traffic = joined(months, stream_of(months, "publish ledger.transfers"), "traffic")
    days = local_days(months)
    ratios = [
        np.nanmean(traffic[days == day(last)]) / np.nanmean(traffic[days == day(last) - 14])
        for last in ("2025-11-28", "2026-01-30", "2026-02-27", "2026-06-30", "2026-08-31")
    ]
    assert 1.4 < float(np.median(ratios)) < 2.2
    assert min(ratios) > 1.2


def test_traffic_grows_to_its_level_at_the_end() -> None:
    months = Months(config(**YEAR, outages_a_month=0.0, growth_ratio=1.0, seed=3))
    assert all(event.kind is not EventKind.STOP for event in months.events)
    world = replace(months._world, events=())
    traffic = joined_of(world, months, stream_of(months, "SELECT transactions"))
    # 19 November and 20 November of the year before, both whole ordinary weeks.
    first, last = traffic[24 * 21 : 24 * 28].mean(), traffic[-12 - 24 * 7 : -12].mean()
    assert last / first == pytest.approx(2.0, rel=0.1)
    assert last == pytest.approx(6.0, rel=0.1)


def joined_of(world: World, months: Months, stream: int) -> NDArray[np.float64]:
    pieces = simulate_stream(world, stream, months._pieces())
    return np.concatenate([piece.values["traffic"] for piece in pieces])


def assert_moved(value: float, same: float, moved: Moved, *, covered_ratio: float) -> None:
    """Hold `value` against what it would have been, in windows the outage covers in part."""
    if moved.signal == "errors":
        assert value > same + 0.4 * covered_ratio * moved.size
    elif moved.direction == "up":
        assert value > same
    else:
        assert value < same * (1 - 0.4 * covered_ratio * (1 - moved.size))


def test_outages_lie_where_their_truth_says_and_move_what_it_says() -> None:
    """The same past without its events is the measure: drawn from the same seeds."""
    months = Months(config(**{**YEAR, "months": 5, "step_s": 300}))
    quiet = replace(months._world, events=())
    checked = set()
    for number in range(len(months.streams)):
        loud = list(months.windows(number))
        calm = list(simulate_stream(quiet, number, months._pieces()))
        starts = np.concatenate([piece.starts for piece in loud])
        for event in months.events:
            for one in event.moved():
                if one.stream != number or not (event.is_fault and one.is_visible):
                    continue
                span = (starts > event.start_s - 300) & (starts < event.end_s)
                label = np.concatenate([piece.labels[one.signal] for piece in loud])
                assert label[span].all()
                value, same = stacked(loud, one.signal)[span], stacked(calm, one.signal)[span]
                known = np.isfinite(value) & np.isfinite(same)
                calls = next(e.calls for e in event.effects if e.stream == number)
                if calls < 100:
                    continue  # too few to hold one draw against another
                if not known.any():  # in the one draw or the other nobody called
                    continue
                covered_ratio = (event.end_s - event.start_s) / (300 * span.sum())
                assert_moved(
                    float(value[known].mean()),
                    float(same[known].mean()),
                    one,
                    covered_ratio=covered_ratio,
                )
                checked.add((event.kind, one.signal))
    kinds = {EventKind.STOP, EventKind.ERRORS, EventKind.SLOW, EventKind.TRICKLE}
    assert {kind for kind, _ in checked} >= kinds


def stacked(pieces: list[StreamWindows], signal: str) -> NDArray[np.float64]:
    return np.concatenate([piece.values[signal] for piece in pieces])


def test_labels_are_set_in_told_faults_and_nowhere_else() -> None:
    months = year()
    told = [json.loads(line) for line in months.truth()]
    for number in range(len(months.streams)):
        pieces = list(months.windows(number))
        starts = np.concatenate([piece.starts for piece in pieces])
        for at, signal in enumerate(SIGNALS):
            stem = months.stems[len(SIGNALS) * number + at]
            expected = np.zeros(starts.size, dtype=np.bool_)
            for event in told:
                if any(row["series"] == stem for row in event["expected"]):
                    expected |= (starts > event["start"] - 3600) & (starts < event["end"])
            label = np.concatenate([piece.labels[signal] for piece in pieces])
            assert (label == expected).all()


def test_a_year_has_outages_of_every_kind_and_some_come_again_the_next_day() -> None:
    events = year().events
    assert {event.kind for event in events} == set(EventKind)
    again = [event for event in events if event.repeats is not None]
    assert again
    for event in again:
        first = next(one for one in events if one.number == event.repeats)
        assert abs(event.start_s - first.start_s - 86_400) <= 300
        # Only the calls concerned differ from one day to the next.
        pairs = zip(event.effects, first.effects, strict=True)
        assert all(replace(one, calls=0.0) == replace(other, calls=0.0) for one, other in pairs)
        assert event.kind is first.kind
    trickles = [event for event in events if event.kind is EventKind.TRICKLE]
    assert all(event.end_s - event.start_s >= 86_400 for event in trickles)
    faults = [event for event in events if event.is_fault and event not in trickles]
    assert all(60 <= event.end_s - event.start_s <= 8 * 3600 for event in faults)
    told = [json.loads(line) for line in year().truth()]
    assert all(row["expected"] == [] for row in told if not row["fault"])
    assert [row["start"] for row in told] == sorted(row["start"] for row in told)


def test_the_long_csv_is_what_the_sidecar_reads(tmp_path: Path) -> None:
    months = Months(config(end_s=END_S, country="DE", zone="Europe/Berlin"))
    text, progress = written(months, "csv")
    lines = text.splitlines()
    assert lines[0] == CSV_HEADER
    assert (
        progress.rows_count == len(lines) - 1 == len(months.names) * 758
    )  # an hour more in October
    file = tmp_path / "long.csv"
    file.write_text(text)
    numbers = SeriesNumbers()
    rows = list(read_long(file, numbers, not_after_ns=int(END_S) * 10**9))
    assert sum(batch.value.size for batch in rows) == len(lines) - 1
    assert len(numbers.keys) == len(months.names)


def test_every_form_holds_the_same_values(tmp_path: Path) -> None:
    """Streams side by side, one after the other, and each twice: nothing may hang on the order."""
    months = Months(config(seed=5))
    long: dict[tuple[str, ...], dict[int, str]] = {}
    for row in csv.reader(written(months, "csv")[0].splitlines()[1:]):
        if row[5]:
            long.setdefault(tuple(row[1:5]), {})[int(row[0])] = row[5]
    folder = tmp_path / "labelled"
    progress = Progress(1, say=lambda _: None)
    write_months(months, form="series", out=None, folder=folder, progress=progress)
    metrics = written(months, "openmetrics")[0].splitlines()
    assert metrics[-1] == "# EOF"
    values = [
        line.rpartition("} ")[2].split() for line in metrics if line[:14] == "sentinel_value"
    ]
    flat: list[list[str]] = []
    for name, stem in zip(months.names, months.stems, strict=True):
        key = (name.service, name.stage, name.route, name.signal)
        with gzip.open(folder / "simulator" / f"{stem}.csv.gz", "rt") as file:
            assert next(file) == "timestamp,value,label,weight\n"
            rows = [line.rstrip().split(",") for line in file]
        assert {int(stamp): value for stamp, value, _, _ in rows} == long[key]
        flat += [[value, stamp] for stamp, value, _, _ in rows]
        if name.signal == "traffic":
            for _, value, _, calls in rows:
                assert float(value) * config().step_s == pytest.approx(int(calls), rel=1e-4)
    assert values == flat
    index = list(csv.DictReader((folder / "index.csv").read_text().splitlines()))
    assert [row["series"] for row in index] == months.stems
    assert sum(int(row["n"]) for row in index) == len(flat) == progress.rows_count


def test_the_index_counts_runs_and_incidents(tmp_path: Path) -> None:
    folder = tmp_path / "labelled"
    write_months(
        Months(config(step_s=300, outages_a_month=20.0)),
        form="series",
        out=None,
        folder=folder,
        progress=Progress(1, say=lambda _: None),
    )
    index = list(csv.DictReader((folder / "index.csv").read_text().splitlines()))
    # Else nothing is counted below.
    assert sum(int(row["label_runs"]) for row in index) > 10
    for row in index:
        with gzip.open(folder / "simulator" / f"{row['series']}.csv.gz", "rt") as file:
            labels = [line.split(",")[2] for line in list(file)[1:]]
        text = "".join(labels)
        assert int(row["label_runs"]) == len([run for run in text.split("0") if run])
        merged = text
        for gap in range(1, 6):
            while f"1{'0' * gap}1" in merged:
                merged = merged.replace(f"1{'0' * gap}1", "1" * (gap + 2))
        assert int(row["incidents"]) == len([run for run in merged.split("0") if run])
        assert float(row["anomaly_frac"]) == pytest.approx(text.count("1") / len(text), abs=1e-5)


def test_file_names_are_apart_and_plain() -> None:
    names = [
        SeriesName(service="a/b", stage="edge", route=route, signal="traffic")
        for route in ("GET /{id}", "get /id", "GET id?", "../../etc")
    ]
    assert file_stems(names) == [
        "a-b.edge.get-id.traffic",
        "a-b.edge.get-id.traffic.2",
        "a-b.edge.get-id.traffic.3",
        "a-b.edge.etc.traffic",
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"months": 0},
        {"months": 61},
        {"step_s": 7},
        {"step_s": 7200},
        {"months": 60, "step_s": 1},
        {"rate": -1.0},
        {"growth_ratio": -1.0},
        {"outages_a_month": 31.0},
    ],
)
def test_months_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        config(**settings)


def test_days_off_are_read_from_a_file_and_a_wrong_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "days.txt"
    file.write_text("# our own\n2026-11-11 closed for the inventory\n\n")
    settings: dict[str, Any] = {"holidays_file": file, "outages_a_month": 0.0}
    closed, usual = (
        joined(months, stream_of(months, "POST /v1/transfers [payroll]"), "traffic")
        for months in (Months(config(**settings)), Months(config(outages_a_month=0.0)))
    )
    days = local_days(Months(config()))
    on = days == day("2026-11-11")
    assert closed[on].mean() < 0.3 * usual[on].mean()
    file.write_text("2026-11-11\n11.11.2026\n")
    with pytest.raises(LedgerError, match=r"days\.txt:2: begins with no date"):
        Months(config(holidays_file=file))
    with pytest.raises(UsageError, match="no holidays known"):
        Months(config(country="XX"))


def test_progress_says_how_far_and_how_fast() -> None:
    times = iter([0.0, 1.0, 6.0, 10.0])
    said: list[str] = []
    progress = Progress(1000, say=said.append, now=lambda: next(times))
    progress.add(90, planned=100)
    progress.add(400, planned=400)
    progress.end()
    assert said == [
        "history: 50%, 490 rows, about 6 s to go\n",
        "history: 490 rows in 10.0 s (49 a second)\n",
    ]


def test_the_command_writes_a_folder_with_truth_and_never_over_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "out"
    arguments = [
        "history",
        "--months",
        "1",
        "--step",
        "1h",
        "--format",
        "series",
        "-o",
        str(folder),
    ]
    assert run(arguments) == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "index.csv",
        "kpi_test_from.json",
        "simulator",
        "truth.ndjson",
    ]
    assert "a second" in capsys.readouterr().err
    assert run(arguments) == 2
    assert "no empty folder" in capsys.readouterr().err


def test_the_command_writes_a_file_and_its_truth(tmp_path: Path) -> None:
    out, truth = tmp_path / "long.csv", tmp_path / "truth.ndjson"
    line = f"history --months 1 --step 1h --country DE --truth {truth} --out {out}"
    assert run(line.split()) == 0
    assert out.read_text().startswith(CSV_HEADER)
    assert all(json.loads(row)["kind"] for row in truth.read_text().splitlines())


@pytest.mark.parametrize(
    "line",
    [
        "history --truth x",
        "history --country DE",
        "history --outages 0",
        "history --format series -o x",
        "history --months 1 --format series",
        "history --months 1 --country XX -o x",
    ],
)
def test_options_that_do_not_go_together_are_refused(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(line.split()) == 2
    assert list(tmp_path.iterdir()) == []
