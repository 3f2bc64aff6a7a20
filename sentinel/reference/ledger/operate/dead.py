"""What is done with messages that were given up: they are listed, sent again, or dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.nats import DeadLetter, Letters, operator


class Done(StrEnum):
    """What became of a letter, or of an id that was named."""

    SENT = "sent_again"
    DROPPED = "dropped"
    NOT_WHOLE = "not_whole"
    NO_QUEUE = "no_queue"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line of what was done; `sequence` is 0 for an id of which there is no letter."""

    done: Done
    id: str
    sequence: int = 0
    reason: str = ""
    tenant: str = ""

    @property
    def is_done(self) -> bool:
        """Whether it is what was asked for."""
        return self.done in (Done.SENT, Done.DROPPED)

    def document(self) -> dict[str, object]:
        """Return it as it is printed."""
        return {
            "event": f"dead_{self.done.value}",
            **{k: v for k, v in asdict(self).items() if k != "done"},
        }


async def list_dead(config: NatsConfig, *, count_max: int) -> tuple[list[dict[str, object]], int]:
    """Return the oldest letters, at most `count_max`, and how many there are.

    Raises:
        UnavailableError: the server did not answer.
    """
    found: list[dict[str, object]] = []
    async with _letters(config) as letters:
        count = await letters.count()
        async for letter in letters.all():
            if len(found) == count_max:
                break
            found.append(_described(letter, datetime.now(UTC)))
    return found, max(count, len(found))


async def retry_dead(config: NatsConfig, ids: Collection[str]) -> AsyncIterator[Told]:
    """Send the letters of these ids again, or all when none is named; yields what became of each.

    Raises:
        UnavailableError: the server did not answer, or the queue is full. What was not told of was left.
    """
    async with _letters(config) as letters:
        async for letter, told in _chosen(letters, ids):
            if letter is None:
                yield told
            elif not letter.is_whole:
                yield _told(letter, Done.NOT_WHOLE)
            elif not letter.subject:
                yield _told(letter, Done.NO_QUEUE)
            else:
                await letters.send_again(letter)
                yield _told(letter, Done.SENT)


async def drop_dead(config: NatsConfig, ids: Collection[str]) -> AsyncIterator[Told]:
    """Take the letters of these ids away for good, or all when none is named; yields what became of each.

    Raises:
        UnavailableError: the server did not answer. What was not told of was left.
    """
    async with _letters(config) as letters:
        async for letter, told in _chosen(letters, ids):
            if letter is None:
                yield told
            else:
                await letters.take_away(letter)
                yield _told(letter, Done.DROPPED)


async def _chosen(
    letters: Letters, ids: Collection[str]
) -> AsyncIterator[tuple[DeadLetter | None, Told]]:
    """Yield what was chosen, and at the end those ids of which there is nothing."""
    missing = dict.fromkeys(ids)
    async for letter in letters.all():
        if not ids or letter.letter_id in ids:
            missing.pop(letter.letter_id, None)
            yield letter, _told(letter, Done.UNKNOWN)
    for one in missing:
        yield None, Told(done=Done.UNKNOWN, id=one)


def _told(letter: DeadLetter, done: Done) -> Told:
    return Told(
        done=done,
        id=letter.letter_id,
        sequence=letter.sequence,
        reason=letter.reason,
        tenant=letter.tenant,
    )


def _described(letter: DeadLetter, now: datetime) -> dict[str, object]:
    return {
        "id": letter.letter_id,
        "sequence": letter.sequence,
        "reason": letter.reason,
        "tenant": letter.tenant,
        "stream": letter.stream,
        "given_up_at": letter.given_up_at.isoformat(),
        "age_s": round(max((now - letter.given_up_at).total_seconds(), 0.0), 1),
        "retries_count": letter.retries_count,
        "bytes_count": letter.bytes_count,
        "is_whole": letter.is_whole,
    }


@asynccontextmanager
async def _letters(config: NatsConfig) -> AsyncIterator[Letters]:
    async with operator(config, name="ledger-dead") as (_, stream):
        yield Letters(stream)
