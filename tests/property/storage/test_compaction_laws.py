"""Laws of chunks, over random histories.

Method: hypothesis draws when windows arrive, which series they have and in what order; what the store gives
back must be what a plain dictionary holds, before packing, after packing, and after a restart.
"""

from __future__ import annotations

import tempfile

from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.model import WindowBlock
from sentinel.ports import Tick
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from sentinel.storage.sqlite.chunks import ChunkTable
from sentinel.storage.sqlite.codec import Codec, encode_block, encode_layout
from sentinel.storage.windows import clip, join_neighbours, overlay, split_at_chunks
from tests.support.store_blocks import BASE_NS, STEP_NS, block, keys, rectangle
from tests.support.surroundings import make_surroundings

Arrival = tuple[int, int, int]
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 130), st.integers(1, 6), st.integers(0, 3)), min_size=1, max_size=60
)


def ignored(_chunk_id: int, _reason: str) -> None:
    raise AssertionError("nothing here is damaged")


def read(store: SqliteStore) -> list[WindowBlock]:
    return list(store.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62))


@settings(max_examples=40)
@given(arrivals=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), min_size=1, max_size=70))
def test_packing_changes_nothing_that_is_read(arrivals: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(StoreConfig(directory=directory), make_surroundings())
        store.open()
        ids = store.register(keys(6), now_ns=1)
        at = 0
        stored = []
        for gap, series_count in arrivals:
            at += 1 + gap
            one = block(ids[:series_count], at=at)
            stored.append(one)
            store.append_tick(Tick(block=one))
        before = rectangle(read(store))
        assert before == rectangle(stored)

        def pack(chunks: ChunkTable) -> None:
            chunks.compact(before_span_of_ns=2**62, step_ns=STEP_NS, limit=100, on_damage=ignored)

        store._access.write("pack", lambda session: pack(session.chunks))
        assert rectangle(read(store)) == before
        store.close()
        store.open()
        assert rectangle(read(store)) == before
        store.close()


@settings(max_examples=40)
@given(arrivals=ARRIVALS)
def test_any_order_of_history_is_a_dictionary(arrivals: list[Arrival]) -> None:
    """Blocks may overlap and come in any order; each cell is the last one that carried something."""
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(StoreConfig(directory=directory), make_surroundings())
        store.open()
        ids = store.register(keys(9), now_ns=1)
        plain: dict[tuple[int, int], tuple[bytes, bytes, bool]] = {}
        for seed, (at, count, first) in enumerate(arrivals):
            one = block(ids[first : first + 6], at=at, count=count, seed=seed)
            store.append_history(one)
            for place, cell in rectangle([one]).items():
                if cell[2] or place not in plain:
                    plain[place] = cell
        found = rectangle(read(store))
        assert {place: found[place] for place in plain} == plain
        # Places that no block had are there only as cells that carry nothing.
        assert not any(cell[2] for place, cell in found.items() if place not in plain)
        store.close()


@given(at=st.integers(0, 200), count=st.integers(1, 200), width=st.integers(1, 5))
def test_cutting_at_chunks_and_joining_is_the_block(at: int, count: int, width: int) -> None:
    whole = block(list(range(1, width + 1)), at=at, count=count)
    pieces = list(split_at_chunks(whole))
    assert all(piece.window_count <= 48 for piece in pieces)
    (joined,) = join_neighbours(pieces)
    assert rectangle([joined]) == rectangle([whole]) == rectangle([overlay(pieces)])


@given(
    count=st.integers(1, 20),
    first=st.integers(-5, 25),
    length=st.integers(0, 25),
    off=st.integers(0, 9),
)
def test_clipping_keeps_windows_that_begin_inside(
    count: int, first: int, length: int, off: int
) -> None:
    whole = block([1, 2], count=count)
    start_ns = BASE_NS + first * STEP_NS - off
    end_ns = start_ns + length * STEP_NS
    cut = clip(whole, start_ns=start_ns, end_ns=end_ns)
    expected = {
        place: cell for place, cell in rectangle([whole]).items() if start_ns <= place[0] < end_ns
    }
    assert rectangle([] if cut is None else [cut]) == expected


@given(count=st.integers(1, 48), width=st.integers(1, 40))
def test_bytes_depend_on_the_block_alone(count: int, width: int) -> None:
    one = block(list(range(1, width + 1)), count=count)
    for codec in Codec:
        assert encode_block(one, codec) == encode_block(one, codec)
    assert len(encode_layout(one)) < 9 * width + 40
