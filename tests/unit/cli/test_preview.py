"""Goal: `sentinel preview` reads files as people have them and prints what programs read.

Method: the command in this process, on files with an incident in them and on files that are wrong.
"""

from __future__ import annotations

import gzip
import json
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


def test_a_bad_file_is_told_and_the_others_still_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.csv").write_text(text_of_a_series())
    (tmp_path / "words.csv").write_text("timestamp,value\n1700000000,1\n1700000060,many\n")
    (tmp_path / "back.csv").write_text("timestamp,value\n1700000000,1\n1600000000,2\n")
    code, out, err = preview(capsys, str(tmp_path), str(tmp_path / "none.csv"), "-o", "ndjson")
    assert code == 1
    assert len(out.splitlines()) == 1
    for hint in ("words.csv:3", "back.csv:3", "none.csv"):
        assert hint in err


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
    assert "No file" in err


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
    assert out.splitlines()[-1] == "1 page in 1 series"
