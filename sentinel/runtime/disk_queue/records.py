r"""How a payload lies in a file of the queue, and how records are found again in a damaged one.

    record := header body marks    header := magic, body length, item count, crc of body and marks, encoding, number of marks,
                                             crc of the header so far

A record without a body only says what was taken before it (`marks.py`). Both checksums are CRC-32, as zlib gives it. A header that is right says where its body ends, whatever the body holds; where
one is not, the next right one is looked for, so that damage costs the records it lies in and no other.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from struct import Struct

from sentinel.runtime.disk_queue.marks import MARK_BYTES, decode_marks, encode_marks
from sentinel.runtime.otlp_reply import OtlpEncoding
from sentinel.runtime.receipt import Offered

MAGIC = b"SFQ1"
_FIELDS = Struct("<4sIIIBxH")
_CRC = Struct("<I")
HEADER_BYTES = _FIELDS.size + _CRC.size
BODY_BYTES_MAX = 1 << 28

_ENCODINGS = (OtlpEncoding.PROTOBUF, OtlpEncoding.JSON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One payload that waits.

    Attributes:
        encoding: how `body` is written.
        item_count: spans, points or records in it.
        body: an export request, or b"" when only the marks are said.
        marks: how far it reaches in what it was read from.
        offered: by what is told who took it; only while the process lives that it was offered to.
    """

    encoding: OtlpEncoding
    item_count: int
    body: bytes
    marks: Mapping[bytes, int] = field(default_factory=dict)
    offered: tuple[Offered, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What it takes in a file."""
        return HEADER_BYTES + len(self.body) + MARK_BYTES * len(self.marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a record says of itself."""

    encoding: OtlpEncoding
    item_count: int
    body_bytes: int
    marks_count: int
    crc: int

    @property
    def rest_bytes(self) -> int:
        """What follows it: body and marks."""
        return self.body_bytes + MARK_BYTES * self.marks_count

    @property
    def size_bytes(self) -> int:
        """What header, body and marks take in a file."""
        return HEADER_BYTES + self.rest_bytes


def encode(record: Record) -> bytes:
    """The record as it is written."""
    marks = encode_marks(record.marks)
    fields = _FIELDS.pack(
        MAGIC,
        len(record.body),
        record.item_count,
        zlib.crc32(marks, zlib.crc32(record.body)),
        _ENCODINGS.index(record.encoding),
        len(record.marks),
    )
    return b"".join((fields, _CRC.pack(zlib.crc32(fields)), record.body, marks))


def header_of(raw: bytes) -> Header | None:
    """The header that these bytes begin with, or None when they do not begin with a right one."""
    if len(raw) < HEADER_BYTES or not raw.startswith(MAGIC):
        return None
    fields = raw[: _FIELDS.size]
    (crc,) = _CRC.unpack_from(raw, _FIELDS.size)
    _, body_bytes, item_count, rest_crc, encoding, marks_count = _FIELDS.unpack(fields)
    if crc != zlib.crc32(fields) or encoding >= len(_ENCODINGS) or body_bytes > BODY_BYTES_MAX:
        return None
    return Header(
        encoding=_ENCODINGS[encoding],
        item_count=item_count,
        body_bytes=body_bytes,
        marks_count=marks_count,
        crc=rest_crc,
    )


def record_of(header: Header, rest: bytes) -> Record | None:
    """The record, or None when what follows its header is not what was written."""
    if len(rest) != header.rest_bytes or zlib.crc32(rest) != header.crc:
        return None
    body, marks = rest, {}
    if header.marks_count:
        body, marks = rest[: header.body_bytes], decode_marks(rest[header.body_bytes :])
    return Record(encoding=header.encoding, item_count=header.item_count, body=body, marks=marks)
