"""Goal: `sentinel preview` reads files as people have them and prints what programs read.

Method: the command in this process, on files with an incident in them and on files that are wrong.
"""

from __future__ import annotations

import gzip
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sentinel.cli.main import main

pytestmark = pytest.mark.timeout(300)

STEP_S = 600
START_S = 1_700_000_400
DAYS = 20
FIRST = 2500


def text_of_a_series(*, label: bool = False) -> str:
    count = DAYS * 86_400 // STEP_S
    value = 50 + np.random.default_rng(3).standard_normal(count)
    value[FIRST : FIRST + 3] = 120.0
    tail = ",not-a-number" if label else ""
    rows = ["timestamp,value" + (",label" if label else "")]
    rows += [f"{START_S + at * STEP_S},{value[at]:.6f}{tail}" for at in range(count)]
    return "\n".join(rows) + "\n"


def preview(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = main(["preview", "--csv", *args])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_ndjson_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plain.csv").write_text(text_of_a_series())
    with gzip.open(tmp_path / "packed.csv.gz", "wt") as handle:
        handle.write(text_of_a_series(label=True))
    (tmp_path / "README.md").write_text("not a series")
    code, out, err = preview(capsys, str(tmp_path), "-o", "ndjson")
    assert (code, err) == (0, "")
    pages = [json.loads(line) for line in out.splitlines()]
    assert {page["series"] for page in pages} == {"plain", "packed"}
    for page in pages:
        assert list(page) == [
            "series",
            "start",
            "end",
            "score",
            "direction",
            "expected",
            "value",
            "severity",
            "reason",
            "kind",
            "horizon_s",
            "factors",
        ]
        assert re.fullmatch(
            r"2\.4x above the expected \d+(\.\d)? for a \w+ \d\d:\d\d UTC; "
            "seasonal view and view of the last windows agree",
            page["factors"],
        )
        assert page["start"] == START_S + FIRST * STEP_S
        assert page["end"] > page["start"]
        assert page["score"] >= 1
        assert page["direction"] == "up"
        assert page["value"] == 120.0
        assert 45 < page["expected"] < 55
        # Of a gauge nobody knows which way is bad.
        assert (page["severity"], page["reason"], page["kind"]) == ("ticket", "opened", "anomaly")


def near_miss(tmp_path: Path) -> Path:
    """A series of traffic with a rise of a quarter, which is far for it and less than traffic must move by."""
    rows = text_of_a_series().splitlines()
    for at in range(FIRST, FIRST + 3):
        rows[at + 1] = f"{START_S + at * STEP_S},62.5"
    path = tmp_path / "near.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


def test_gates_tell_what_stood_out_and_was_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(near_miss(tmp_path))
    code, out, err = preview(capsys, path, "--kind", "traffic", "--gates", "-o", "ndjson")
    assert (code, err) == (0, "")
    (stop,) = [
        one
        for one in map(json.loads, out.splitlines())
        if one["start"] == START_S + FIRST * STEP_S
    ]
    assert stop["end"] >= START_S + (FIRST + 2) * STEP_S
    assert (stop["gate"], stop["direction"], stop["value"]) == ("deviation", "up", 62.5)
    assert 0 < stop["score"] < 1
    assert 62.5 < stop["would_pass"] < 70
    assert stop["words"].startswith(
        "it is less than the least deviation that counts for this series; beyond 6"
    )

    _, plain, _ = preview(capsys, path, "--kind", "traffic", "-o", "ndjson")
    assert "gate" not in plain


def test_gates_as_a_table_keep_to_the_width(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = preview(capsys, str(near_miss(tmp_path)), "--kind", "traffic", "--gates")
    _, _, told = out.partition("stood out and was not told: ")
    head, row = told.splitlines()[1:3]
    assert head.split() == [
        "start",
        "(UTC)",
        "min",
        "score",
        "value",
        "needed",
        "stopped",
        "by",
        "series",
    ]
    assert row.split()[-2:] == ["deviation", "near"]
    assert (
        "    1  deviation: it is less than the least deviation that counts for this\n       series\n"
        in told
    )
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("option", ["--last 7d", "--from 2026-11-01", "--coarse"])
def test_options_for_stores_are_refused(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--last 7d` over files was taken and all of the file was replayed."""
    code, out, err = preview(capsys, str(near_miss(tmp_path)), *option.split())
    assert (code, out) == (2, "")
    assert f"{option.split()[0]}: only for --store and --snapshot" in err


def test_what_a_configuration_demands_counts_over_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rules for a route and the sensitivity were left out in silence: they changed nothing, whatever they said."""
    path, config = str(near_miss(tmp_path)), tmp_path / "sentinel.yaml"
    counts, told = [], []
    for text in (
        "scoring: {series: [{signal: traffic, deviation_ratio_min: 0.1}]}",
        "scoring: {traffic: {deviation_ratio_min: 0.1}}",
        "{sensitivity: quiet, baseline: {models: [{model: mstl}]}}",
    ):
        config.write_text(text)
        code, out, err = preview(
            capsys, path, "--kind", "traffic", "--config", str(config), "-o", "ndjson"
        )
        assert code == 0
        counts.append(len(out.splitlines()))
        told.append(err)
    assert counts == [1, 1, 0]
    assert told[:2] == ["", ""]
    assert "MSTL is not replayed over files" in told[2]


@pytest.mark.parametrize("absent", [(), ("none.csv",)], ids=["readable", "absent"])
def test_a_bad_file_is_told_and_the_others_still_run(
    absent: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.csv").write_text(text_of_a_series())
    (tmp_path / "words.csv").write_text("timestamp,value\n1700000000,1\n1700000060,many\n")
    (tmp_path / "back.csv").write_text("timestamp,value\n1700000000,1\n1600000000,2\n")
    more = [str(tmp_path / name) for name in absent]
    code, out, err = preview(capsys, str(tmp_path), *more, "-o", "ndjson")
    assert code == (3 if absent else 1)
    assert len(out.splitlines()) == 1
    for hint in ("words.csv:3", "back.csv:3", *absent):
        assert hint in err


@pytest.mark.parametrize(("output", "shown"), [("table", ""), ("json", "[]\n"), ("ndjson", "")])
def test_what_cannot_be_read_is_not_called_quiet(
    output: str, shown: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An absent file ended as a table that said "0 pages in 0 series"."""
    path = tmp_path / "none.csv"
    code, out, err = preview(capsys, str(path), "--output", output)
    assert (code, out) == (3, shown)
    assert err == f"sentinel preview: {path} cannot be read: no such file or directory\n"


def test_a_series_that_could_not_be_judged_is_not_called_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files of one row and of half a day ended as "0 pages in 1 series", as if all had been well."""
    rows = text_of_a_series().splitlines()
    (tmp_path / "lone.csv").write_text("\n".join(rows[:2]))
    (tmp_path / "short.csv").write_text("\n".join(rows[:74]))
    empty = [row.partition(",")[0] + "," for row in rows[1:1000]]
    (tmp_path / "empty.csv").write_text("\n".join(empty))
    code, out, err = preview(capsys, str(tmp_path))
    assert (code, out) == (
        0,
        "no incidents in 3 series, 0 windows scored\nNext: sentinel discover --write sentinel.yaml\n",
    )
    assert err.splitlines() == [
        "sentinel preview: empty: not judged: too few values to learn from, 0 in 166 hours",
        "sentinel preview: lone: not judged: needs about 30 hours of data, has 0",
        "sentinel preview: short: not judged: needs about 30 hours of data, has 12",
    ]


def test_a_quantile_whose_place_is_judged_by_its_slow_calls_is_not_called_unjudged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(5)
    rows = ["timestamp,service,stage,route,signal,value,weight"]
    for at in range(6 * 86_400 // STEP_S):
        place = f"{START_S + at * STEP_S},pay,edge,POST /x"
        rows.append(f"{place},latency,{0.05 + 0.002 * rng.standard_normal():.6f},400")
        rows.append(f"{place},slow_calls,{rng.binomial(400, 0.01) / 400},400")
    (tmp_path / "long.csv").write_text("\n".join(rows) + "\n")
    code, out, err = preview(capsys, str(tmp_path), "--blind-spots", "-o", "ndjson")
    assert (code, err) == (0, "")
    spots = {one["series"]: one for one in map(json.loads, out.splitlines())}
    told = {
        name.split()[-1]: (one["windows_judged"], one["why_not"]) for name, one in spots.items()
    }
    assert told["latency"] == (0, "yielded")
    assert told["slow_calls"][0] > 0


def test_folders_inside_a_folder_are_left_out_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one.csv").write_text(text_of_a_series())
    (tmp_path / "more.csv").mkdir()
    code, out, err = preview(capsys, str(tmp_path), "-o", "ndjson")
    assert (code, len(out.splitlines())) == (0, 1)
    assert f"{tmp_path}: 1 folder inside left out" in err


def test_the_same_name_twice_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.csv"
    file.write_text(text_of_a_series())
    code, out, err = preview(capsys, str(file), str(file), "-o", "json")
    assert code == 1
    assert len(json.loads(out)) == 1
    assert "given already" in err


def test_an_empty_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = preview(capsys, str(tmp_path))
    assert code == 1
    assert "no file named *.csv" in err


def test_kind_and_sensitivity_matter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.csv").write_text(text_of_a_series().replace("120.000000", "60.000000"))
    counts = {}
    for kind in ("gauge", "traffic"):
        _, out, _ = preview(capsys, str(tmp_path), "--kind", kind, "-o", "ndjson")
        counts[kind] = len(out.splitlines())
    # Ten more than fifty is much for this gauge, and less than the 30 % that traffic asks for.
    assert counts["gauge"] == 1
    assert counts["traffic"] == 0
    _, quiet, _ = preview(capsys, str(tmp_path), "--sensitivity", "quiet", "-o", "ndjson")
    _, high, _ = preview(capsys, str(tmp_path), "--sensitivity", "high", "-o", "ndjson")
    assert len(quiet.splitlines()) <= 1 <= len(high.splitlines())


def test_the_table_is_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six digits of noise and a stamp without a zone were printed, and names pushed lines beyond any terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    name = "a-service-with-a-very-long-name-and-a-route"
    (tmp_path / f"{name}.csv").write_text(text_of_a_series().replace("120.000000", "123.456789"))
    code, out, _ = preview(capsys, str(tmp_path))
    assert code == 0
    head, row, foot, answer, empty, blind, named, *spot, following = out.splitlines()
    assert following == "Next: sentinel discover --write sentinel.yaml"
    assert empty == ""
    assert blind == "what would not have been seen, by the newest band of each hour of the week:"
    assert named == f"  {name}"
    # In the hour of the incident the way back from it is awaited.
    assert re.fullmatch(
        r"cannot see a rise below x1\.[0-4]\d? nor a fall above x0\.[6-9]\d? \(x0\.5\d on Sat at 07 h UTC\)",
        " ".join(line.strip() for line in spot),
    )
    assert max(len(line) for line in out.splitlines()) <= 80
    titles = ["start", "(UTC)", "min", "score", "value", "expected", "what", "series"]
    assert head.split() == titles
    day, time, open_minutes, _, value, expected, what, series = row.split()
    start = datetime.fromtimestamp(START_S + FIRST * STEP_S, UTC)
    assert f"{day} {time}" == start.strftime("%Y-%m-%d %H:%M")
    assert int(open_minutes) >= 3 * STEP_S / 60 + 30
    assert (value, what) == ("123", "ticket")
    assert len(expected) <= 4
    # Names of one pipeline begin alike and end in what tells them apart.
    begin, end = series.split("…")
    assert name.startswith(begin)
    assert name.endswith(end)
    assert len(series) >= 20
    assert answer.startswith("0 pages and 1 ticket in 20 days:  a-service-with-")
    closing = re.fullmatch(r"1 incident \(1 ticket\) in 1 series, (\d+) windows scored", foot)
    assert closing
    assert 0 < int(closing[1]) < DAYS * 86_400 // STEP_S
    monkeypatch.delenv("COLUMNS")
    assert name in preview(capsys, str(tmp_path))[1]  # not a terminal: nothing is cut


def test_what_it_would_have_told_is_answered_for_each_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The newcomer's question was "what would it have told me?", and the answer was to be counted by hand."""
    for number in range(22):
        (tmp_path / f"calls-{number:02}.csv").write_text(text_of_a_series())
    quiet = text_of_a_series().replace("120.000000", "50.000000")
    (tmp_path / "quiet.csv").write_text(quiet)
    _, out, _ = preview(capsys, str(tmp_path), "--kind", "traffic")
    lines = out.splitlines()
    found = next(at for at, line in enumerate(lines) if line.startswith("22 incidents (22 pages)"))
    assert lines[found + 1] == "1 page in 20 days:  calls-00"
    assert len(lines[found + 1 : lines.index("")]) == 21
    assert lines[lines.index("") - 1] == "and 2 more series"
    assert "quiet" not in "".join(lines[: lines.index("")])
    assert lines[-2] == "  and 3 more series, each seeing more"


def test_remainders_of_arithmetic_are_shown_as_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table expected -1.5e-41 of a share, and its score was 4.59e+07."""
    rows = [
        f"{START_S + at * 60},{0.6 if 5000 <= at < 5010 else 1e-12 * (at % 3)}"
        for at in range(6000)
    ]
    (tmp_path / "share.csv").write_text("\n".join(rows))
    _, out, _ = preview(capsys, str(tmp_path), "--kind", "errors")
    _, row, *_ = out.splitlines()
    *_, value, expected, what, _ = row.split()
    assert (value, expected, what) == ("0.6", "0", "page")
    assert "e+" not in out
    assert "e-" not in out


def test_reminders_are_told_apart_and_not_counted_as_pages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each reminder was a line like a page's: one incident of a day read as "3 pages".

    That an incident got worse is a message of its own, live and here.
    """
    rows = text_of_a_series().splitlines()
    for at in range(FIRST, FIRST + 60):
        stamp = rows[1 + at].partition(",")[0]
        rows[1 + at] = f"{stamp},{(400 if at < FIRST + 20 else 4000) * (at % 2) + 100}"
    file = tmp_path / "one.csv"
    file.write_text("\n".join(rows))
    _, out, _ = preview(capsys, str(file), "-o", "ndjson")
    pages = [json.loads(line) for line in out.splitlines()]
    reasons = [page["reason"] for page in pages]
    assert reasons == ["opened", *["worsened"] * (len(reasons) - 1)]
    assert START_S + (FIRST + 21) * STEP_S in {page["start"] for page in pages[1:]}
    _, out, _ = preview(capsys, str(file), "-o", "ndjson", "--reminders")
    reminder_count = [json.loads(line)["reason"] for line in out.splitlines()].count("reminder")
    assert reminder_count == len(out.splitlines()) - len(pages) > 0
    _, out, _ = preview(capsys, str(file))
    assert re.search(
        rf"1 incident \(1 ticket, {len(pages) - 1} escalations?\); "
        rf"{reminder_count} reminders?, not shown \(--reminders\); in 1 series",
        out,
    )


def test_a_first_row_of_1970_is_a_gap_like_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A single stray row at the epoch made five million windows of nothing, and the command hung."""
    plain = text_of_a_series()
    (tmp_path / "plain.csv").write_text(plain)
    (tmp_path / "stray.csv").write_text(
        plain.replace("timestamp,value\n", "timestamp,value\n0,50\n")
    )
    code, out, err = preview(capsys, str(tmp_path), "-o", "ndjson")
    assert (code, err) == (0, "")
    pages = [json.loads(line) for line in out.splitlines()]
    assert {page["series"]: page["start"] for page in pages} == dict.fromkeys(
        ("plain", "stray"), START_S + FIRST * STEP_S
    )


def test_the_guards_of_the_live_application_are_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Errors of 60 % in the first hour page live, by a guard; the preview was silent about them."""
    rows = [f"{START_S + at * 60},{0.6 if 20 <= at < 24 else 0.0}" for at in range(120)]
    (tmp_path / "share.csv").write_text("\n".join(rows))
    _, out, _ = preview(capsys, str(tmp_path), "--kind", "errors", "-o", "ndjson")
    (page,) = [json.loads(line) for line in out.splitlines()]
    assert (page["kind"], page["severity"], page["expected"]) == ("guard", "page", None)
    assert page["start"] == START_S + 21 * 60  # the second window in a row trips
    _, out, _ = preview(capsys, str(tmp_path), "--kind", "errors")
    assert (
        "  0.6         -  page, guard  share" in out
    )  # without the word nobody knows why it was paged


def test_values_that_the_kind_cannot_have_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "percent.csv").write_text("1700000000,0\n1700000060,12.5\n")
    code, _, err = preview(capsys, str(tmp_path), "--kind", "errors")
    assert code == 1
    assert "percent.csv: at 1700000060: value 12.5 cannot be: errors is the share of calls" in err


def long_rows(*, at: int, rows: int) -> str:
    """Two services of two and one series; all of the first fall apart at row `at`."""
    rng = np.random.default_rng(4)
    lines = ["timestamp,service,stage,route,signal,value,weight"]
    for row in range(rows):
        stamp = START_S + row * STEP_S
        bad = 5.0 if at <= row < at + 3 else 1.0
        noise = 1 + 0.03 * rng.standard_normal(3)
        lines += [
            f"{stamp},shop,edge,GET /a,latency,{0.1 * bad * noise[0]:.6f},9000",
            f"{stamp},shop,database,SELECT a,latency,{0.05 * bad * noise[1]:.6f},9000",
            f"{stamp},other,edge,GET /b,depth,{40 * noise[2]:.6f},",
        ]
    return "\n".join(lines) + "\n"


def test_the_file_that_backfill_reads_is_read_here_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file served only one of the two commands. Series of a service share an incident, as they do live."""
    lines = long_rows(at=FIRST, rows=FIRST + 60).splitlines(keepends=True)
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text("".join(lines[:3001]))
    second.write_text(lines[0] + "".join(lines[2998:]))
    code, out, err = preview(capsys, str(first), str(second), "-o", "ndjson")
    assert code == 0
    assert err == "sentinel preview: 3 rows are there in two files; the later file's counts\n"
    (page,) = [json.loads(line) for line in out.splitlines()]
    assert page["series"] == "shop edge GET /a latency"
    assert (page["start"], page["severity"]) == (START_S + FIRST * STEP_S, "page")
    second.write_text("".join([*lines[:30], lines[5]]))
    code, _, err = preview(capsys, str(second))
    assert code == 1
    assert "second.csv:31: timestamp" in err
