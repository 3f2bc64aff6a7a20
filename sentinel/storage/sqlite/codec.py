"""Blocks as bytes: exact to the bit, compressed once they are no longer the newest.

RAW is the columns one after the other, for the newest windows: writing must be cheap. PACKED lays each
series' values side by side in time and the bytes of equal weight together (a shuffle), then compresses;
of the transforms tried (plain, differences, exclusive or) it was the smallest on counts, shares and
latencies together.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import zstandard
from numpy.typing import NDArray

from sentinel.core.model import WindowBlock
from sentinel.errors import StoreCorruptError
from sentinel.storage.windows import CHUNK_WINDOW_COUNT

_LEVEL = 3
_HEADER = struct.Struct("<qqqqq")


class Codec(IntEnum):
    """How a chunk's payload is written."""

    RAW = 0
    PACKED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The series of a block's columns, and their kinds."""

    layout_id: int
    series: NDArray[np.int64]
    kind: NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRow:
    """One row of the table of chunks."""

    chunk_id: int
    step_ns: int
    start_ns: int
    end_ns: int
    layout_id: int
    codec: int
    crc: int
    payload: bytes


def encode_block(block: WindowBlock, codec: Codec) -> bytes:
    """The block's columns as bytes."""
    heard = np.packbits(block.heard, axis=None).tobytes()
    if codec is Codec.RAW:
        return (
            np.ascontiguousarray(block.value, dtype="<f4").tobytes()
            + np.ascontiguousarray(block.weight, dtype="<f4").tobytes()
            + heard
        )
    columns = _shuffled(block.value) + _shuffled(block.weight) + heard
    return zstandard.ZstdCompressor(level=_LEVEL).compress(columns)


def chunk_crc(
    *, step_ns: int, start_ns: int, end_ns: int, layout_id: int, codec: int, payload: bytes
) -> int:
    """Checksum over a chunk's payload and over everything that says what it is."""
    header = _HEADER.pack(step_ns, start_ns, end_ns, layout_id, codec)
    return zlib.crc32(payload, zlib.crc32(header))


def decode_chunk(
    row: ChunkRow, layout: Layout, *, wanted: NDArray[np.int64] | None = None
) -> WindowBlock:
    """The block of a row: of all its series, or of those wanted that it has (ascending), which may be none.

    Raises:
        StoreCorruptError: the bytes do not match their checksum or cannot be what they say.
    """
    try:
        crc = chunk_crc(
            step_ns=row.step_ns,
            start_ns=row.start_ns,
            end_ns=row.end_ns,
            layout_id=row.layout_id,
            codec=row.codec,
            payload=row.payload,
        )
    except (struct.error, TypeError) as error:  # a damaged row can hold any type
        msg = f"chunk {row.chunk_id} has fields of the wrong type"
        raise StoreCorruptError(msg) from error
    if crc != row.crc:
        msg = f"chunk {row.chunk_id} does not match its checksum"
        raise StoreCorruptError(msg)
    count = (row.end_ns - row.start_ns) // row.step_ns
    width = layout.series.size
    cells = count * width
    size_bytes = 8 * cells + (cells + 7) // 8
    if not 0 < count <= CHUNK_WINDOW_COUNT:
        msg = f"chunk {row.chunk_id} says it holds {count} windows"
        raise StoreCorruptError(msg)
    columns = row.payload
    if row.codec == Codec.PACKED:
        columns = _decompressed(row.payload, size_bytes=size_bytes, what=f"chunk {row.chunk_id}")
    if len(columns) != size_bytes:
        msg = f"chunk {row.chunk_id} has {len(columns)} bytes, not {size_bytes}"
        raise StoreCorruptError(msg)
    value, weight = columns[: 4 * cells], columns[4 * cells : 8 * cells]
    shape = (count, width)
    # Chosen before the bytes are put in order, because that is most of the work and a chunk holds every series.
    chosen = None if wanted is None else _places(layout.series, wanted)
    here: NDArray[np.intp] | slice = slice(None) if chosen is None else chosen
    bits = np.frombuffer(columns, dtype=np.uint8, offset=8 * cells)
    return WindowBlock(
        start_ns=row.start_ns,
        step_ns=row.step_ns,
        series=layout.series[here],
        kind=layout.kind[here],
        value=_floats(value, shape, row.codec, here),
        weight=_floats(weight, shape, row.codec, here),
        heard=np.unpackbits(bits, count=cells).view(np.bool_).reshape(shape)[:, here],
    )


def _places(series: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.intp] | None:
    """Where those of `wanted` that are among `series` lie, both ascending; None when that is everywhere."""
    place = np.minimum(np.searchsorted(series, wanted), len(series) - 1)
    found = place[series[place] == wanted] if len(series) else place[:0]
    return None if len(found) == len(series) else found


def encode_layout(block: WindowBlock) -> bytes:
    """The block's series and kinds; ids ascend, so their differences compress to almost nothing."""
    steps = np.diff(block.series, prepend=np.int64(0)).astype("<i8")
    plain = steps.tobytes() + block.kind.astype(np.int8).tobytes()
    return zstandard.ZstdCompressor(level=_LEVEL).compress(plain)


def decode_layout(*, layout_id: int, series_count: int, crc: int, payload: object) -> Layout:
    """The layout of a row.

    Raises:
        StoreCorruptError: the bytes do not match their checksum.
    """
    if not isinstance(payload, bytes) or zlib.crc32(payload) != crc:
        msg = f"layout {layout_id} does not match its checksum"
        raise StoreCorruptError(msg)
    plain = _decompressed(payload, size_bytes=9 * series_count, what=f"layout {layout_id}")
    steps = np.frombuffer(plain, dtype="<i8", count=series_count)
    return Layout(
        layout_id=layout_id,
        series=np.cumsum(steps, dtype=np.int64),
        kind=np.frombuffer(plain, dtype=np.int8, offset=8 * series_count),
    )


def _shuffled(column: NDArray[np.float32]) -> bytes:
    by_series = np.ascontiguousarray(column.T, dtype="<f4")
    return np.ascontiguousarray(by_series.view(np.uint8).reshape(-1, 4).T).tobytes()


def _floats(
    column: bytes, shape: tuple[int, int], codec: int, here: NDArray[np.intp] | slice
) -> NDArray[np.float32]:
    """The columns `here` of (count, width) numbers."""
    if codec != Codec.PACKED:
        return np.frombuffer(column, dtype="<f4").reshape(shape)[:, here]
    planes = np.frombuffer(column, dtype=np.uint8).reshape(4, shape[1], shape[0])[:, here]
    by_series = np.ascontiguousarray(planes.transpose(1, 2, 0)).view("<f4")[:, :, 0]
    return np.ascontiguousarray(by_series.T)


def _decompressed(payload: bytes, *, size_bytes: int, what: str) -> bytes:
    try:
        plain = zstandard.ZstdDecompressor().decompress(payload, max_output_size=size_bytes)
    except zstandard.ZstdError as error:
        msg = f"{what} cannot be decompressed"
        raise StoreCorruptError(msg) from error
    if len(plain) != size_bytes:
        msg = f"{what} has {len(plain)} bytes, not {size_bytes}"
        raise StoreCorruptError(msg)
    return plain
