"""Goal: the same past leaves the same store and the same report, however it is sliced and wherever it was ended.

Method: random rows of several signals, in slices of several lengths, into a store in memory, with an end after any of its
transactions; beside the backfill that reads all before it stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np
import pytest

from sentinel.core.model import Kind, SeriesKey, WindowBlock, kind_of_signal
from sentinel.core.normalise.promql.rows import QueryRows
from sentinel.history import HistoryRows
from sentinel.history.promql.cutting import Grid
from sentinel.pipeline.backfill import STEP_NS, Backfill, BackfillSummary
from sentinel.pipeline.backfill.progress import Progress, progress_of
from sentinel.pipeline.backfill.slices import SliceBackfill, finish
from sentinel.pipeline.backfill.windows import CHUNK_NS
from sentinel.storage.memory import MemoryStore
from tests.support.store_blocks import rectangle

FIRST_NS = 20_000 * CHUNK_NS + 7 * STEP_NS
END_NS = 20_006 * CHUNK_NS + 5 * STEP_NS
NOW_NS = END_NS + STEP_NS
KEYS = tuple(
    SeriesKey("shop", "edge", f"GET /{number}", signal)
    for number in range(5)
    for signal in ("traffic", "errors", "depth")
)
GRID = Grid(step_ns=STEP_NS // 5, bin_ns=STEP_NS, chunk_ns=CHUNK_NS)


class _EndedError(Exception):
    pass


class _Mortal(MemoryStore):
    """Its process ends before the transaction after so many."""

    left = 10**9

    def append_past(
        self, blocks: Sequence[WindowBlock], *, source: str, progress: bytes, now_ns: int
    ) -> None:
        if self.left == 0:
            raise _EndedError
        self.left -= 1
        super().append_past(blocks, source=source, progress=progress, now_ns=now_ns)


def rows_of_kind(kind: Kind, *, seed: int) -> QueryRows:
    """Values of the series of a kind, with gaps, some of which begin late and some of which end early."""
    rng = np.random.default_rng(seed)
    keys = tuple(sorted(key for key in KEYS if kind_of_signal(key.signal) is kind))
    times_ns = np.arange(FIRST_NS, END_NS, GRID.step_ns)
    parts = []
    for number in range(len(keys)):
        keep = rng.random(times_ns.size) < 0.6
        keep[: rng.integers(0, times_ns.size // 2)] &= number % 2 == 0
        parts.append((np.full(int(keep.sum()), number, np.int32), times_ns[keep]))
    index = np.concatenate([part[0] for part in parts])
    value = rng.random(index.size)
    value[rng.random(index.size) < 0.1] = np.nan
    weight = rng.poisson(9.0, index.size).astype(np.float64)
    weight[rng.random(index.size) < 0.2] = np.nan
    return QueryRows(
        kind=kind,
        keys=keys,
        key_index=index,
        time_ns=np.concatenate([part[1] for part in parts]),
        value=value,
        weight=weight,
    )


PAST = tuple(
    rows_of_kind(kind, seed=seed)
    for seed, kind in enumerate((Kind.ERRORS, Kind.TRAFFIC, Kind.GAUGE))
)


def slices(spans: list[tuple[int, int]], bins_max: int) -> Iterator[tuple[int, int]]:
    for start, end in spans:
        at = start
        while at < end:
            one = GRID.first_of((at, end), bins_max=bins_max)
            yield one
            at = one[1]


def within(rows: QueryRows, span: tuple[int, int]) -> QueryRows:
    keep = (rows.time_ns >= span[0]) & (rows.time_ns < span[1])
    index = rows.key_index[keep]
    used = np.unique(index)
    return QueryRows(
        kind=rows.kind,
        keys=tuple(rows.keys[at] for at in used),
        key_index=np.searchsorted(used, index).astype(np.int32),
        time_ns=rows.time_ns[keep],
        value=rows.value[keep],
        weight=rows.weight[keep],
    )


def run(store: MemoryStore | None, bins_max: int) -> BackfillSummary:
    backfill = SliceBackfill(store, digest="one", span=(FIRST_NS, END_NS), now_ns=NOW_NS)
    for span in slices(backfill.left, bins_max):
        given = [within(rows, span) for rows in PAST]
        backfill.skip("odd", _bins(span))
        backfill.add(given, span)
    return backfill.summary


def _bins(span: tuple[int, int]) -> int:
    return (span[1] - span[0]) // STEP_NS


def content(store: MemoryStore) -> tuple[object, object]:
    blocks = list(store.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62))
    return rectangle(blocks), [(row.series_id, row.key) for row in store.series()]


def test_it_is_what_a_backfill_of_a_file_of_it_is() -> None:
    store, other = MemoryStore(), MemoryStore()
    summary = run(store, 48)
    number_of = {key: at for at, key in enumerate(KEYS)}
    with Backfill(now_ns=NOW_NS, keep_ns=2**62) as whole:
        whole.add(
            HistoryRows(
                series=np.array([number_of[key] for key in rows.keys], np.int32)[rows.key_index],
                time_ns=rows.time_ns,
                value=rows.value,
                weight=rows.weight,
            )
            for rows in PAST
        )
        expected = whole.store(other, KEYS)
    names = [{row.series_id: row.key for row in each.series()} for each in (store, other)]
    cells = [
        {(at_ns, name[series_id]): cell for (at_ns, series_id), cell in found.items()}
        for name, found in zip(
            names,
            (
                rectangle(list(each.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62)))
                for each in (store, other)
            ),
            strict=True,
        )
    ]
    assert cells[0] == cells[1]
    assert summary.skipped == {"odd": _bins((FIRST_NS, END_NS))}
    summary.skipped = {}
    assert asdict(summary) == asdict(expected)


@pytest.mark.parametrize("bins_max", [1, 5, 16, 48, 100, 2000])
def test_other_slices_leave_the_same_store(bins_max: int) -> None:
    store, other = MemoryStore(), MemoryStore()
    assert asdict(run(store, bins_max)) == asdict(run(other, 48))
    assert content(store) == content(other)


@pytest.mark.parametrize("bins_max", [5, 48, 100])
def test_ended_anywhere_it_goes_on_to_the_same_end(bins_max: int) -> None:
    whole = MemoryStore()
    expected = asdict(run(whole, bins_max))
    for after in range(7):
        store = _Mortal()
        store.left = after
        try:
            run(store, bins_max)
        except _EndedError:
            store.left = 10**9
            found = asdict(run(store, 48))
        else:
            continue
        assert found == expected, after
        assert content(store) == content(whole), after


def test_a_dry_run_says_the_same_and_stores_nothing() -> None:
    assert asdict(run(None, 48)) == asdict(run(MemoryStore(), 48))


def test_what_is_done_is_read_again_only_after_all_of_it_was() -> None:
    store = MemoryStore()
    run(store, 48)
    again = SliceBackfill(store, digest="one", span=(FIRST_NS, END_NS), now_ns=NOW_NS)
    assert again.resumed
    assert again.left == []
    longer = SliceBackfill(
        store, digest="one", span=(FIRST_NS - CHUNK_NS, END_NS + STEP_NS), now_ns=NOW_NS
    )
    assert longer.left == [(FIRST_NS - CHUNK_NS, FIRST_NS), (END_NS, END_NS + STEP_NS)]
    other = SliceBackfill(store, digest="two", span=(FIRST_NS, END_NS), now_ns=NOW_NS)
    assert other.left == [(FIRST_NS, END_NS)]
    before = content(store)
    finish(store, ["one"], now_ns=NOW_NS)
    assert not SliceBackfill(store, digest="one", span=(FIRST_NS, END_NS), now_ns=NOW_NS).resumed
    run(store, 100)
    assert content(store) == before


def test_a_note_that_makes_no_sense_is_none() -> None:
    note = Progress("one", done=[(0, 5)], series={3, 70_000, 4})
    found = progress_of(note.to_bytes(), "one")
    assert (found.done, found.series) == ([(0, 5)], {3, 4, 70_000})
    for wrong in (b"", b"{}", b"\x78\x9c", note.to_bytes()[:-9]):
        assert progress_of(wrong, "one").done == []
