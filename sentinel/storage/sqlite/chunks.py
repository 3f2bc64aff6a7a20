"""Windows in chunks: putting, reading, compacting.

Invariant: the chunks of one resolution never overlap in time, and none crosses a multiple of
`chunk_span_ns`. A window that is stored a second time is therefore laid over the chunk that holds it.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import WindowBlock
from sentinel.errors import StoreCorruptError
from sentinel.storage.sqlite.codec import (
    ChunkRow,
    Codec,
    Layout,
    chunk_crc,
    decode_chunk,
    decode_layout,
    encode_block,
    encode_layout,
)
from sentinel.storage.sqlite.connection import Failure, failure_of, store_error
from sentinel.storage.windows import (
    chunk_span_ns,
    clip,
    join_neighbours,
    overlay,
    select,
    split_at_chunks,
)

OnDamage = Callable[[int, str], None]
"""Told the id of a chunk that cannot be used, and why."""

_COLUMNS = "chunk_id, step_ns, start_ns, end_ns, layout_id, codec, crc, payload"
_LAYOUTS_KEPT = 32


class ChunkTable:
    """The chunks of one connection. Methods that write are called inside a transaction."""

    def __init__(self, connection: sqlite3.Connection, *, named: Iterable[int]) -> None:
        self._connection = connection
        self._layouts: dict[int, Layout] = {}
        self._unnamed = self._unnamed_series(named)

    def forget_layouts(self) -> None:
        """Drop what is held in memory, after a transaction that did not end well."""
        self._layouts.clear()

    def put(self, block: WindowBlock, *, on_damage: OnDamage) -> None:
        """Store a block, over what is already there; a single window raw, more of them packed."""
        for piece in split_at_chunks(block):
            met = self._ids_meeting(piece.step_ns, piece.start_ns, piece.end_ns)
            if met:
                held = [old for _, old in self._readable(met, on_damage)]
                self._delete(met)
                piece = overlay([*held, piece])  # one name for what is stored
            self._insert(piece, Codec.RAW if piece.window_count == 1 else Codec.PACKED)

    def spans(self, *, step_ns: int, start_ns: int, end_ns: int) -> list[int]:
        """Starts of the chunk spans that hold something of this time, in order."""
        span_ns = chunk_span_ns(step_ns)
        rows = self._connection.execute(
            "SELECT DISTINCT start_ns / ? FROM chunks"
            " WHERE step_ns = ? AND start_ns >= ? AND start_ns < ? AND end_ns > ? ORDER BY 1",
            (span_ns, step_ns, start_ns // span_ns * span_ns, end_ns, start_ns),
        ).fetchall()
        return [number * span_ns for (number,) in rows]

    def read_span(
        self,
        *,
        step_ns: int,
        span_start_ns: int,
        start_ns: int,
        end_ns: int,
        series: Sequence[int] | None,
        on_damage: OnDamage,
    ) -> list[WindowBlock]:
        """The windows of one chunk span that begin in `[start_ns, end_ns)`, in as few blocks as can be."""
        ids = self._ids_meeting(step_ns, span_start_ns, span_start_ns + chunk_span_ns(step_ns))
        wanted = None if series is None else np.unique(np.asarray(series, dtype=np.int64))
        blocks = []
        for _, block in self._readable(ids, on_damage, wanted=wanted):
            inside = clip(block, start_ns=start_ns, end_ns=end_ns) if block.series_count else None
            if inside is not None and self._unnamed.size:
                inside = select(inside, np.setdiff1d(inside.series, self._unnamed))
            if inside is not None:
                blocks.append(inside)
        return list(join_neighbours(blocks))

    def compact(
        self, *, before_span_of_ns: int, step_ns: int, limit: int, on_damage: OnDamage
    ) -> int:
        """Pack the raw windows of at most `limit` spans that are over; how many spans were packed."""
        span_ns = chunk_span_ns(step_ns)
        over_ns = before_span_of_ns // span_ns * span_ns
        rows = self._connection.execute(
            "SELECT DISTINCT start_ns / ? FROM chunks"
            " WHERE step_ns = ? AND start_ns < ? AND codec = ? ORDER BY 1 LIMIT ?",
            (span_ns, step_ns, over_ns, int(Codec.RAW), limit),
        ).fetchall()
        for (number,) in rows:
            ids = [
                chunk_id
                for (chunk_id,) in self._connection.execute(
                    "SELECT chunk_id FROM chunks WHERE step_ns = ? AND start_ns >= ?"
                    " AND start_ns < ? AND codec = ? ORDER BY start_ns",
                    (step_ns, number * span_ns, (number + 1) * span_ns, int(Codec.RAW)),
                )
            ]
            blocks = [block for _, block in self._readable(ids, on_damage)]
            self._delete(ids)
            for block in join_neighbours(blocks):
                self._insert(block, Codec.PACKED)
        return len(rows)

    def drop_unused_layouts(self) -> None:
        """Remove layouts that no chunk refers to."""
        self._connection.execute(
            "DELETE FROM layouts WHERE layout_id NOT IN (SELECT layout_id FROM chunks)"
        )
        self._layouts.clear()

    def set_aside(self, chunk_id: int, *, reason: str, now_ns: int) -> None:
        """Move a damaged chunk to the quarantine; its bytes are kept when they can be read."""
        row: tuple[object, ...] | None
        try:
            row = self._connection.execute(
                "SELECT step_ns, start_ns, end_ns, payload FROM chunks WHERE chunk_id = ?",
                (chunk_id,),
            ).fetchone()
        except sqlite3.Error:
            row = (None, None, None, None)
        if row is None:
            return
        name = f"chunk {chunk_id}, step {row[0]} ns, {row[1]} to {row[2]}"
        self._connection.execute(
            "INSERT INTO quarantine (what, name, reason, found_ns, payload) VALUES (?, ?, ?, ?, ?)",
            ("chunk", name, reason, now_ns, row[3]),
        )
        self._connection.execute("DELETE FROM chunks WHERE chunk_id = ?", (chunk_id,))

    def _unnamed_series(self, named: Iterable[int]) -> NDArray[np.int64]:
        """Ids in stored windows that no series has; there are some only after a rebuild lost names."""
        known = np.fromiter(named, dtype=np.int64)
        unnamed = np.empty(0, dtype=np.int64)
        for (layout_id,) in self._connection.execute("SELECT layout_id FROM layouts").fetchall():
            try:
                layout = self._layout(layout_id)
            except StoreCorruptError:
                continue  # met again, and counted, by whoever reads one of its chunks
            unnamed = np.union1d(unnamed, np.setdiff1d(layout.series, known))
        return unnamed

    def _ids_meeting(self, step_ns: int, start_ns: int, end_ns: int) -> list[int]:
        span_start_ns = start_ns // chunk_span_ns(step_ns) * chunk_span_ns(step_ns)
        rows = self._connection.execute(
            "SELECT chunk_id FROM chunks"
            " WHERE step_ns = ? AND start_ns >= ? AND start_ns < ? AND end_ns > ? ORDER BY start_ns",
            (step_ns, span_start_ns, end_ns, start_ns),
        )
        return [chunk_id for (chunk_id,) in rows]

    def _readable(
        self,
        ids: Sequence[int],
        on_damage: OnDamage,
        *,
        wanted: NDArray[np.int64] | None = None,
    ) -> Iterator[tuple[int, WindowBlock]]:
        for chunk_id in ids:
            try:
                row = self._connection.execute(
                    f"SELECT {_COLUMNS} FROM chunks WHERE chunk_id = ?",  # noqa: S608  # constant
                    (chunk_id,),
                ).fetchone()
                if row is None:
                    continue
                chunk = ChunkRow(**dict(zip(ChunkRow.__slots__, row, strict=True)))
                block = decode_chunk(chunk, self._layout(chunk.layout_id), wanted=wanted)
            except sqlite3.Error as error:
                if failure_of(error) is not Failure.CORRUPT:
                    raise store_error(error, operation="reading a chunk") from error
                on_damage(chunk_id, f"cannot be read: {error}")
            except StoreCorruptError as error:
                on_damage(chunk_id, str(error))
            else:
                yield chunk_id, block

    def _layout(self, layout_id: int) -> Layout:
        layout = self._layouts.get(layout_id)
        if layout is None:
            row = self._connection.execute(
                "SELECT series_count, crc, payload FROM layouts WHERE layout_id = ?", (layout_id,)
            ).fetchone()
            if row is None:
                msg = f"layout {layout_id} is missing"
                raise StoreCorruptError(msg)
            layout = decode_layout(
                layout_id=layout_id, series_count=row[0], crc=row[1], payload=row[2]
            )
            self._remember(layout)
        return layout

    def _layout_id(self, block: WindowBlock) -> int:
        for layout in reversed(self._layouts.values()):
            if np.array_equal(layout.series, block.series) and np.array_equal(
                layout.kind, block.kind
            ):
                return layout.layout_id
        payload = encode_layout(block)
        cursor = self._connection.execute(
            "INSERT INTO layouts (series_count, crc, payload) VALUES (?, ?, ?)",
            (block.series_count, zlib.crc32(payload), payload),
        )
        layout_id = int(cursor.lastrowid or 0)
        self._remember(
            Layout(layout_id=layout_id, series=block.series.copy(), kind=block.kind.copy())
        )
        return layout_id

    def _remember(self, layout: Layout) -> None:
        if len(self._layouts) >= _LAYOUTS_KEPT:
            self._layouts.pop(next(iter(self._layouts)))
        self._layouts[layout.layout_id] = layout

    def _insert(self, block: WindowBlock, codec: Codec) -> None:
        layout_id = self._layout_id(block)
        payload = encode_block(block, codec)
        crc = chunk_crc(
            step_ns=block.step_ns,
            start_ns=block.start_ns,
            end_ns=block.end_ns,
            layout_id=layout_id,
            codec=codec,
            payload=payload,
        )
        self._connection.execute(
            "INSERT INTO chunks (step_ns, start_ns, end_ns, layout_id, codec, crc, payload)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (block.step_ns, block.start_ns, block.end_ns, layout_id, int(codec), crc, payload),
        )

    def _delete(self, ids: Sequence[int]) -> None:
        self._connection.executemany(
            "DELETE FROM chunks WHERE chunk_id = ?", [(chunk_id,) for chunk_id in ids]
        )
