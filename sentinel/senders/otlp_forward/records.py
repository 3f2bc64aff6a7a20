r"""How a payload lies in a file of the queue, and how records are found again in a damaged one.

    record := header body          header := magic, body length, item count, crc of body, encoding, crc of the header so far

Both checksums are CRC-32, as zlib gives it. A header that is right says where its body ends, whatever the body holds; where
one is not, the next right one is looked for, so that damage costs the records it lies in and no other.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from struct import Struct

from sentinel.runtime.otlp_reply import OtlpEncoding

MAGIC = b"SFQ1"
_FIELDS = Struct("<4sIIIB3x")
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
        body: an export request.
    """

    encoding: OtlpEncoding
    item_count: int
    body: bytes

    @property
    def size_bytes(self) -> int:
        """What it takes in a file."""
        return HEADER_BYTES + len(self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a record says of itself."""

    encoding: OtlpEncoding
    item_count: int
    body_bytes: int
    body_crc: int

    @property
    def size_bytes(self) -> int:
        """What header and body take in a file."""
        return HEADER_BYTES + self.body_bytes


def encode(record: Record) -> bytes:
    """The record as it is written."""
    fields = _FIELDS.pack(
        MAGIC,
        len(record.body),
        record.item_count,
        zlib.crc32(record.body),
        _ENCODINGS.index(record.encoding),
    )
    return fields + _CRC.pack(zlib.crc32(fields)) + record.body


def header_of(raw: bytes) -> Header | None:
    """The header that these bytes begin with, or None when they do not begin with a right one."""
    if len(raw) < HEADER_BYTES or not raw.startswith(MAGIC):
        return None
    fields = raw[: _FIELDS.size]
    (crc,) = _CRC.unpack_from(raw, _FIELDS.size)
    _, body_bytes, item_count, body_crc, encoding = _FIELDS.unpack(fields)
    if crc != zlib.crc32(fields) or encoding >= len(_ENCODINGS) or body_bytes > BODY_BYTES_MAX:
        return None
    return Header(
        encoding=_ENCODINGS[encoding],
        item_count=item_count,
        body_bytes=body_bytes,
        body_crc=body_crc,
    )


def record_of(header: Header, body: bytes) -> Record | None:
    """The record, or None when its body is not what was written."""
    if len(body) != header.body_bytes or zlib.crc32(body) != header.body_crc:
        return None
    return Record(encoding=header.encoding, item_count=header.item_count, body=body)
