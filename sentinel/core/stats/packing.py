"""Arrays as bytes and back, without executing anything that the bytes say.

Layout: a magic word, the length of a JSON header, the CRC-32 of everything after it, the header, the
arrays one after the other in little-endian order. The header lists name, type and shape of each, and ends
in as many spaces as put the first array, and what is packed inside it, at a multiple of 64 bytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"SNTA"
_PREFIX = struct.Struct("<4sII")
_ALIGN_BYTES = 64
_TYPES = {"f4", "f8", "i1", "i2", "i4", "i8", "b1"}

Packed: TypeAlias = NDArray[np.generic] | list[bytes | memoryview]
"""An array; or bytes in pieces, such as what is packed inside, which are unpacked as one array of `i1`."""


def pack_arrays(arrays: Mapping[str, Packed], facts: Mapping[str, int | float | str]) -> bytes:
    """Arrays and a few facts beside them as bytes; the same input gives the same bytes."""
    return b"".join(packed_pieces(arrays, facts))


def packed_pieces(
    arrays: Mapping[str, Packed], facts: Mapping[str, int | float | str]
) -> list[bytes | memoryview]:
    """The bytes of `pack_arrays` in pieces that look into the arrays, so that joining is the only copy.

    The arrays must stay as they are until the pieces are joined.
    """
    listed: list[list[object]] = []
    bodies: list[bytes | memoryview] = []
    for name, array in arrays.items():
        if isinstance(array, list):
            listed.append([name, "i1", [sum(len(piece) for piece in array)]])
            bodies.extend(array)
            continue
        code = array.dtype.str.lstrip("<|=")
        if code not in _TYPES:
            msg = f"array {name} has type {array.dtype}, which is not packed"
            raise ValueError(msg)
        listed.append([name, code, list(array.shape)])
        if array.size:
            little = np.ascontiguousarray(array).astype(f"<{code}", copy=False)
            bodies.append(little.reshape(-1).view(np.uint8).data)
    header = {"facts": dict(facts), "arrays": listed}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-(_PREFIX.size + len(head)) % _ALIGN_BYTES)
    checksum = zlib.crc32(head)
    for body in bodies:
        checksum = zlib.crc32(body, checksum)
    return [_PREFIX.pack(_MAGIC, len(head), checksum), head, *bodies]


def unpack_arrays(
    data: bytes | bytearray | memoryview,
) -> tuple[dict[str, NDArray[np.generic]], dict[str, int | float | str]]:
    """What `pack_arrays` was given; ValueError when the bytes are not what it wrote.

    The arrays look into `data`, keep it alive and cannot be written to: who keeps or changes one copies it.
    """
    if len(data) < _PREFIX.size:
        msg = f"{len(data)} bytes are too few for packed arrays"
        raise ValueError(msg)
    whole = memoryview(data).toreadonly()
    magic, head_bytes, checksum = _PREFIX.unpack_from(whole)
    body = whole[_PREFIX.size :]
    if magic != _MAGIC:
        msg = "these are not packed arrays"
        raise ValueError(msg)
    if zlib.crc32(body) != checksum or head_bytes > len(body):
        msg = "packed arrays do not match their checksum"
        raise ValueError(msg)
    header = json.loads(bytes(body[:head_bytes]))
    arrays: dict[str, NDArray[np.generic]] = {}
    at = head_bytes
    for name, code, shape in header["arrays"]:
        if code not in _TYPES:
            msg = f"array {name} has the unknown type {code}"
            raise ValueError(msg)
        dtype = np.dtype(f"<{code}")
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if at + size > len(body):
            msg = f"array {name} is cut short"
            raise ValueError(msg)
        arrays[name] = np.frombuffer(body[at : at + size], dtype=dtype).reshape(shape)
        at += size
    if at != len(body):
        msg = f"{len(body) - at} bytes follow the packed arrays"
        raise ValueError(msg)
    return arrays, dict(header["facts"])
