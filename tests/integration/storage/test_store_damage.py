"""What a store does about bits that flip on the disk.

Method: a store with packed and raw windows, pages, incidents, a fit and a state is closed; in copies of it
one byte is changed at a seeded place. Every copy must open, must never give back anything that was not
stored, and must go on taking windows and pages. What is lost is measured, and must be reported.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from sentinel.core.model import Page
from sentinel.ports import Snapshot, Tick
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from sentinel.storage.sqlite.session import open_session
from sentinel.storage.sqlite.soundness import SoundnessCheck
from tests.support.store_blocks import STEP_NS, block, incident, keys, page, rectangle
from tests.support.surroundings import make_surroundings

STEPS_NS = (STEP_NS, 60_000_000_000, 300_000_000_000)
CORRUPT = "sentinel_store_corrupt_chunks_total"
Cells = dict[tuple[int, int, int], tuple[bytes, bytes, bool]]


@dataclass(frozen=True)
class Whole:
    """A sound store, and all that is in it."""

    directory: Path
    cells: Cells
    pages: list[Page]


def opened(directory: Path) -> SqliteStore:
    config = StoreConfig(directory=str(directory), reserve_bytes=0)  # type: ignore[arg-type]
    store = SqliteStore(config, make_surroundings())
    store.open()
    store.set_destinations(["am"])
    return store


def all_cells(store: SqliteStore) -> Cells:
    return {
        (step_ns, *at): cell
        for step_ns in STEPS_NS
        for at, cell in rectangle(
            list(store.windows(step_ns=step_ns, start_ns=0, end_ns=2**62))
        ).items()
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    directory = tmp_path_factory.mktemp("whole")
    store = opened(directory)
    ids = store.register(keys(30), now_ns=1)
    for at in range(48 * 4 + 20):
        pages = (page(f"inc-{at}"),) if at % 10 == 0 else ()
        incidents = (incident(f"inc-{at}"),) if at % 10 == 0 else ()
        one = block(ids, at=at, histograms=True)
        store.append_tick(Tick(block=one, incidents=incidents, pages=pages))
    for version in (1, 2):
        store.save_fit(Snapshot(at_ns=version, version=version, payload=b"fit" * 3000))
        store.save_state(Snapshot(at_ns=version, version=version, payload=b"state" * 3000))
    cells = all_cells(store)
    pages_stored = [entry.page for entry in store.entries(destination="am")]
    store.close()
    return Whole(directory, cells, pages_stored)


def corruption_count(store: SqliteStore) -> float:
    kinds = ("chunk", "database", "page", "incident", "fit", "state", "histograms")
    return sum(store._metrics.value(CORRUPT, what=what) for what in kinds)


def damage_and_check(whole: Whole, directory: Path, *, seed: int) -> tuple[bool, int, int]:
    """Flip bits of one byte and check; whether it was noticed, and how many cells and pages are gone."""
    shutil.copytree(whole.directory, directory)
    path = directory / "sentinel.db"
    rng = random.Random(seed)
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    path.write_bytes(content)

    store = opened(directory)
    cells = all_cells(store)
    pages = [entry.page for entry in store.entries(destination="am")]
    incidents = store.incidents(limit=1000)
    fits, states = store.fits(), store.states()
    list(store.histograms(start_ns=0, end_ns=2**62))
    assert cells.items() <= whole.cells.items(), f"seed {seed}: windows that were never stored"
    assert all(one in whole.pages for one in pages), f"seed {seed}: pages that were never stored"
    assert len({one.page_id for one in pages}) == len(pages)
    assert {fit.payload for fit in fits} <= {b"fit" * 3000}
    assert {state.payload for state in states} <= {b"state" * 3000}
    is_whole = (
        len(cells) == len(whole.cells)
        and len(pages) == len(whole.pages)
        and len(incidents) == len(whole.pages)
        and len(fits) == len(states) == 2
    )
    noticed = corruption_count(store) > 0
    assert is_whole or noticed, f"seed {seed}: something is lost and nobody was told"
    if noticed:
        assert store.trouble

    ids = store.register(keys(31), now_ns=2)
    later = block(ids, at=10_000)
    store.append_tick(Tick(block=later, pages=(page("after"),)))
    assert (
        rectangle([later]).items()
        <= rectangle(
            list(store.windows(step_ns=STEP_NS, start_ns=later.start_ns, end_ns=2**62))
        ).items()
    )
    assert store.entries(destination="am")[-1].page == page("after")
    store.close()
    again = opened(directory)
    assert corruption_count(again) == 0, f"seed {seed}: the damage is met again at every start"
    again.close()
    shutil.rmtree(directory)
    return noticed, len(whole.cells) - len(cells), len(whole.pages) - len(pages)


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_any_flipped_byte_is_survived(whole: Whole, tmp_path: Path) -> None:
    found = [damage_and_check(whole, tmp_path / str(seed), seed=seed) for seed in range(60)]
    one_chunk = 48 * 30
    assert sum(noticed for noticed, _, _ in found) >= 20
    # The rest is the few pages of the file that everything else is found by.
    assert sum(lost_cells <= one_chunk for _, lost_cells, _ in found) >= 57
    assert sum(lost_pages <= 1 for _, _, lost_pages in found) >= 57


@pytest.mark.full
@pytest.mark.integration
@pytest.mark.timeout(900)
def test_any_of_many_flipped_bytes_is_survived(whole: Whole, tmp_path: Path) -> None:
    for seed in range(1000, 1500):
        damage_and_check(whole, tmp_path / str(seed), seed=seed)


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_a_damaged_chunk_is_set_aside_and_the_others_stay(whole: Whole, tmp_path: Path) -> None:
    directory = tmp_path / "store"
    shutil.copytree(whole.directory, directory)
    connection = sqlite3.connect(directory / "sentinel.db")
    chunk_id, step_ns, start_ns, end_ns, payload = connection.execute(
        "SELECT chunk_id, step_ns, start_ns, end_ns, payload FROM chunks WHERE codec = 1 LIMIT 1"
    ).fetchone()
    spoilt = bytes([payload[0] ^ 1]) + payload[1:]
    connection.execute("UPDATE chunks SET payload = ? WHERE chunk_id = ?", (spoilt, chunk_id))
    connection.commit()
    connection.close()
    store = opened(directory)
    cells = all_cells(store)
    assert cells == {
        at: cell
        for at, cell in whole.cells.items()
        if not (at[0] == step_ns and start_ns <= at[1] < end_ns)
    }
    assert store._metrics.value(CORRUPT, what="chunk") == 1
    assert all_cells(store) == cells
    assert store._metrics.value(CORRUPT, what="chunk") == 1
    (aside,) = store._access.read(
        "test", lambda session: session.connection.execute("SELECT payload FROM quarantine")
    ).fetchall()
    assert aside == (spoilt,)
    store.close()


@pytest.mark.integration
@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", [16, 100, 4096])
def test_a_lost_first_page_loses_nothing(whole: Whole, tmp_path: Path, size: int) -> None:
    """Everything in the file is found from its first page, so a copy of that one is kept."""
    directory = tmp_path / "store"
    shutil.copytree(whole.directory, directory)
    with (directory / "sentinel.db").open("r+b") as file:
        file.write(b"\xa5" * size)
    store = opened(directory)
    assert all_cells(store) == whole.cells
    assert [entry.page for entry in store.entries(destination="am")] == whole.pages
    assert len(store.fits()) == len(store.states()) == 2
    assert "rebuilt" in store.trouble
    store.close()


@pytest.mark.integration
@pytest.mark.timeout(120)
@pytest.mark.parametrize("content", [b"", b"x" * 100_000, None], ids=["cut", "text", "half"])
def test_a_file_that_is_no_database_is_put_aside(
    whole: Whole, tmp_path: Path, content: bytes | None
) -> None:
    directory = tmp_path / "store"
    shutil.copytree(whole.directory, directory)
    path = directory / "sentinel.db"
    sound = path.read_bytes()
    path.write_bytes(sound[: len(sound) // 2] if content is None else content)
    store = opened(directory)
    cells = all_cells(store)
    assert cells.items() <= whole.cells.items()
    assert list(directory.glob("sentinel.db.corrupt-*"))
    assert "damaged" in store.trouble
    ids = store.register(keys(3), now_ns=2)
    store.append_tick(Tick(block=block(ids, at=10_000), pages=(page("after"),)))
    assert store.entries(destination="am")[-1].page == page("after")
    store.close()


@pytest.mark.parametrize("is_gone", [False, True], ids=["emptied", "gone"])
def test_a_store_that_was_emptied_is_not_taken_for_a_new_one(
    tmp_path: Path, *, is_gone: bool
) -> None:
    """A file cut to 0 bytes is a valid new database to SQLite: once, all was lost and the health was ok.

    What tells it from a first start is the copy of the first page, which every opened store leaves beside it.
    """
    first = opened(tmp_path)
    assert first.trouble == ""
    first.register(keys(3), now_ns=1)
    first.close()
    path = tmp_path / "sentinel.db"
    if is_gone:
        path.unlink()
    else:
        path.write_bytes(b"")
    store = opened(tmp_path)
    assert "damaged" in store.trouble
    assert corruption_count(store) == 1
    assert list(tmp_path.glob("sentinel.db.corrupt-*"))
    ids = store.register(keys(3), now_ns=2)
    store.append_tick(Tick(block=block(ids), pages=(page("after"),)))
    store.close()
    again = opened(tmp_path)
    assert again.trouble == ""
    assert [entry.page for entry in again.entries(destination="am")] == [page("after")]
    again.close()


def test_damage_that_a_long_check_finds_is_mended_when_it_ends(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of a large store took seconds of every start; now the start does not wait for its end.

    Here the check begins when the store is in use, and an index is overwritten that no window touches.
    """
    gate = threading.Event()
    look = SoundnessCheck._look

    def look_later(check: SoundnessCheck, connection: sqlite3.Connection) -> None:
        gate.wait(10)
        look(check, connection)

    monkeypatch.setattr(SoundnessCheck, "_look", look_later)
    monkeypatch.setattr(open_session, "__kwdefaults__", {"check_wait_s": 0.0, "on_copy": None})
    directory = tmp_path / "store"
    shutil.copytree(whole.directory, directory)
    with sqlite3.connect(directory / "sentinel.db") as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'incidents_by_time'"
        ).fetchone()
    connection.close()
    with (directory / "sentinel.db").open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)
    store = opened(directory)
    ids = store.register(keys(30), now_ns=2)
    store.append_tick(Tick(block=block(ids, at=10_000)))
    assert corruption_count(store) == 0
    gate.set()
    deadline_s = time.monotonic() + 45
    while corruption_count(store) == 0 and time.monotonic() < deadline_s:
        store.register(keys(30), now_ns=2)
        time.sleep(0.01)
    assert "rebuilt" in store.trouble
    assert whole.cells.items() <= all_cells(store).items()
    assert [entry.page for entry in store.entries(destination="am")] == whole.pages
    store.close()


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_a_rebuilding_that_was_interrupted_is_ended(whole: Whole, tmp_path: Path) -> None:
    """A process may die after the damaged file is renamed and before the new one takes its name."""
    directory = tmp_path / "store"
    shutil.copytree(whole.directory, directory)
    path = directory / "sentinel.db"
    path.rename(directory / "sentinel.db.rebuilt")
    (directory / "sentinel.db-wal").write_bytes(b"old log that must not be applied")
    store = opened(directory)
    assert all_cells(store) == whole.cells
    assert [entry.page for entry in store.entries(destination="am")] == whole.pages
    store.close()
    shutil.copy(path, directory / "sentinel.db.rebuilt")
    store = opened(directory)
    assert not (directory / "sentinel.db.rebuilt").exists()
    assert all_cells(store) == whole.cells
    store.close()
