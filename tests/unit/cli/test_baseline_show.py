"""Goal: `sentinel baseline show` tells what a store holds, by name where that is asked for.

Method: the command in this process, on a store with a few series.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentinel.cli.main import main
from sentinel.core.model import SeriesKey, kind_of_signal
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from tests.support.surroundings import make_surroundings

SEEN_NS = 1_790_000_000_000_000_000
KEYS = [
    SeriesKey("pay", "edge", "POST /v1/transfers/{id}/confirmations by kiosk", "traffic"),
    SeriesKey("pay", "edge", "POST /v1/transfers/{id}/confirmations by kiosk", "errors"),
    SeriesKey("ledger", "queue", "posted\x1b[2J", "consumer_pending"),
]


@pytest.fixture(autouse=True)
def _without_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = SqliteStore(StoreConfig(directory=str(tmp_path / "store")), make_surroundings())
    store.open()
    store.register([(key, kind_of_signal(key.signal)) for key in KEYS], now_ns=SEEN_NS)
    store.close()
    return tmp_path / "store"


def show(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    code = main(["baseline", "show", *map(str, args)])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_how_many_there_are_is_told_and_names_are_where_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show(capsys, "--store", folder) == (0, "series         3\n", "")
    code, out, err = show(capsys, "--store", folder, "--series")
    assert (code, err) == (0, "")
    count, empty, head, *rows = out.splitlines()
    assert (count, empty, head) == ("series         3", "", "last seen (UTC)   series")
    # Whole, because this is no terminal; harmless, because a sender chose them.
    assert rows == [
        "2026-09-21 14:13  ledger queue posted\\x1b[2J consumer_pending",
        f"2026-09-21 14:13  {KEYS[1]}",
        f"2026-09-21 14:13  {KEYS[0]}",
    ]


def test_a_pattern_chooses_and_a_limit_bounds(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = show(capsys, "--store", folder, "--series", "pay *", "--limit", "1")
    assert out.splitlines()[3:] == [
        f"2026-09-21 14:13  {KEYS[1]}",
        "and 1 more series; --limit COUNT lists more of them",
    ]
    # A name is a pattern too, also one with brackets.
    _, out, _ = show(capsys, "--store", folder, "--series", str(KEYS[2]))
    assert len(out.splitlines()) == 4


def test_programs_get_the_parts_of_each_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = show(capsys, "--store", folder, "-o", "json")
    assert "names" not in json.loads(out)
    _, out, _ = show(capsys, "--store", folder, "--series", "--limit", "2", "-o", "json")
    found = json.loads(out)
    assert (found["series"], found["names_left_out"]) == (3, 1)
    assert [SeriesKey(*(one[part] for part in SeriesKey._fields)) for one in found["names"]] == [
        KEYS[2],
        KEYS[1],
    ]
    assert found["names"][1]["kind"] == "errors"
    assert found["names"][1]["last_seen"] == "2026-09-21T14:13:20+00:00"


def test_no_line_is_wider_than_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    _, out, _ = show(capsys, "--store", folder, "--series")
    lines = out.splitlines()
    assert max(map(len, lines)) == 60
    assert lines[-1] == "names are cut to the width; -o json has them whole"
    assert lines[-2].startswith("2026-09-21 14:13  pay edge ")
    assert lines[-2].endswith(" by kiosk traffic")


def test_what_cannot_be_listed_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = show(capsys, "--store", folder, "--series", "nobody*")
    assert (code, out) == (1, "series         3\n")
    assert err == "sentinel baseline show: no series is called nobody*\n"
    code, out, err = show(capsys, "--store", folder, "--limit", "3")
    assert (code, out) == (2, "")
    assert err == "sentinel baseline show: --limit: only with --series\n"
    with pytest.raises(SystemExit) as stopped:
        show(capsys, "--store", folder, "--series", "--limit", "0")
    assert stopped.value.code == 2
