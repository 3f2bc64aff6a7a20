"""Goal: however much a period holds, what makes its export has next to nothing of it in memory. Method: entries that are made up as they are asked for, parts on the disk, and Python's own count of what is held."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from typing import IO, Any

import pytest

from sentinel.reference.ledger.audit import archive, export, rows
from sentinel.reference.ledger.audit.archive import Head, Sink
from sentinel.reference.ledger.domain.audit.check import Record
from sentinel.reference.ledger.domain.audit.note import Checkpoint, SignedCheckpoint

SIZE = 20_000
LEAF_BYTES = 2_000
LAST = SignedCheckpoint(
    checkpoint=Checkpoint(origin="log", size=SIZE, root=bytes(32)), signatures=()
)


class OnDisk:
    """Parts in files, of which only what they say is kept."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.counts: list[tuple[int, int]] = []
        self._file: IO[bytes] | None = None

    def begin(self) -> Sink:
        """A file that goes with the test."""
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `end` closes it
        return self._file

    async def end(self, head: Head, writer: archive.Writer) -> None:
        """Note what it was."""
        assert self._file is not None
        with self._file as file:
            assert file.tell() == writer.bytes_count
        self.heads.append(head)
        self.counts.append((writer.entries_count, writer.bytes_count))


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def newest(_: object, *, witnessed: bool) -> tuple[SignedCheckpoint, int]:
        return LAST, SIZE

    async def places(*_: object) -> tuple[int, int]:
        return 0, SIZE

    async def records(_: object, start: int, end: int, tenant: str | None) -> AsyncIterator[Any]:
        # Others' entries are between a tenant's.
        for place in range(start + 3, end, 2):
            leaf = f"{place}".ljust(LEAF_BYTES).encode()
            yield Record(place=place, leaf=leaf, signature=bytes(64)), None

    class Proofs:
        def __init__(self, *_: object) -> None: ...

        async def of(self, place: int) -> list[bytes]:
            return [bytes(32)] * 15

    monkeypatch.setattr(export, "_newest", newest)
    monkeypatch.setattr(export, "_places", places)
    monkeypatch.setattr(rows, "records", records)
    monkeypatch.setattr(export, "Proofs", Proofs)


async def written(parts: OnDisk, **bounds: int) -> export.Exported:
    period = export.Period(from_us=1, to_us=2, tenant="shop")
    return await export.export_parts(None, parts, period, witnessed=True, **bounds)  # type: ignore[arg-type]  # nobody asks it


@pytest.mark.usefixtures("made_up")
async def test_parts_are_the_whole_period_and_none_of_it_is_held() -> None:
    parts = OnDisk()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        exported = await written(parts, entries_count_max=3_000, bytes_max=10**9)
        held = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert [count for count, _ in parts.counts] == [3_000, 3_000, 3_000, 999]
    assert exported.entries_count == 9_999
    total = sum(size for _, size in parts.counts)
    assert total > 20_000_000
    assert held < total / 20, f"{held} of {total} bytes"
    heads = parts.heads
    assert [head.part for head in heads] == [1, 2, 3, 4]
    assert [head.following for head in heads] == [2, 3, 4, None]
    assert (heads[0].first, heads[-1].end) == (0, SIZE)
    assert [head.end for head in heads[:-1]] == [head.first for head in heads[1:]]


@pytest.mark.usefixtures("made_up")
async def test_a_part_ends_by_its_bytes_too() -> None:
    parts = OnDisk()
    await written(parts, entries_count_max=10**9, bytes_max=5_000_000)
    assert len(parts.counts) > 4
    assert max(size for _, size in parts.counts) < 5_000_000 + 10_000
