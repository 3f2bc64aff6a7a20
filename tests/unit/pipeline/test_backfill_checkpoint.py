"""Goal: a backfill of files that is ended anywhere goes on to the same store and the same report, and leaves nothing behind.

Method: the command in a process that is ended, as by kill -9, after any of the things it does to the disk; the next one goes on. What a
fault, another source or a torn note leaves is looked at beside.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import StoreLockedError
from sentinel.pipeline.backfill import STEP_NS, Backfill
from sentinel.pipeline.backfill.checkpoint import ReadCheckpoint, ReadNote
from sentinel.storage.sqlite import StoreReader
from tests.support.store_blocks import rectangle

ROOT = Path(__file__).parents[3]
FIRST_S = 1_780_000_000 // 14_400 * 14_400
HEADER = "timestamp,service,stage,route,signal,value,weight\n"
ENDING = """
import os, sys
from sentinel.cli.main import main
from sentinel.history import rows
from sentinel.pipeline.backfill import checkpoint, spool
from sentinel.storage.sqlite import SqliteStore
rows._ROWS_A_BATCH = 300
spool._SPOOLED_ROWS_MAX = 700
left = [int(sys.argv[1])]

def ending(what):
    def wrapped(*given, **named):
        if left[0] == 0:
            os._exit(9)
        left[0] -= 1
        return what(*given, **named)
    return wrapped

spool.Backfill._spill = ending(spool.Backfill._spill)
checkpoint.ReadCheckpoint.write = ending(checkpoint.ReadCheckpoint.write)
checkpoint.ReadCheckpoint.forget = ending(checkpoint.ReadCheckpoint.forget)
SqliteStore.append_past = ending(SqliteStore.append_past)
sys.exit(main(sys.argv[2:]))
"""


def history(path: Path, *, first_s: int, routes: int = 4, last: str = "") -> Path:
    with path.open("w") as file:
        file.write(HEADER)
        for at in range(200):
            file.writelines(
                f"{first_s + 300 * at},shop,edge,r{route},traffic,{at + route / 3},{at}\n"
                for route in range(routes)
            )
        file.write(last)
    return path


def run(store: Path, files: list[Path], *, left: int = 10**9) -> tuple[int, dict[str, Any]]:
    words = ["baseline", "backfill", *map(str, files), "--store", str(store), "-o", "json"]
    done = subprocess.run(
        [sys.executable, "-c", ENDING, str(left), *words],
        capture_output=True,
        timeout=60,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OPENBLAS_NUM_THREADS": "1", "TZ": "UTC"},
    )
    assert done.returncode in (0, 1, 9), done.stderr.decode()
    return done.returncode, json.loads(done.stdout) if done.stdout else {}


def content(store: Path) -> object:
    with StoreReader(store) as reader:
        blocks = list(reader.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62))
        return rectangle(blocks), [(row.series_id, row.key) for row in reader.series()]


@pytest.mark.timeout(180)
def test_ended_anywhere_it_goes_on_to_the_same_store(tmp_path: Path) -> None:
    files = [
        history(tmp_path / "a.csv", first_s=FIRST_S),
        history(tmp_path / "b.csv", first_s=FIRST_S + 60_000, routes=5),
    ]
    whole = tmp_path / "whole"
    code, expected = run(whole, files)
    assert code == 0
    assert not (whole / "backfill").exists()
    store, ends = tmp_path / "store", 0
    told: dict[str, Any] = {}
    # Each run does a little to the disk, and then ends.
    for _ in range(20):
        code, told = run(store, files, left=3)
        if code == 0:
            break
        ends += 1
    assert ends >= 4
    assert told == expected
    assert content(store) == content(whole)
    assert not (store / "backfill").exists()


def test_a_fault_leaves_nothing_behind(tmp_path: Path) -> None:
    bad = history(tmp_path / "bad.csv", first_s=FIRST_S, last="oops\n")
    store = tmp_path / "store"
    assert run(store, [bad])[0] == 1
    assert not store.exists()


def test_other_files_begin_anew(tmp_path: Path) -> None:
    path = history(tmp_path / "a.csv", first_s=FIRST_S)
    store = tmp_path / "store"
    assert run(store, [path], left=3)[0] == 9
    assert (store / "backfill" / "note.json").exists()
    history(path, first_s=FIRST_S, routes=3)
    code, told = run(store, [path])
    assert (code, told["series_count"], told["window_count"]) == (0, 3, 600)


def note(**more: Any) -> ReadNote:
    return ReadNote(source="one", now_ns=5, sizes={3: 4}, **more)


def left_behind(store: Path, *, size: int = 9) -> ReadCheckpoint:
    made = ReadCheckpoint(store, "one")
    (made.rows_folder() / "3").write_bytes(b"x" * size)
    made.write(note(file=2, mark={"line": 7}))
    (made.rows_folder() / "4").write_bytes(b"y")
    made.close()
    return made


def test_what_is_beyond_the_note_is_cut_off(tmp_path: Path) -> None:
    left_behind(tmp_path)
    found = ReadCheckpoint(tmp_path, "one")
    assert found.note == note(file=2, mark={"line": 7})
    assert {path.name: path.read_bytes() for path in found.rows_folder().iterdir()} == {
        "3": b"xxxx"
    }
    found.forget()
    assert not (tmp_path / "backfill").exists()


def test_a_note_without_its_rows_or_that_is_torn_is_none(tmp_path: Path) -> None:
    left_behind(tmp_path, size=2)
    assert ReadCheckpoint(tmp_path, "one").note is None
    left_behind(tmp_path)
    (tmp_path / "backfill" / "note.json").write_text("{")
    assert ReadCheckpoint(tmp_path, "one").note is None
    left_behind(tmp_path)
    assert ReadCheckpoint(tmp_path, "two").note is None


def test_two_backfills_do_not_read_into_one_store(tmp_path: Path) -> None:
    with Backfill(now_ns=1, keep_ns=1, folder=tmp_path, source="one") as first:
        assert first.resumed is None
        checkpoint = ReadCheckpoint(tmp_path, "one")
        checkpoint.rows_folder()
        with pytest.raises(StoreLockedError, match="another backfill"):
            Backfill(now_ns=1, keep_ns=1, folder=tmp_path, source="one")
        checkpoint.forget()
