"""Reading a request's body within bounds: bytes on the wire, bytes after inflation, ratio, and time.

A gzip member can hold a thousand times its size, members can follow one another, and encodings can be
stacked; so one budget runs over all members, and only one layer of gzip is spoken.
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass

from aiohttp import web

from sentinel.errors import (
    InputTooLargeError,
    MalformedInputError,
    RetryableError,
    UnsupportedInputError,
)
from sentinel.runtime.settings import ByteSize, Duration, setting

_RATIO_FREE_BYTES = 64 * 1024
_INFLATE_STEP_BYTES = 256 * 1024
_MEMBER_COUNT_MAX = (
    64  # what follows a member is copied for each, so many tiny ones would cost a square
)


class SlowInputError(RetryableError):
    """The sender is slower than the least rate; its connection is closed. On another one it may be quicker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimitsConfig:
    """How large a body may be, and how slow."""

    compressed_max: ByteSize = setting(
        ByteSize(4 * 2**20), help="Largest body as it comes over the wire."
    )
    inflated_max: ByteSize = setting(ByteSize(4 * 2**20), help="Largest body after decompression.")
    ratio_max: int = setting(
        200, help="Largest ratio of inflated to compressed size, once 64 KiB are inflated."
    )
    rate_min: ByteSize = setting(
        ByteSize(1024), help="Least bytes a second that a body must come in with."
    )
    grace: Duration = setting(
        Duration(5.0), help="How long a body may be slower than its least rate."
    )
    timeout: Duration = setting(Duration(30.0), help="Longest time for a whole body.")

    def __post_init__(self) -> None:
        for name in (
            "compressed_max",
            "inflated_max",
            "ratio_max",
            "rate_min",
            "grace",
            "timeout",
        ):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above 0"
                raise ValueError(msg)


def body_is_gzip(encodings: list[str]) -> bool:
    """Whether the `Content-Encoding` values mean gzip; UnsupportedInputError for others and for stacks."""
    names = [name.strip().lower() for value in encodings for name in value.split(",")]
    names = [name for name in names if name not in {"", "identity"}]
    if not names:
        return False
    if names != ["gzip"]:
        msg = f"content encoding {', '.join(names)[:60]!r} is not spoken here, only identity and one gzip"
        raise UnsupportedInputError(msg)
    return True


def refuse_declared_size(request: web.BaseRequest, limits: BodyLimitsConfig) -> None:
    """InputTooLargeError when the sender says beforehand that its body is over the limit."""
    _refuse_over(request.content_length or 0, limits)


async def read_body(request: web.BaseRequest, limits: BodyLimitsConfig) -> bytes:
    """The body as it came over the wire.

    Raises:
        InputTooLargeError: over the limit; nothing more is read.
        SlowInputError: slower than the least rate, or longer than the whole time.
    """
    if request.content.is_eof():
        # It came together with the head, as most do; what is buffered is less than the limit of a read.
        body = request.content.read_nowait()
        _refuse_over(len(body), limits)
        return body
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    chunks: list[bytes] = []
    size_bytes = 0
    try:
        async with asyncio.timeout(None) as timer:
            while not request.content.at_eof():
                allowed_s = min(limits.timeout, limits.grace + size_bytes / limits.rate_min)
                timer.reschedule(started_s + allowed_s)
                chunk = await request.content.readany()
                size_bytes += len(chunk)
                _refuse_over(size_bytes, limits)
                chunks.append(chunk)
    except TimeoutError:
        msg = f"body came too slowly: {size_bytes} bytes in {loop.time() - started_s:.1f} s"
        raise SlowInputError(msg) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _refuse_over(size_bytes: int, limits: BodyLimitsConfig) -> None:
    if size_bytes > limits.compressed_max:
        msg = "body is too large"
        raise InputTooLargeError(msg, size_bytes=size_bytes, limit_bytes=limits.compressed_max)


def inflate(body: bytes, limits: BodyLimitsConfig) -> bytes:
    """A gzip body's content, all members of it.

    Raises:
        InputTooLargeError: more than the budget, or a ratio that only a bomb has.
        MalformedInputError: not gzip, cut off, or followed by something else.
    """
    ratio_bytes = max(_RATIO_FREE_BYTES, limits.ratio_max * len(body))
    budget = min(limits.inflated_max, ratio_bytes)
    chunks: list[bytes] = []
    size_bytes = 0
    rest = body
    for _ in range(_MEMBER_COUNT_MAX):
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            try:
                chunk = member.decompress(rest, _INFLATE_STEP_BYTES)
            except zlib.error as error:
                msg = f"body is not valid gzip: {error}"
                raise MalformedInputError(msg) from None
            rest = member.unconsumed_tail
            size_bytes += len(chunk)
            if size_bytes > budget:
                msg = "inflated body is too large"
                raise InputTooLargeError(msg, size_bytes=size_bytes, limit_bytes=budget)
            # Output may still be pending when all input is consumed; only silence means the end.
            if not chunk and not rest and not member.eof:
                msg = "gzip body is cut off"
                raise MalformedInputError(msg)
            chunks.append(chunk)
        rest = member.unused_data.lstrip(b"\0")  # RFC 1952 allows padding with zeros
        if not rest:
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    msg = f"gzip body has more than {_MEMBER_COUNT_MAX} members"
    raise MalformedInputError(msg)
