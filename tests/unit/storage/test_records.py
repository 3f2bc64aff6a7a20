"""Goal: records of a replay are kept as long as the windows they are for, and damage costs one of them.

Method: a store of our own in a folder; records of days, then retention, a flipped byte, and a copy of a part.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from sentinel.errors import StoreCorruptError, StoreError, StoreFullError, StoreTooNewError
from sentinel.ports import Snapshot, Tick
from sentinel.storage.sqlite import SqliteStore, StoreConfig, excerpt
from sentinel.storage.sqlite.connection import DATABASE_NAME
from sentinel.storage.sqlite.excerpt import check_excerpt, excerpt_span, write_excerpt
from sentinel.storage.sqlite.reader import StoreReader
from sentinel.storage.sqlite.records import (
    RecordKind,
    record_times,
    remove_old_records,
    remove_oldest_records,
    write_record,
)
from tests.support.store_blocks import BASE_NS, STEP_NS, block, keys
from tests.support.surroundings import make_surroundings

DAY_NS = 86_400_000_000_000
HOUR_NS = 3_600_000_000_000


def record(at_ns: int, *, version: int = 1) -> Snapshot:
    payload = np.random.default_rng(at_ns % 997).bytes(3000) + bytes(3000)
    return Snapshot(at_ns=at_ns, version=version, payload=payload)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with ten days of states, a part of a fit every six hours, and some windows."""
    store = SqliteStore(StoreConfig(directory=str(tmp_path / "store")), make_surroundings())
    store.open()
    ids = store.register(keys(3), now_ns=BASE_NS)
    for at in range(100):
        store.append_tick(Tick(block=block(ids, at=at), notes=(f'{{"event": "n{at}"}}',)))
    for day in range(-9, 1):
        store.record_state(record(BASE_NS + day * DAY_NS))
        for part in range(4):
            at_ns = BASE_NS + day * DAY_NS + part * 6 * HOUR_NS
            store.record_fit(record(at_ns, version=100 + day * 4 + part))
    assert store.newest_record_ns() == BASE_NS
    store.close()
    return tmp_path / "store"


def times(folder: Path, what: RecordKind) -> list[int]:
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as connection:
        return [at_ns for _, at_ns in record_times(connection, what)]


def test_records_are_read_back_as_they_were_given(folder: Path) -> None:
    with StoreReader(folder) as reader:
        assert reader.state_before(BASE_NS + 5) == record(BASE_NS)
        assert reader.state_before(BASE_NS - 1) == record(BASE_NS - DAY_NS)
        # Where there is none so early, the oldest is the nearest.
        assert reader.state_before(0) == record(BASE_NS - 9 * DAY_NS)
        parts = list(reader.fit_parts(start_ns=BASE_NS - HOUR_NS, end_ns=BASE_NS + 7 * HOUR_NS))
        assert [part.at_ns for part in parts] == [BASE_NS, BASE_NS + 6 * HOUR_NS]


def test_what_a_clock_that_was_put_back_had_recorded_is_not_begun_from(folder: Path) -> None:
    back_ns = BASE_NS - 2 * DAY_NS + HOUR_NS
    store = SqliteStore(StoreConfig(directory=str(folder)), make_surroundings())
    store.open()
    store.record_state(record(back_ns))
    store.record_fit(record(back_ns, version=100))
    store.close()
    with StoreReader(folder) as reader:
        assert reader.state_before(2**62) == record(back_ns)
        assert reader.state_before(back_ns - 1) == record(BASE_NS - 2 * DAY_NS)
        parts = list(reader.fit_parts(start_ns=BASE_NS - 2 * DAY_NS, end_ns=2**62))
        assert [part.at_ns for part in parts] == [BASE_NS - 2 * DAY_NS, back_ns]


def test_the_same_instant_again_replaces_it(folder: Path) -> None:
    with closing(sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)) as connection:
        before = len(record_times(connection, RecordKind.STATE))
        write_record(connection, RecordKind.STATE, record(BASE_NS))
        assert len(record_times(connection, RecordKind.STATE)) == before


def test_what_the_oldest_windows_begin_from_stays(folder: Path) -> None:
    with closing(sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)) as connection:
        removed = remove_old_records(connection, before_ns=BASE_NS - 3 * DAY_NS + HOUR_NS)
    assert removed > 0
    assert min(times(folder, RecordKind.STATE)) == BASE_NS - 3 * DAY_NS
    with closing(sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)) as connection:
        assert connection.execute("SELECT count(*) FROM notes").fetchone() == (100,)
        remove_old_records(connection, before_ns=BASE_NS + DAY_NS)
        # What the last state does not begin from is of no use to a replay.
        assert connection.execute("SELECT min(at_ns) FROM notes").fetchone() == (
            BASE_NS + STEP_NS,
        )


def test_the_fit_in_effect_at_the_oldest_state_stays(folder: Path) -> None:
    with closing(sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)) as connection:
        remove_old_records(connection, before_ns=BASE_NS - 3 * DAY_NS + HOUR_NS)
    # It began before that state.
    assert min(times(folder, RecordKind.FIT)) == BASE_NS - 4 * DAY_NS


def test_over_the_ceiling_the_older_half_goes_and_the_newest_stays(folder: Path) -> None:
    with closing(sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)) as connection:
        counts = []
        while remove_oldest_records(connection):
            counts.append(len(record_times(connection, RecordKind.STATE)))
    assert counts == [5, 3, 2, 1]
    assert times(folder, RecordKind.STATE) == [BASE_NS]


def test_a_damaged_record_is_passed_over_and_counted(folder: Path) -> None:
    with closing(sqlite3.connect(folder / DATABASE_NAME, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE snapshots SET payload = zeroblob(length(payload)) WHERE what = ? AND at_ns = ?",
            (RecordKind.STATE, BASE_NS),
        )
    with StoreReader(folder) as reader:
        found = reader.state_before(BASE_NS)
        assert found is not None
        assert found.at_ns == BASE_NS - DAY_NS
        assert reader.damaged_count == 1


def test_a_copy_holds_what_a_preview_of_its_span_reads(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "part"
    size = write_excerpt(
        folder, path, step_ns=STEP_NS, start_ns=BASE_NS, end_ns=BASE_NS + 50 * STEP_NS
    )
    assert size == path.stat().st_size > 0
    assert path.stat().st_mode & 0o777 == 0o600
    with StoreReader(path) as copy, StoreReader(folder) as whole:
        mine, theirs = (
            list(one.windows(step_ns=STEP_NS, start_ns=BASE_NS, end_ns=BASE_NS + 50 * STEP_NS))
            for one in (copy, whole)
        )
        assert [one.value.tobytes() for one in mine] == [one.value.tobytes() for one in theirs]
        assert copy.series() == whole.series()
        assert copy.state_before(BASE_NS) == whole.state_before(BASE_NS)
        # Nothing older came along.
        assert copy.state_before(0) == record(BASE_NS)
        assert len(copy.notes(start_ns=BASE_NS + 1, end_ns=2**62)) == 50
        assert excerpt_span(copy.notes(start_ns=0, end_ns=2**62)) == (
            None,
            BASE_NS + 50 * STEP_NS,
        )
        assert excerpt_span(whole.notes(start_ns=0, end_ns=2**62)) is None
    assert list(tmp_path.glob("part*")) == [path]


def test_a_copy_never_writes_over_a_file(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "part"
    path.write_text("mine")
    with pytest.raises(StoreError, match="cannot be written"):
        write_excerpt(folder, path, step_ns=STEP_NS, start_ns=0, end_ns=1)
    assert path.read_text() == "mine"


def test_a_copy_that_grows_too_large_is_given_up(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excerpt, "EXCERPT_BYTES_MAX", 1000)
    path = tmp_path / "part"
    with pytest.raises(StoreFullError, match="shorter span"):
        write_excerpt(folder, path, step_ns=STEP_NS, start_ns=BASE_NS, end_ns=2**62)
    assert not path.exists()


@pytest.fixture
def part(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "part"
    write_excerpt(folder, path, step_ns=STEP_NS, start_ns=BASE_NS, end_ns=2**62)
    check_excerpt(path)
    return path


@pytest.mark.parametrize(
    ("version", "kind", "said"),
    [
        (99, StoreTooNewError, "a newer version of this program: it has schema version 99"),
        (1, StoreError, "an older version of this program: it has schema version 1"),
    ],
)
def test_a_copy_of_another_version_is_refused(
    part: Path, version: int, kind: type[StoreError], said: str
) -> None:
    with closing(sqlite3.connect(part, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("UPDATE about SET version = ?", (version,))
    with pytest.raises(kind, match=said):
        check_excerpt(part)
    with pytest.raises(StoreError, match=f"version {version}"):
        StoreReader(part)


def test_a_copy_that_was_damaged_on_its_way_is_refused(part: Path) -> None:
    whole = part.read_bytes()
    damages = {
        "cut": whole[: len(whole) // 2],
        "pages of it lost": whole[:4096] + bytes(3 * 4096) + whole[4 * 4096 :],
        "the start of it alone": whole[:60],
        # Content is content to the check of structure; a column of another name is met all the same.
        "a name": whole.replace(b"note_id INTEGER", b"note_ie INTEGER", 1),
    }
    for what, damaged in damages.items():
        part.write_bytes(damaged)
        with pytest.raises(StoreCorruptError, match="is damaged, or was cut short") as caught:
            check_excerpt(part)
        assert "\n" not in str(caught.value), what
    # A byte of content costs the piece that it lies in, which its reader counts.
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(whole)
        connection.execute("UPDATE snapshots SET payload = zeroblob(length(payload))")
        connection.commit()
        part.write_bytes(connection.serialize())
    check_excerpt(part)


def test_what_is_no_copy_at_all_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE mine (of TEXT)")
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"no database at all, but long enough to look into" * 100)
    empty = tmp_path / "empty"
    empty.touch()
    for path, said in (
        (other, "is a database, but not a store of Sentinel"),
        (garbage, "is no snapshot"),
        (empty, "is no snapshot"),
        (tmp_path, "is a folder"),
        (tmp_path / "none", "cannot be read: No such file"),
    ):
        with pytest.raises(StoreError, match=said):
            check_excerpt(path)
