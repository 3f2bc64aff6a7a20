"""The dead-letter stream, for whoever looks after it: what is on it, back onto the queue, or away."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg
from nats.js.errors import NotFoundError

from sentinel.reference.ledger.domain import PermanentError
from sentinel.reference.ledger.wire.envelope import asked_id, decode_envelope, transfer_subject
from sentinel.reference.ledger.wire.nats.dead import (
    REASON,
    RETRIES,
    STREAM,
    TRUNCATED,
)
from sentinel.reference.ledger.wire.nats.declared import DEAD_STREAM, DEAD_SUBJECTS, STREAMS
from sentinel.reference.ledger.wire.nats.reaching import reaching

_OWN: Final = "ledger-"
_SERVERS_OWN: Final = "nats-"
# What a subject's token may be; somebody may have published by hand what is none.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that was given up.

    Attributes:
        sequence: its place on the dead-letter stream.
        letter_id: the id of its transaction or batch, by its subject.
        reason: the code of what was wrong.
        tenant: who asked, "" when it cannot be read.
        stream: where it had waited.
        given_up_at: when it was put here.
        retries_count: how often it had been sent again before.
        bytes_count: how large it is here.
        is_whole: whether all of it is here.
        subject: where it would be sent again to, "" when that cannot be said.
    """

    sequence: int
    letter_id: str
    reason: str
    tenant: str
    stream: str
    given_up_at: datetime
    retries_count: int
    bytes_count: int
    is_whole: bool
    subject: str


class Letters:
    """The dead-letter stream over an operator's connection. Everything raises UnavailableError when the server does not answer."""

    def __init__(self, stream: JetStreamContext) -> None:
        self._js = stream

    async def count(self) -> int:
        """Return how many there are."""
        with reaching("the dead-letter stream's state is not known"):
            return int((await self._js.stream_info(DEAD_STREAM)).state.messages)

    async def all(self) -> AsyncIterator[DeadLetter]:
        """Yield those that are there now, the oldest first; what is given up meanwhile is not among them."""
        with reaching("the dead-letter stream's state is not known"):
            last = (await self._js.stream_info(DEAD_STREAM)).state.last_seq
        sequence = 1
        while sequence <= last:
            with reaching("the dead-letter stream cannot be read"):
                try:
                    found = await self._js.get_msg(
                        DEAD_STREAM, seq=sequence, subject=DEAD_SUBJECTS, next=True
                    )
                except NotFoundError:
                    return
            letter = _letter(found)
            if letter.sequence > last:
                return
            yield letter
            sequence = letter.sequence + 1

    async def send_again(self, letter: DeadLetter) -> None:
        """Put a letter back onto its queue, and then take it away here.

        Whoever is killed in between leaves it in both places. It may be sent again from here any number of times: what it asks
        for is done once.
        """
        with reaching("the message could not be sent again"):
            found = await self._js.get_msg(DEAD_STREAM, seq=letter.sequence)
            headers = {
                name: value
                for name, value in (found.headers or {}).items()
                if not name.lower().startswith((_OWN, _SERVERS_OWN))
            }
            await self._js.publish(
                letter.subject,
                found.data or b"",
                headers={
                    **headers,
                    RETRIES: str(letter.retries_count + 1),
                    # The one it came with first would be recognised, and not stored.
                    "Nats-Msg-Id": f"retry:{letter.sequence}:{letter.given_up_at.timestamp():.6f}",
                },
            )
        await self.take_away(letter)

    async def take_away(self, letter: DeadLetter) -> None:
        """Take a letter off the stream for good."""
        with reaching("the message could not be taken away"):
            try:
                await self._js.delete_msg(DEAD_STREAM, letter.sequence)
            except NotFoundError:
                return  # somebody else has


def _letter(found: RawStreamMsg) -> DeadLetter:
    headers = found.headers or {}
    payload = found.data or b""
    letter_id = (found.subject or "").rpartition(".")[2]
    stream = headers.get(STREAM, "")
    retries = headers.get(RETRIES, "")
    assert found.time is not None, "a stored message has its time"
    return DeadLetter(
        sequence=int(found.seq or 0),
        letter_id=letter_id,
        reason=headers.get(REASON, ""),
        tenant=_tenant(payload),
        stream=stream,
        given_up_at=found.time,
        retries_count=int(retries) if retries.isascii() and retries.isdigit() else 0,
        bytes_count=len(payload),
        is_whole=TRUNCATED not in headers,
        subject=_subject(payload, stream, letter_id),
    )


def _subject(payload: bytes, stream: str, letter_id: str) -> str:
    """Return where it belongs: on its tenant's queue, and if it cannot be read where it came from."""
    try:
        envelope = decode_envelope(payload)
    except PermanentError:
        if stream not in STREAMS or not _ID.fullmatch(letter_id):
            return ""
        return f"ledger.c{STREAMS.index(stream)}.transfers.{letter_id}"
    return transfer_subject(cohort=envelope.cohort, asked_id=asked_id(envelope.asked))


def _tenant(payload: bytes) -> str:
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return ""
    tenant = document.get("tenant") if isinstance(document, dict) else None
    return tenant[:64] if isinstance(tenant, str) and tenant.isprintable() else ""
