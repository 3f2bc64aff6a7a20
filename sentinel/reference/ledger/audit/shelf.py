"""Checkpoints in the archive, beside the log of the database: written once, and locked for as long as that is.

Whoever holds the database and the log's key can write another history and hide the checkpoints that tell of the true
one. Those that lie in a bucket whose lock nobody can lift still tell it, also when the database is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit.recorder import SETTINGS
from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.domain.audit.merkle import EMPTY_ROOT, Range, fold
from sentinel.reference.ledger.domain.audit.note import (
    MalformedNoteError,
    SignedCheckpoint,
    parse_checkpoint,
)
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.telemetry.audit import ShelfSignals
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import Connection, session, translated

_FOLDER: Final = "checkpoints/"
_ENDING: Final = ".checkpoint"
# Of those that a verification holds against the trail: the first, the last, and some between.
READ_COUNT_MAX: Final = 50
_BACK_OFF_FIRST_S: Final = 2.0
_BACK_OFF_MAX_S: Final = 60.0
_LAST_TIMEOUT_S: Final = 1.5


class Objects(Protocol):
    """The part of an archive that is used here; each call waits for the endpoint.

    All raise UnavailableError when it does not answer and PermanentError when it refuses.
    """

    def put(self, key: str, content: bytes) -> bool:
        """Store an object once; False when the very same is there."""

    def get(self, key: str) -> bytes:
        """Return an object's content as it was stored."""

    def keys(self, below: str) -> list[str]:
        """Return the names that begin so, in order."""


class Shelf:
    """The checkpoints of one log in an archive, one of a size."""

    def __init__(self, objects: Objects, origin: str) -> None:
        self._objects = objects
        # A log's name may hold what a key must not.
        self._below = f"{_FOLDER}{hashlib.sha256(origin.encode()).hexdigest()[:16]}/"

    def put(self, note: SignedCheckpoint) -> bool:
        """Store a checkpoint; False when it is there.

        Raises:
            PermanentError: another of its size is there, which stays.
            UnavailableError: the archive does not answer.
        """
        key = f"{self._below}{note.checkpoint.size:016}{_ENDING}"
        try:
            return self._objects.put(key, str(note).encode())
        except PermanentError as error:
            if error.code != "PreconditionFailed":
                raise
            kept = self._read(key)
            if kept.checkpoint != note.checkpoint:
                raise
            return False  # the same tree, signed at another moment

    def last(self) -> SignedCheckpoint | None:
        """Return the one of the largest size.

        Raises:
            MalformedNoteError: what is there is none.
        """
        keys = self._keys()
        return self._read(keys[-1]) if keys else None

    def some(self, *, size_max: int | None = None) -> tuple[list[SignedCheckpoint], int]:
        """Return a number of them, from the smallest to the largest of at most `size_max`, and the largest size of all.

        Raises:
            MalformedNoteError: what is there is none.
        """
        keys = self._keys()
        largest = _size(keys[-1]) if keys else 0
        if size_max is not None:
            keys = [key for key in keys if _size(key) <= size_max]
        return [self._read(key) for key in _spread(keys, READ_COUNT_MAX)], largest

    def _keys(self) -> list[str]:
        return [key for key in self._objects.keys(self._below) if key.endswith(_ENDING)]

    def _read(self, key: str) -> SignedCheckpoint:
        try:
            return parse_checkpoint(self._objects.get(key).decode())
        except UnicodeDecodeError as error:
            message = f"{key} in the archive is no checkpoint"
            raise MalformedNoteError(message) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ShelvingConfig:
    """How checkpoints get there.

    Attributes:
        postgres: where the trail is.
        witnessed: whether only those go that a witness signed.
        interval_s: between two; the newest stands for those before it.
    """

    postgres: PostgresConfig
    witnessed: bool
    interval_s: float = 60.0


class Shelving:
    """Stores the newest checkpoint whenever there is a newer one, on a session of its own: recording never waits for it."""

    def __init__(self, config: ShelvingConfig, shelf: Shelf, telemetry: Telemetry) -> None:
        self._config = config
        self._shelf = shelf
        self._telemetry = telemetry
        self._signals = ShelfSignals(telemetry)
        self._stored_size: int | None = None
        self._failing = False

    async def run(self, stop: asyncio.Event) -> None:
        """Store until `stop`; what fails is told of and tried again."""
        back_off_s = _BACK_OFF_FIRST_S
        while not stop.is_set():
            pause_s = self._config.interval_s
            if await self._try():
                back_off_s = _BACK_OFF_FIRST_S
            else:
                pause_s = min(back_off_s, max(pause_s, _BACK_OFF_FIRST_S))
                back_off_s = min(2 * back_off_s, _BACK_OFF_MAX_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), timeout=pause_s)

    async def finish(self) -> None:
        """Store the last one, if it can be done in a moment."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._try(), timeout=_LAST_TIMEOUT_S)

    async def _try(self) -> bool:
        try:
            async with session(
                self._config.postgres, application_name="audit-archive", settings=dict(SETTINGS)
            ) as connection:
                with translated():
                    await self._store(connection)
        except (UnavailableError, PermanentError) as error:
            return self._failed(error, error.code or type(error).__name__)
        except LedgerError as error:
            return self._failed(error, type(error).__name__)
        if self._failing:
            self._failing = False
            self._telemetry.info(
                Event.AUDIT_CHECKPOINT_STORED, "Checkpoints are stored in the archive again"
            )
        return True

    def _failed(self, error: LedgerError, reason: str) -> bool:
        self._signals.failed(reason)
        if not self._failing:
            self._telemetry.error(
                Event.AUDIT_CHECKPOINT_UNSTORED,
                f"A checkpoint is not stored in the archive: {error}",
                error_code=reason,
            )
        self._failing = True
        return False

    async def _store(self, connection: Connection) -> None:
        newest = await rows.last_checkpoint(connection, witnessed=self._config.witnessed)
        if newest is None:
            return
        size = newest.checkpoint.size
        self._signals.newest(size)
        if self._stored_size is None:
            kept = await asyncio.to_thread(self._shelf.last)
            if kept is not None:
                await _check_begins_with(connection, kept)
            self._stored_size = 0 if kept is None else kept.checkpoint.size
        if size > self._stored_size:
            fresh = await asyncio.to_thread(self._shelf.put, newest)
            self._stored_size = size
            self._signals.stored(fresh=fresh)
        self._signals.covered(self._stored_size)


async def _check_begins_with(connection: Connection, kept: SignedCheckpoint) -> None:
    """Refuse to lay checkpoints beside those of another trail.

    Raises:
        BrokenLogError: the trail is shorter than the checkpoint in the archive, or another.
    """
    size = kept.checkpoint.size
    last = await rows.last_entry(connection)
    there = 0 if last is None else last.sequence + 1
    if there < size:
        message = f"the archive has a checkpoint of {size} entries, and the trail has {there}: entries were taken from it, or it was restored"
        raise rows.BrokenLogError(message)
    hashes = await rows.read_hashes(connection, Range(0, size).subtrees())
    if (fold(hashes) if size else EMPTY_ROOT) != kept.checkpoint.root:
        message = f"the trail is not what the checkpoint of {size} entries in the archive says; see `audit verify --archive`"
        raise rows.BrokenLogError(message)


def _size(key: str) -> int:
    name = key.rpartition("/")[2].removesuffix(_ENDING)
    return int(name) if name.isascii() and name.isdigit() else 0


def _spread(keys: Sequence[str], count: int) -> list[str]:
    if len(keys) <= count:
        return list(keys)
    return [keys[index * (len(keys) - 1) // (count - 1)] for index in range(count)]
