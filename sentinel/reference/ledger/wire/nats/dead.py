"""A message that was given up, as it is kept on the dead-letter stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from nats.aio.msg import Msg

REASON: Final = "Ledger-Reason"
STREAM: Final = "Ledger-Stream"
SEQUENCE: Final = "Ledger-Sequence"
# Of a payload that is not kept whole: how long it was. It cannot be sent again.
TRUNCATED: Final = "Ledger-Truncated"
# How often it was sent again after it had been given up.
RETRIES: Final = "Ledger-Retries"
# The server's own words would have their effect a second time, on another stream.
_SERVERS_OWN: Final = "nats-"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadCopy:
    """What is published in a dead message's place."""

    payload: bytes
    headers: dict[str, str]


def dead_copy(message: Msg, *, reason: str, bytes_max: int) -> DeadCopy:
    """Return the copy to keep, which with its headers has at most `bytes_max`.

    A payload for which there is no room beside them is cut, and the copy says so: without it the message could never be given up.
    """
    own = {
        name: value
        for name, value in (message.headers or {}).items()
        if not name.lower().startswith(_SERVERS_OWN)
    }
    told = {
        REASON: reason,
        STREAM: message.metadata.stream,
        SEQUENCE: str(message.metadata.sequence.stream),
    }
    headers = {**own, **told}
    if headers_size(headers) + len(message.data) <= bytes_max:
        return DeadCopy(payload=message.data, headers=headers)
    headers = {**told, TRUNCATED: str(len(message.data))}
    return DeadCopy(payload=message.data[: bytes_max - headers_size(headers)], headers=headers)


def headers_size(headers: Mapping[str, str]) -> int:
    """Return how many bytes the headers take on the wire: a first line, a line each, an empty one."""
    if not headers:
        return 0
    lines = (len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())
    return len(b"NATS/1.0\r\n") + sum(lines) + 2
