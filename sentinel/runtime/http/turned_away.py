"""Connections over the limit of a listener: each is told to come again, and let go of.

Closed without a word they would be errors to senders, some of which drop what they hold. The answer is the same bytes for all:
nothing is parsed, nobody's token is looked at. It is written once the first bytes of a request have come, because clients take
one that comes before for no answer of theirs, and what is still sent is read over for a moment, because closing on unread bytes
resets the connection, and the answer with it. Over TLS it is the same behind the handshake, without the end of our half.
"""

from __future__ import annotations

import asyncio

_LINGER_S = 2.0
"""How long one may take to ask, to read its answer and to close."""
_LINGERING_COUNT_MAX = 64
"""They take descriptors as others do; a flood of more is closed untold."""
_RETRY_AFTER_S = 1
# Without a body: whether one would have to be protobuf, JSON or a page is in a head that nobody reads.
_ANSWER = (
    "HTTP/1.1 503 Service Unavailable\r\n"
    f"Retry-After: {_RETRY_AFTER_S}\r\n"
    "Cache-Control: no-store\r\n"
    "Content-Length: 0\r\n"
    "Connection: close\r\n\r\n"
).encode()


class TurnedAway:
    """The connections of one listener that are being turned away."""

    def __init__(self) -> None:
        self._lingering: set[_Lingering] = set()

    def take(self, transport: asyncio.Transport) -> bool:
        """Turn one away; False when too many linger, and it was closed untold.

        The transport is given another protocol; the one that it had is told nothing more, unless this is False.
        """
        if len(self._lingering) >= _LINGERING_COUNT_MAX:
            transport.abort()
            return False
        lingering = _Lingering(transport, self._lingering)
        self._lingering.add(lingering)
        transport.set_protocol(lingering)
        return True

    def close(self) -> None:
        """Let go of all; idempotent."""
        for lingering in tuple(self._lingering):
            lingering.abort()


class _Lingering(asyncio.Protocol):
    """One of them, until its caller closes or its time is over."""

    def __init__(self, transport: asyncio.Transport, others: set[_Lingering]) -> None:
        self._transport = transport
        self._others = others
        self._is_told = False
        self._timer = asyncio.get_running_loop().call_later(_LINGER_S, transport.abort)

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:  # noqa: ARG002  # read over
        if self._is_told:
            return
        self._is_told = True
        self._transport.write(_ANSWER)
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # whichever way
        self._timer.cancel()
        self._others.discard(self)
