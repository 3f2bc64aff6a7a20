"""Checkpoints of the trail as it grows: signed by the log, brought to the witness, kept in the database.

A witness that is away costs its signature and nothing else: the next checkpoint that it signs covers
all before. One that refuses is told of, for it says that this is not the log it has seen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import aiohttp

from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit.keys import Signer, check_signature
from sentinel.reference.ledger.audit.witness import Asked, write_request
from sentinel.reference.ledger.domain import LedgerError, UnavailableError, UnreadableError
from sentinel.reference.ledger.domain.audit.merkle import Tree, consistency_parts, hashes_of
from sentinel.reference.ledger.domain.audit.note import (
    Checkpoint,
    MalformedNoteError,
    PublicKey,
    SignedCheckpoint,
    parse_signatures,
    signatures_of,
)
from sentinel.reference.ledger.wire.postgres import Connection

_ANSWER_BYTES_MAX: Final = 16 * 1024
_WITNESS_TIMEOUT_S: Final = 3.0


class WitnessRefusedError(LedgerError):
    """The witness answered and did not sign; `reason` is fit to be a metric's label."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointConfig:
    """When a checkpoint is made: so long or so many entries after the last, if there are new ones."""

    interval_s: float = 10.0
    entries_count: int = 20_000


class WitnessClient:
    """Asks one witness, wherever it is by then."""

    def __init__(
        self, address: Callable[[], str], key: PublicKey, *, http: aiohttp.ClientSession
    ) -> None:
        """Ask the holder of the key.

        Args:
            address: returns where it is, or raises UnreadableError while that is not known.
            key: its public key.
            http: what it is asked through.
        """
        self._address = address
        self._key = key
        self._http = http

    async def sign(
        self, connection: Connection, note: SignedCheckpoint, old_size: int
    ) -> SignedCheckpoint:
        """Return the checkpoint with the witness's signature.

        Args:
            connection: where the trail is, which the proof is read from.
            note: what the log has signed.
            old_size: what the witness is thought to have signed last; it says so when it has not.

        Raises:
            WitnessRefusedError: it will not sign this.
            UnavailableError: it did not answer in time, or could not.
        """
        status, body = await self._ask(connection, note, old_size)
        if status == 409:
            size = _size(body)
            if size > note.checkpoint.size:
                message = (
                    f"the witness has signed {size} entries, and the trail has "
                    f"{note.checkpoint.size}: entries were taken from it, or it was restored from before them"
                )
                raise WitnessRefusedError(message, reason="behind_witness")
            if size == note.checkpoint.size == old_size:
                message = "the witness has signed another trail of the same size"
                raise WitnessRefusedError(message, reason="inconsistent")
            status, body = await self._ask(connection, note, size)
        if status >= 500:
            message = f"the witness answered {status}"
            raise UnavailableError(message, code=str(status))
        if status == 422 or status == 409:
            message = "the witness says that the trail does not extend what it has signed"
            raise WitnessRefusedError(message, reason="inconsistent")
        if status != 200:
            message = f"the witness answered {status}: {body.strip()[:200]}"
            raise WitnessRefusedError(message, reason="refused")
        try:
            signed = signatures_of(note, parse_signatures(body))
        except MalformedNoteError as error:
            message = "what the witness answered is no signature"
            raise WitnessRefusedError(message, reason="refused") from error
        if not signed.signed_by(self._key, check_signature):
            message = f"the witness did not sign with the key of {self._key.name}"
            raise WitnessRefusedError(message, reason="wrong_key")
        return signed

    async def _ask(
        self, connection: Connection, note: SignedCheckpoint, old_size: int
    ) -> tuple[int, str]:
        proof = await prove(connection, old_size, note.checkpoint.size)
        body = write_request(Asked(note=note, old_size=old_size, proof=tuple(proof)))
        try:
            url = self._address().rstrip("/") + "/add-checkpoint"
            async with asyncio.timeout(_WITNESS_TIMEOUT_S):
                async with self._http.post(
                    url, data=body.encode(), allow_redirects=False
                ) as answer:
                    text = bytearray()
                    while len(text) < _ANSWER_BYTES_MAX:
                        piece = await answer.content.read(_ANSWER_BYTES_MAX - len(text))
                        if not piece:
                            break
                        text += piece
                    return answer.status, text.decode("utf-8", "replace")
        except (TimeoutError, aiohttp.ClientError, ValueError, UnreadableError) as error:
            message = f"the witness is not reached: {type(error).__name__}"
            raise UnavailableError(message, code="witness") from error


class Checkpointer:
    """Makes checkpoints when they are due."""

    def __init__(
        self,
        config: CheckpointConfig,
        *,
        connection: Connection,
        signer: Signer,
        witness: WitnessClient | None,
    ) -> None:
        self._config = config
        self._connection = connection
        self._signer = signer
        self._witness = witness
        self._last_s = 0.0
        self.size = 0
        self.witnessed_size = 0

    async def open(self) -> None:
        """Go on from the checkpoints that are in the database."""
        last = await rows.last_checkpoint(self._connection)
        witnessed = await rows.last_checkpoint(self._connection, witnessed=True)
        self.size = last.checkpoint.size if last is not None else 0
        self.witnessed_size = witnessed.checkpoint.size if witnessed is not None else 0

    def is_due(self, size: int, now_s: float) -> bool:
        """Say whether the trail of this size should have a checkpoint now, in monotonic seconds."""
        # One that no witness has signed is no reason to make none again.
        covered = self.size if self._witness is None else self.witnessed_size
        if size == covered:
            return False
        grown = size - self.size >= self._config.entries_count
        return grown or now_s - self._last_s >= self._config.interval_s

    async def make(
        self, tree: Tree, *, now_s: float, unix_s: int
    ) -> WitnessRefusedError | UnavailableError | None:
        """Make a checkpoint of the tree, every entry of which is in the database.

        Returns:
            why the witness has not signed it, when it has not.

        Raises whatever the connection raises; then there is no checkpoint.
        """
        self._last_s = now_s
        checkpoint = Checkpoint(origin=self._signer.public.name, size=tree.size, root=tree.root())
        line = self._signer.sign_checkpoint(checkpoint, unix_s)
        note = SignedCheckpoint(checkpoint=checkpoint, signatures=(line,))
        failure: WitnessRefusedError | UnavailableError | None = None
        witnessed = False
        if self._witness is not None:
            try:
                note = await self._witness.sign(self._connection, note, self.witnessed_size)
                witnessed = True
            except (WitnessRefusedError, UnavailableError) as error:
                failure = error
        if witnessed or tree.size > self.size:
            await rows.add_checkpoint(self._connection, note, witnessed=witnessed)
        self.size = tree.size
        if witnessed:
            self.witnessed_size = tree.size
        return failure


async def prove(connection: Connection, before: int, after: int) -> list[bytes]:
    """Return the proof that the trail of `after` entries begins with that of `before`."""
    parts = consistency_parts(before, after)
    wanted = [subtree for part in parts for subtree in part.subtrees()]
    given = await rows.read_hashes(connection, wanted)
    return hashes_of(parts, lambda _: given)


def _size(body: str) -> int:
    text = body.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        message = "the witness does not say what it has signed last"
        raise WitnessRefusedError(message, reason="refused")
    return int(text)
