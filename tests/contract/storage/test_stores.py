"""Laws of the four storage ports, over every implementation.

Method: one suite, run on the store in memory, on the store on disk, and on the store on disk that is closed
and opened again before every look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from sentinel.core.model import Kind, SeriesKey, WindowBlock
from sentinel.ports import (
    BaselineStore,
    HandedOver,
    IncidentStore,
    Outbox,
    PastStore,
    Snapshot,
    Tick,
)
from sentinel.storage.memory import MemoryStore
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from tests.support.store_blocks import BASE_NS, STEP_NS, block, incident, keys, page, rectangle
from tests.support.surroundings import make_surroundings

MINUTE_NS = 60_000_000_000


class AnyStore(PastStore, BaselineStore, IncidentStore, Outbox, Protocol):
    """All four ports at once."""


Look = Callable[[], AnyStore]


@pytest.fixture(params=["memory", "sqlite", "sqlite-reopened"])
def look(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Look]:
    """Gives the store under test; each call may be a new process' view of it."""
    if request.param == "memory":
        memory = MemoryStore()
        yield lambda: memory
        return
    store = SqliteStore(StoreConfig(directory=str(tmp_path)), make_surroundings())

    def reopened() -> AnyStore:
        if request.param == "sqlite-reopened":
            store.close()
        store.open()
        return store

    yield reopened
    assert store.trouble == ""
    store.close()


def everything(store: AnyStore, step_ns: int = STEP_NS) -> list[WindowBlock]:
    return list(store.windows(step_ns=step_ns, start_ns=0, end_ns=2**62))


def test_ids_are_for_life_and_in_order_of_registration(look: Look) -> None:
    first = look().register(keys(3), now_ns=BASE_NS)
    assert first == sorted(set(first))
    more = look().register([*keys(5)[3:], keys(1)[0]], now_ns=BASE_NS + 1)
    assert more[2] == first[0]
    assert more[:2] == sorted(more[:2])
    assert more[0] > first[-1]
    rows = look().series()
    assert [row.series_id for row in rows] == [*first, *more[:2]]
    assert [(row.key, row.kind) for row in rows] == keys(5)
    assert rows[0].first_seen_ns == BASE_NS


def test_names_of_any_text_are_kept(look: Look) -> None:
    odd = SeriesKey('a"b', "stage,\n", "\u0131\U0001f600' OR 1=1 --", "x\x00y")
    (series_id,) = look().register([(odd, Kind.GAUGE)], now_ns=1)
    assert look().series()[0].key == odd
    assert look().register([(odd, Kind.GAUGE)], now_ns=2) == [series_id]


def test_windows_come_back_to_the_bit(look: Look) -> None:
    ids = look().register(keys(7), now_ns=BASE_NS)
    given = [block(ids, at=at) for at in range(130)]
    for one in given:
        look().append_tick(Tick(block=one))
    found = everything(look())
    assert rectangle(found) == rectangle(given)
    assert [one.start_ns for one in found] == sorted(one.start_ns for one in found)
    assert all(np.array_equal(one.kind, given[0].kind) for one in found)


def test_special_floats_survive(look: Look) -> None:
    ids = look().register(keys(1), now_ns=BASE_NS)
    bits = np.array([0x7FC00001, 0x80000000, 0x00000001, 0x7F800000], dtype=np.uint32)
    value = bits.view(np.float32).reshape(4, 1)
    given = replace(
        block(ids, count=4), value=value, weight=np.ones_like(value), heard=np.ones((4, 1), bool)
    )
    look().append_history(given)
    assert rectangle(everything(look())) == rectangle([given])


def test_a_look_is_cut_to_time_and_series(look: Look) -> None:
    ids = look().register(keys(6), now_ns=BASE_NS)
    given = block(ids, count=100)
    look().append_history(given)
    wanted = [ids[4], ids[1], 999]
    found = list(
        look().windows(
            step_ns=STEP_NS,
            start_ns=BASE_NS + 45 * STEP_NS,
            end_ns=BASE_NS + 50 * STEP_NS,
            series=wanted,
        )
    )
    cells = rectangle([given])
    assert rectangle(found) == {
        (start_ns, series_id): cell
        for (start_ns, series_id), cell in cells.items()
        if 45 <= (start_ns - BASE_NS) // STEP_NS < 50 and series_id in wanted
    }
    assert all(one.series.tolist() == sorted(one.series.tolist()) for one in found)


def test_series_that_come_and_go_are_in_their_windows_only(look: Look) -> None:
    ids = look().register(keys(4), now_ns=BASE_NS)
    given = [
        block(ids[:2], at=0),
        block(ids, at=1),
        block(ids[1:], at=2),
        block(ids[1:], at=60),
    ]
    for one in given:
        look().append_tick(Tick(block=one))
    assert rectangle(everything(look())) == rectangle(given)


def test_history_again_replaces_and_other_history_adds(look: Look) -> None:
    ids = look().register(keys(4), now_ns=BASE_NS)
    five_ns = 300_000_000_000
    first = block(ids[:2], count=60, seed=1, step_ns=five_ns)
    look().append_history(first)
    look().append_history(first)
    assert rectangle(everything(look(), five_ns)) == rectangle([first])
    other = block(ids[2:], at=10, count=60, seed=2, step_ns=five_ns)
    look().append_history(other)
    newer = block(ids[:2], at=20, count=5, seed=3, step_ns=five_ns)
    look().append_history(newer)
    cells = rectangle(everything(look(), five_ns))
    expected = rectangle([first, other])
    expected.update(
        {at: cell for at, cell in rectangle([newer]).items() if cell[2] or cell[1] != b"\0" * 4}
    )
    assert {at: cells[at] for at in expected} == expected


def test_past_windows_come_with_a_note_on_how_far_that_got(look: Look) -> None:
    ids = look().register(keys(4), now_ns=BASE_NS)
    five_ns = 300_000_000_000
    first = block(ids, count=60, seed=1, step_ns=five_ns)
    assert look().past_progress("one") == b""
    look().append_past([first], source="one", progress=b"\x00half", now_ns=BASE_NS)
    assert rectangle(everything(look(), five_ns)) == rectangle([first])
    look().append_past((), source="two", progress=b"other", now_ns=BASE_NS)
    look().append_past((), source="one", progress=b"more", now_ns=BASE_NS)
    assert (look().past_progress("one"), look().past_progress("two")) == (b"more", b"other")
    look().append_past((), source="one", progress=b"", now_ns=BASE_NS)
    assert (look().past_progress("one"), look().past_progress("two")) == (b"", b"other")
    # A note is no snapshot: what a sidecar goes on from stays as it was.
    assert look().fits() == look().states() == []


def test_coarser_windows_are_medians_and_sums_and_shares_of_all_calls(look: Look) -> None:
    ids = look().register(keys(5), now_ns=BASE_NS)
    given = [block(ids, at=at) for at in range(60) if at not in (7, 8)]
    for one in given:
        look().append_tick(Tick(block=one))
    minutes = everything(look(), MINUTE_NS)
    assert sum(one.window_count for one in minutes) == 10
    for one in minutes:
        for row in range(one.window_count):
            start_ns = one.start_ns + row * MINUTE_NS
            fine = [f for f in given if start_ns <= f.start_ns < start_ns + MINUTE_NS]
            values = np.concatenate([f.value for f in fine]).astype(np.float64)
            calls = np.concatenate([f.weight for f in fine]).astype(np.float64)
            for column in range(5):
                told = ~np.isnan(values[:, column])
                known, behind = values[told, column], calls[told, column]
                if not known.size:
                    expected = np.nan
                elif one.kind[column] == Kind.ERRORS:
                    expected = (known * behind).sum() / behind.sum()
                else:
                    expected = np.median(known)
                np.testing.assert_allclose(one.value[row, column], expected, rtol=1e-6)
            weights = np.concatenate([f.weight for f in fine]).sum(axis=0)
            np.testing.assert_array_equal(one.weight[row], weights)
    fives = everything(look(), 5 * MINUTE_NS)
    assert sum(one.window_count for one in fives) == 2


def test_a_gap_leaves_no_coarse_window_unmade(look: Look) -> None:
    ids = look().register(keys(2), now_ns=BASE_NS)
    for at in (0, 1, 2, 400, 401):
        look().append_tick(Tick(block=block(ids, at=at)))
    starts = [
        one.start_ns + row * MINUTE_NS
        for one in everything(look(), MINUTE_NS)
        for row in range(one.window_count)
    ]
    assert starts == [BASE_NS, BASE_NS + 66 * MINUTE_NS]


def test_windows_of_another_step_work_too(look: Look) -> None:
    ids = look().register(keys(2), now_ns=BASE_NS)
    step_ns = 5_000_000_000
    given = [block(ids, at=at, step_ns=step_ns) for at in range(120)]
    for one in given:
        look().append_tick(Tick(block=one))
    assert rectangle(everything(look(), step_ns)) == rectangle(given)
    assert sum(one.window_count for one in everything(look(), MINUTE_NS)) == 10


def test_two_generations_of_fits_and_states_are_kept(look: Look) -> None:
    assert look().fits() == []
    fits = [Snapshot(at_ns=at, version=at, payload=bytes([at]) * at) for at in (1, 2, 3)]
    for fit in fits:
        look().save_fit(fit)
        look().save_state(replace(fit, payload=b"state"))
    assert look().fits() == fits[:0:-1]
    assert look().fits(limit=1) == [fits[2]]
    assert [state.payload for state in look().states()] == [b"state", b"state"]


def test_incidents_are_newest_first_and_the_latest_state_counts(look: Look) -> None:
    ids = look().register(keys(1), now_ns=BASE_NS)
    old, new = incident("a"), incident("b", opened_ns=BASE_NS + 1)
    look().append_tick(Tick(block=block(ids), incidents=(old, new)))
    assert look().incidents() == [new, old]
    closed = incident("b", opened_ns=BASE_NS + 1, is_open=False)
    look().append_tick(Tick(block=block(ids, at=1), incidents=(closed,)))
    assert look().incidents() == [closed, old]
    assert look().incidents(open_only=True) == [old]
    assert look().incidents(limit=1) == [closed]


def test_which_pages_are_stored_is_known_without_a_destination(look: Look) -> None:
    ids = look().register(keys(1), now_ns=BASE_NS)
    first, second, never = page("a"), page("a", 1), page("b")
    look().append_tick(Tick(block=block(ids), pages=(first, second)))
    asked = {first.page_id, second.page_id, never.page_id}
    assert look().known_pages(asked) == {first.page_id, second.page_id}
    assert look().known_pages(()) == frozenset()


def test_a_page_waits_for_every_destination_of_its_time(look: Look) -> None:
    ids = look().register(keys(1), now_ns=BASE_NS)
    store = look()
    store.set_destinations(["am", "hook", "am"])
    pages = (page("a"), page("a", 1))
    store.append_tick(Tick(block=block(ids), pages=pages))
    store.set_destinations(["am"])
    store.append_tick(Tick(block=block(ids, at=1), pages=(page("b"),)))
    entries = look().entries(destination="am")
    assert [entry.page for entry in entries] == [*pages, page("b")]
    assert [entry.page for entry in look().entries(destination="hook")] == list(pages)
    assert look().entries(destination="other") == []
    assert [entry.entry_id for entry in entries] == sorted({entry.entry_id for entry in entries})
    assert {(entry.state, entry.attempts, entry.due_ns) for entry in entries} == {
        ("pending", 0, 0)
    }
    assert len(look().entries(destination="am", limit=2)) == 2


def test_a_window_decided_again_does_not_page_again(look: Look) -> None:
    ids = look().register(keys(1), now_ns=BASE_NS)
    tick = Tick(block=block(ids), incidents=(incident(),), pages=(page(),))
    store = look()
    store.set_destinations(["am"])
    store.append_tick(tick)
    (entry,) = look().entries(destination="am")
    look().update([replace(entry, state="done", delivered_ns=5, attempts=1)])
    store = look()
    store.set_destinations(["am"])
    store.append_tick(tick)
    assert look().entries(destination="am") == []
    assert len(look().incidents()) == 1


def test_what_became_of_an_entry_is_kept(look: Look) -> None:
    ids = look().register(keys(1), now_ns=BASE_NS)
    store = look()
    store.set_destinations(["am"])
    store.append_tick(Tick(block=block(ids), pages=tuple(page("a", n) for n in range(3))))
    first, second, third = look().entries(destination="am")
    changed = [
        replace(first, state="done"),
        replace(second, state="parked", attempts=4, due_ns=77),
        replace(third, state="delivered", delivered_ns=88),
    ]
    look().update(changed)
    assert look().entries(destination="am") == changed[1:]


def test_what_a_removed_destination_never_took_goes_to_the_others(look: Look) -> None:
    """A page waits because an address is wrong; when that is mended, the destination has another name.

    Such entries once stayed pending for ever: the page reached nobody.
    """
    ids = look().register(keys(1), now_ns=BASE_NS)
    store = look()
    store.set_destinations(["old", "hook"])
    pages = tuple(page(name) for name in ("taken", "waits", "refused", "both"))
    store.append_tick(Tick(block=block(ids), pages=pages))
    taken, _, refused, _ = look().entries(destination="old")
    look().update(
        [replace(taken, state="delivered", delivered_ns=7), replace(refused, state="parked")]
    )
    both = look().entries(destination="hook")[3]
    look().update([replace(both, state="done", delivered_ns=7)])
    store = look()
    store.set_destinations(["hook", "new"])
    assert store.hand_over(oldest_ns=0) == {"old": HandedOver(moved_count=2, dropped_count=0)}
    assert look().entries(destination="old") == []
    waiting = look().entries(destination="new")
    assert [entry.page for entry in waiting] == [page("waits"), page("both")]
    assert {entry.state for entry in waiting} == {"pending"}
    hook = [entry.page for entry in look().entries(destination="hook")]
    assert hook == [page("taken"), page("waits"), page("refused")]
    store = look()
    store.set_destinations(["hook", "new"])
    assert store.hand_over(oldest_ns=0) == {}
    store.set_destinations([])
    assert store.hand_over(oldest_ns=0) == {}


def test_old_pages_of_a_removed_destination_are_dropped_and_counted(look: Look) -> None:
    ids = look().register(keys(1), now_ns=BASE_NS)
    store = look()
    store.set_destinations(["old"])
    store.append_tick(Tick(block=block(ids), pages=(page("a"),)))
    (entry,) = look().entries(destination="old")
    assert entry.stored_ns > 0
    store = look()
    store.set_destinations(["new"])
    found = store.hand_over(oldest_ns=entry.stored_ns + 1)
    assert found == {"old": HandedOver(moved_count=0, dropped_count=1)}
    assert look().entries(destination="new") == look().entries(destination="old") == []
