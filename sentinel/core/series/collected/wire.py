"""A closed window on its way to the scorer: bytes that say what they are, and no more of them than a bound.

    window := magic, version, crc of the rest, zlib(JSON)

The JSON is an object with a head (who, which incarnation, which window, what kind of part) and the content by name. Integers are
lists, floats little-endian IEEE 754 in base64, so that none is rounded. What a version does not know is refused, not guessed.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import blake2b
from struct import Struct
from typing import Any

import orjson

from sentinel.core.model import Kind
from sentinel.core.series.collected.body import content_of, plain_content
from sentinel.core.series.collected.content import WindowContent
from sentinel.core.series.counts import SIGNAL_LOGS, SIGNAL_METRICS
from sentinel.errors import InputTooLargeError, MalformedInputError, UnsupportedInputError

MAGIC = b"SNCW"
VERSION = 1
_HEAD = Struct("<4sBxxxI")
_LEVEL = 6
_NAME_CHARS_MAX = 253
_HOUR_NS = 3600 * 10**9


class PartKind(StrEnum):
    """What a part says.

    HELLO: a collector begins with this window; it has nothing yet. WINDOW: what it got to know of the window. LAST: the
    same, and nothing follows, because it was told to stop.
    """

    HELLO = "hello"
    WINDOW = "window"
    LAST = "last"


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """How large a part may be.

    Attributes:
        encoded_max: bytes on the wire.
        decoded_max: bytes of its JSON.
    """

    encoded_max: int = 8 << 20
    decoded_max: int = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CollectedWindow:
    """What one collector says of one window.

    Attributes:
        collector: its name, unique among those of a scorer.
        incarnation: when its process began (Unix nanoseconds); another one is another process under the same name.
        sequence: number of the part within the incarnation, from 0 on.
        kind: see `PartKind`.
        start_ns, step_ns: the window.
        closed_ns: when it was closed, by the collector's clock.
        silence_known: whether silence in it means something; not so where time had jumped.
        content: what is known of it.
    """

    collector: str
    incarnation: int
    sequence: int
    kind: PartKind
    start_ns: int
    step_ns: int
    closed_ns: int
    silence_known: bool = True
    content: WindowContent

    @property
    def end_ns(self) -> int:
        """The end of the window."""
        return self.start_ns + self.step_ns

    @property
    def identity(self) -> str:
        """The same for a part that is sent again, and for no other."""
        return f"{self.collector}.{self.incarnation}.{self.sequence}"

    @property
    def series_counts(self) -> dict[Kind, int]:
        """Series are the scorer's, so there are none."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A part as it is sent.

    Attributes:
        body: the bytes.
        left_out: what a bound left out, by signal; those amounts are said to be unknown.
    """

    body: bytes
    left_out: tuple[str, ...] = ()


def encode(window: CollectedWindow, limits: WireLimits | None = None) -> Encoded:
    """The part as bytes. Beyond a bound lines, then metrics, then log records are left out, and said to be unknown.

    Raises:
        InputTooLargeError: its calls alone are too many.
    """
    limits = limits or WireLimits()
    left_out: list[str] = []
    content = window.content
    plain = b""
    for signal in ("", "lines", SIGNAL_METRICS, SIGNAL_LOGS):
        content = _without(content, signal)
        if signal:
            left_out.append(signal)
        plain = orjson.dumps(_plain(replace(window, content=content)))
        if len(plain) > limits.decoded_max:
            continue
        packed = zlib.compress(plain, _LEVEL)
        body = _HEAD.pack(MAGIC, VERSION, zlib.crc32(packed)) + packed
        if len(body) <= limits.encoded_max:
            return Encoded(body=body, left_out=tuple(left_out))
    msg = f"a window of {window.content.sample_count} samples is larger than a part may be"
    raise InputTooLargeError(msg, size_bytes=len(plain), limit_bytes=limits.decoded_max)


def decode(data: bytes, limits: WireLimits | None = None) -> CollectedWindow:
    """The part behind bytes.

    Raises:
        InputTooLargeError: it is larger than a bound.
        UnsupportedInputError: it is of another version.
        MalformedInputError: it is anything else than a part.
    """
    limits = limits or WireLimits()
    if len(data) > limits.encoded_max:
        msg = f"a part has {limits.encoded_max} bytes at most"
        raise InputTooLargeError(msg, size_bytes=len(data), limit_bytes=limits.encoded_max)
    if len(data) < _HEAD.size or not data.startswith(MAGIC):
        msg = "not a collected window"
        raise MalformedInputError(msg)
    _, version, crc = _HEAD.unpack_from(data)
    if version != VERSION:
        msg = f"a collected window of version {version}; this scorer knows version {VERSION}"
        raise UnsupportedInputError(msg)
    packed = data[_HEAD.size :]
    if zlib.crc32(packed) != crc:
        msg = "a collected window was damaged on its way"
        raise MalformedInputError(msg)
    plain = _inflated(packed, limits.decoded_max)
    try:
        document = orjson.loads(plain)
        return _window_of(document)
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError) as error:
        msg = f"a collected window makes no sense ({type(error).__name__})"
        raise MalformedInputError(msg) from error


def identity_of(body: bytes) -> str:
    """A name for encoded bytes, the same when they are sent again.

    >>> identity_of(b"x") == identity_of(b"x") != identity_of(b"y")
    True
    """
    return blake2b(body, digest_size=16).hexdigest()


def _inflated(packed: bytes, decoded_max: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(packed, decoded_max + 1)
    except zlib.error:
        msg = "a collected window is no zlib stream"
        raise MalformedInputError(msg) from None
    if len(plain) > decoded_max:
        msg = f"a part has {decoded_max} bytes at most once inflated"
        raise InputTooLargeError(msg, size_bytes=len(plain), limit_bytes=decoded_max)
    if not inflater.eof or inflater.unused_data:
        msg = "a collected window is cut off or followed by something"
        raise MalformedInputError(msg)
    return plain


def _plain(window: CollectedWindow) -> dict[str, Any]:
    return {
        "collector": window.collector,
        "incarnation": window.incarnation,
        "sequence": window.sequence,
        "kind": window.kind.value,
        "start_ns": window.start_ns,
        "step_ns": window.step_ns,
        "closed_ns": window.closed_ns,
        "silence_known": window.silence_known,
        "content": plain_content(window.content),
    }


def _window_of(document: dict[str, Any]) -> CollectedWindow:
    name = document["collector"]
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_CHARS_MAX or not name.isprintable():
        msg = "a collector's name is 1 to 253 printable characters"
        raise ValueError(msg)
    numbers = {
        key: _natural(document[key])
        for key in ("incarnation", "sequence", "start_ns", "step_ns", "closed_ns")
    }
    step_ns = numbers["step_ns"]
    if not step_ns or _HOUR_NS % step_ns or numbers["start_ns"] % step_ns:
        msg = "a window begins at a multiple of its width, and an hour is one"
        raise ValueError(msg)
    if not isinstance(document["silence_known"], bool):
        msg = "silence is known or not"
        raise TypeError(msg)
    return CollectedWindow(
        collector=name,
        kind=PartKind(document["kind"]),
        silence_known=document["silence_known"],
        content=content_of(document["content"]),
        **numbers,
    )


def _natural(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        msg = "a number is an integer of 63 bits"
        raise ValueError(msg)
    return value


def _without(content: WindowContent, signal: str) -> WindowContent:
    if signal == "lines":
        return replace(content, lines=())
    if signal == SIGNAL_METRICS:
        return replace(
            content,
            numbers=(),
            distributions=(),
            pages=(),
            shed=content.shed | {SIGNAL_METRICS},
            # What is unknown is what these would have told of.
            pushed=content.pushed
            | {point.scope.service for point in content.numbers}
            | {point.scope.service for point in content.distributions}
            | {service for page in content.pages for service in page.services},
        )
    if signal == SIGNAL_LOGS:
        return replace(content, logs={}, shed=content.shed | {SIGNAL_LOGS})
    return content
