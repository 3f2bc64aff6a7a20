"""The audit's loop: record, make checkpoints when they are due, tell how far it is.

A database that is away, or another process that has the trail, costs time only: everything is opened
anew, and what is recorded already is known. A slot that is lost is told of for as long as it is, and
the loop waits for somebody to say `audit resume`. What cannot be gone on from ends it: a trail that is
not what its checkpoint says, a message that the protocol does not know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from sentinel.reference.ledger.audit.checkpoints import (
    CheckpointConfig,
    Checkpointer,
    WitnessClient,
    WitnessRefusedError,
)
from sentinel.reference.ledger.audit.keys import Signer
from sentinel.reference.ledger.audit.pgoutput import MalformedMessageError
from sentinel.reference.ledger.audit.recorder import SETTINGS, Progress, Recorder
from sentinel.reference.ledger.audit.rows import BrokenLogError
from sentinel.reference.ledger.audit.slot import SlotLostError
from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.domain.audit.note import PublicKey
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.telemetry.audit import AuditSignals
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import Connection, session, translated

RESUME_HINT: Final = (
    "what was committed since is not in the trail; "
    "`sentinel-ledger audit resume --reason …` goes on with an entry that says so"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """What the audit goes by.

    Attributes:
        postgres: where the ledger is, as a user that may read replication slots.
        witness: returns where the witness is who is asked to sign checkpoints; None for nobody.
        witness_key: with which key; needed with an address.
        checkpoint: when checkpoints are made.
        pause_s: between looks, when there is nothing left to record.
        back_off_s: after a database that was away.
    """

    postgres: PostgresConfig
    witness: Callable[[], str] | None = None
    witness_key: PublicKey | None = None
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    pause_s: float = 0.25
    back_off_s: float = 1.0


class Audit:
    """Records until it is told to stop."""

    def __init__(self, config: AuditConfig, *, signer: Signer, telemetry: Telemetry) -> None:
        if config.witness is not None and config.witness_key is None:
            message = "a witness needs its public key, or anybody could sign for it"
            raise LedgerError(message)
        self._config = config
        self._signer = signer
        self._telemetry = telemetry
        self._signals = AuditSignals(telemetry)
        self._failing = False
        if config.witness is not None:
            # From now on one is waited for.
            self._signals.state.witnessed_s = time.time()

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop`; a last checkpoint covers what there is.

        Raises:
            LedgerError: it cannot be gone on from; the message says why.
        """
        while not stop.is_set():
            try:
                async with sessions(self._config.postgres) as (reader, writer):
                    await self._record(reader, writer, stop)
            except UnavailableError as error:
                # Another process that has the trail, a restart of the server, a lost connection.
                if not self._failing:
                    self._telemetry.warning(
                        Event.AUDIT_FAILED, f"Recording waits: {error}", reason=error.code
                    )
                self._failing = True
                await _pause(stop, self._config.back_off_s)
            except SlotLostError as error:
                if not self._signals.state.slot_lost:
                    self._signals.refused("slot_lost")
                    self._telemetry.error(Event.AUDIT_SLOT_LOST, f"{error}; {RESUME_HINT}")
                self._signals.state.slot_lost = True
                await _pause(stop, self._config.back_off_s)
            except (BrokenLogError, MalformedMessageError, PermanentError) as error:
                reason = "malformed" if isinstance(error, MalformedMessageError) else "broken"
                self._signals.refused(reason)
                self._telemetry.error(Event.AUDIT_FAILED, f"Recording ends: {error}")
                raise

    async def resume(self, reason: str) -> bool:
        """Go on after a loss; returns whether there was one.

        Raises:
            UnavailableError: another process has the trail, or the server is away.
            LedgerError: it cannot be gone on from.
        """
        async with sessions(self._config.postgres) as (reader, writer):
            recorder = self._recorder(reader, writer)
            return await recorder.resume(reason=reason, now_us=_now_us())

    async def _record(self, reader: Connection, writer: Connection, stop: asyncio.Event) -> None:
        recorder = self._recorder(reader, writer)
        if await recorder.open(now_us=_now_us()):
            self._signals.recorded(recorder.state.tree.size)
            self._telemetry.info(
                Event.AUDIT_BEGUN,
                "The trail begins with what is there",
                entries_count=recorder.state.tree.size,
            )
        if self._failing or self._signals.state.slot_lost:
            self._failing = False
            self._telemetry.info(Event.AUDIT_RECOVERED, "Recording goes on")
        self._signals.state.slot_lost = False
        async with AsyncExitStack() as stack:
            checkpointer = await self._checkpointer(writer, stack)
            while not stop.is_set():
                progress = await recorder.cycle()
                self._tell(recorder, checkpointer, progress)
                if checkpointer.is_due(recorder.state.tree.size, time.monotonic()):
                    await self._checkpoint(recorder, checkpointer)
                if progress.caught_up:
                    await _pause(stop, self._config.pause_s)
            self._tell(recorder, checkpointer, await recorder.cycle())
            if recorder.state.tree.size != checkpointer.size:
                await self._checkpoint(recorder, checkpointer)

    async def _checkpoint(self, recorder: Recorder, checkpointer: Checkpointer) -> None:
        failure = await checkpointer.make(
            recorder.state.tree, now_s=time.monotonic(), unix_s=int(time.time())
        )
        witnessed = self._config.witness is not None and failure is None
        self._signals.checkpoint(witnessed=witnessed)
        if witnessed:
            self._signals.state.witnessed_s = time.time()
        if isinstance(failure, WitnessRefusedError):
            self._signals.refused(failure.reason)
            self._telemetry.error(Event.AUDIT_UNWITNESSED, f"No witness: {failure}")
        elif failure is not None:
            self._telemetry.warning(Event.AUDIT_UNWITNESSED, f"No witness yet: {failure}")

    def _tell(self, recorder: Recorder, checkpointer: Checkpointer, progress: Progress) -> None:
        if progress.entries_count:
            self._signals.recorded(progress.entries_count)
        state, shown = recorder.state, self._signals.state
        shown.lag_s = (
            0.0 if progress.caught_up else max(time.time() - state.committed_us / 1e6, 0.0)
        )
        if self._config.witness is not None:
            shown.unwitnessed_count = state.tree.size - checkpointer.witnessed_size
            if not shown.unwitnessed_count:
                shown.witnessed_s = time.time()
        shown.slot_lag_bytes = progress.status.lag_bytes
        shown.slot_retained_bytes = progress.status.retained_bytes
        shown.slot_safe_bytes = progress.status.safe_bytes

    def _recorder(self, reader: Connection, writer: Connection) -> Recorder:
        return Recorder(
            reader=reader, writer=writer, origin=self._signer.public.name, signer=self._signer
        )

    async def _checkpointer(self, writer: Connection, stack: AsyncExitStack) -> Checkpointer:
        address, key = self._config.witness, self._config.witness_key
        witness = None
        if address is not None and key is not None:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            witness = WitnessClient(address, key, http=http)
        checkpointer = Checkpointer(
            self._config.checkpoint, connection=writer, signer=self._signer, witness=witness
        )
        await checkpointer.open()
        return checkpointer


@asynccontextmanager
async def sessions(config: PostgresConfig) -> AsyncIterator[tuple[Connection, Connection]]:
    """Open two sessions as the audit needs them: one to read from, one to write with.

    Raises:
        UnavailableError: the server does not answer in time.
        PermanentError: the server refused.
    """
    async with (
        session(config, application_name="audit", settings=dict(SETTINGS)) as reader,
        session(config, application_name="audit", settings=dict(SETTINGS)) as writer,
    ):
        with translated():
            yield reader, writer


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), timeout=seconds)


def _now_us() -> int:
    return time.time_ns() // 1000
