"""What a fault is: what it should move, how it is held, and how it is undone.

Whoever holds a fault may be killed before lifting it. So what does not go with its process is undone by `undo`, from what stands
in a note beside the run (`notes.py`): by the command itself when it ends, and by the next fault command when it could not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sentinel.reference.ledger.domain import LedgerError, UnavailableError, UsageError
from sentinel.reference.ledger.operate.faults.notes import Note, note_file, write_note
from sentinel.reference.ledger.operate.state import RunState
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig, read_url


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedSignal:
    """A series that the fault should move, and which way: `up`, `down`, or `away` for one that has no value any more.

    A series is named as Sentinel names it; a star in a route stands for what differs.
    """

    service: str
    stage: str
    route: str
    signal: str
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultConfig:
    """Which fault, for how long, on which run."""

    fault: str
    state_file: Path
    seconds: float
    record_file: Path | None = None
    error_ratio: float = 0.5

    def __post_init__(self) -> None:
        """Refuse a fault that would never show or never end."""
        if not 0 < self.seconds <= 86_400:
            message = "--seconds must be above 0 and at most 86400"
            raise UsageError(message)
        if not 0 < self.error_ratio <= 1:
            message = "--ratio must be above 0 and at most 1"
            raise UsageError(message)


@dataclass(slots=True, kw_only=True)
class Target:
    """The run that is broken, and the note that outlives whoever breaks it."""

    state: RunState
    held: Note

    @property
    def marker(self) -> Path:
        """Where the note is kept."""
        return note_file(self.state, self.held.fault)

    @property
    def notes(self) -> dict[str, object]:
        """What undoing needs; empty when there is nothing to undo."""
        return self.held.undo

    def note(self, **what: object) -> None:
        """Keep what undoing will need; before the first call there is nothing to undo."""
        self.change(undo=self.held.undo | what)

    def change(self, **what: object) -> None:
        """Have the note say something else."""
        self.held = replace(self.held, **what)  # type: ignore[arg-type]  # each field has its own type
        write_note(self.marker, self.held)

    @property
    def nats(self) -> NatsConfig:
        """The run's queue."""
        return NatsConfig(url=self.state.nats_url)

    @property
    def postgres(self) -> PostgresConfig:
        """The run's database."""
        return PostgresConfig(url=read_url(Path(self.state.postgres_url_file)))

    @property
    def replica(self) -> PostgresConfig:
        """The run's replica.

        Raises:
            LedgerError: it has none.
        """
        if not self.state.replica_url_file:
            message = "this run has no replica"
            raise LedgerError(message)
        return PostgresConfig(url=read_url(Path(self.state.replica_url_file)))


Hold = Callable[[Target, FaultConfig], AbstractAsyncContextManager[dict[str, object]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to break the ledger.

    Attributes:
        summary: what is wrong while it holds, in a sentence without its full stop.
        expected: the series that it should move.
        hold: breaks on entry, and gives the parameters of the record.
        undo: mends what `hold` left; harmless when there is nothing left.
        needs: what `up` must be started with; empty where it breaks any run.
    """

    summary: str
    expected: tuple[ExpectedSignal, ...]
    hold: Hold
    undo: Callable[[Target], Awaitable[None]] | None = None
    needs: str = ""


def signals(*rows: tuple[str, str, str, str, str]) -> tuple[ExpectedSignal, ...]:
    """Expected signals, each as (service, stage, route, signal, direction)."""
    return tuple(
        ExpectedSignal(service=service, stage=stage, route=route, signal=name, direction=direction)
        for service, stage, route, name, direction in rows
    )


@asynccontextmanager
async def repeated(act: Callable[[], Awaitable[None]], *, every_s: float) -> AsyncIterator[None]:
    """Do `act` again and again while the block runs; a server that is away does not end it.

    Raises:
        LedgerError: an act failed for another reason; raised when the block ends.
    """

    async def go_on() -> None:
        while True:
            try:
                with suppress(UnavailableError):
                    await act()
            except asyncio.CancelledError:
                # A client whose connection ends cancels what waits for it: that is no end of ours.
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
            await asyncio.sleep(every_s)

    task = asyncio.create_task(go_on(), name="fault-repeated")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
