"""Parts are read where they come in, and beside the loop where that would hold it up."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sentinel.core.series.collected import CollectedWindow, WireLimits, decode
from sentinel.errors import InputTooLargeError

_THREAD_BYTES = 24 * 1024
"""A part of this size takes some 10 ms to read; what is larger must not hold the loop up."""
_THREAD_LIMITS = WireLimits(decoded_max=32 * _THREAD_BYTES)
"""Nor must a small one that becomes large once it is inflated."""


class PartReading:
    """Reads parts, of the large ones one at a time."""

    def __init__(self) -> None:
        self._beside = asyncio.Lock()

    async def part(self, body: bytes) -> CollectedWindow:
        """The part behind these bytes.

        Raises:
            InputError: there is none.
        """
        if len(body) <= _THREAD_BYTES:
            with suppress(InputTooLargeError):
                return decode(body, _THREAD_LIMITS)
        # One at a time: read, a part may take a hundred times its bytes, and together they are no faster.
        async with self._beside:
            return await asyncio.to_thread(decode, body)
