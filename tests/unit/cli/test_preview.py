"""Goal: `sentinel preview` reads files as people have them and prints what programs read.

Method: the command in this process, on files with an incident in them and on files that are wrong.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest

from sentinel.cli.main import main

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
        ]
        assert page["start"] == START_S + FIRST * STEP_S
        assert page["end"] > page["start"]
        assert page["score"] >= 1
        assert page["direction"] == "up"
        assert page["value"] == 120.0
        assert 45 < page["expected"] < 55


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
    assert (code, out) == (0, "0 pages in 3 series, 0 windows scored\n")
    assert err.splitlines() == [
        "sentinel preview: empty: not judged: too few values to learn from, 0 in 166 hours",
        "sentinel preview: lone: not judged: needs about 30 hours of data, has 0",
        "sentinel preview: short: not judged: needs about 30 hours of data, has 12",
    ]


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
    for kind in ("gauge", "errors", "latency", "traffic"):
        _, out, _ = preview(capsys, str(tmp_path), "--kind", kind, "-o", "ndjson")
        counts[kind] = len(out.splitlines())
    # Ten more than fifty is much for this gauge, and less than the 30 % that traffic and latency ask for.
    assert counts["gauge"] == 1
    assert counts["traffic"] == counts["latency"] == 0
    _, quiet, _ = preview(capsys, str(tmp_path), "--sensitivity", "quiet", "-o", "ndjson")
    _, high, _ = preview(capsys, str(tmp_path), "--sensitivity", "high", "-o", "ndjson")
    assert len(quiet.splitlines()) <= 1 <= len(high.splitlines())


def test_the_table_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.csv").write_text(text_of_a_series())
    code, out, _ = preview(capsys, str(tmp_path))
    assert code == 0
    assert "120 is up from" in out
    closing = re.fullmatch(r"1 page in 1 series, (\d+) windows scored", out.splitlines()[-1])
    assert closing
    assert 0 < int(closing[1]) < DAYS * 86_400 // STEP_S
