"""Faults that hold processes: SIGSTOP, as a machine that hangs looks to its neighbours."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target

# A word of its command line: the id may by now be another process's, and no other may be stopped.
_WORD: Final = {
    "poster": b"poster",
    "edge": b"edge",
    "nats": b"nats-server",
    "postgres": b"bin/postgres",
}
_SERVERS: Final = frozenset({"nats", "postgres"})


def stopped(role: str) -> Callable[..., AbstractAsyncContextManager[dict[str, object]]]:
    """The fault that stops a process of the run, and its children."""

    @asynccontextmanager
    async def hold(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
        del config
        pids = stop(target, role)
        yield {"pid": pids[0], **({"pids": pids} if len(pids) > 1 else {})}

    return hold


def stop(target: Target, role: str) -> list[int]:
    """Stop a process of the run and its children, of several servers all; their ids.

    Raises:
        LedgerError: it does not run, or is not one that `up` started.
    """
    known = _pids(target, role)
    pids = [pid for pid in known if runs_as(role, pid)]
    if not pids:
        message = f"no {role} runs as process {', '.join(map(str, known)) or 0}"
        raise LedgerError(message)
    target.note(stopped=role)
    for pid in pids:
        # The parent first: a postmaster that saw its children stand still could start others.
        for one in (pid, *_children_of(pid)):
            _send(one, signal.SIGSTOP)
    return pids


def let_go(target: Target, role: str) -> None:
    """Let a stopped process go on; harmless when it does."""
    for pid in _pids(target, role):
        if runs_as(role, pid):
            for one in (*_children_of(pid), pid):
                _send(one, signal.SIGCONT)


def going_on(role: str) -> Callable[[Target], Awaitable[None]]:
    """How a stopped process is undone."""

    async def undo(target: Target) -> None:
        let_go(target, role)

    return undo


def command_line(pid: int) -> bytes:
    """The command line of a process; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _pids(target: Target, role: str) -> list[int]:
    """The process of this name, or those that are numbered after it: servers of one cluster."""
    return [
        pid
        for name, pid in target.state.pids.items()
        if name == role or name.rpartition("-")[0] == role
    ]


def runs_as(role: str, pid: int) -> bool:
    """Say whether a process is one of this role, by its command line."""
    words = command_line(pid).split(b"\0")
    if role not in _SERVERS and b"sentinel.reference.ledger" not in words:
        return False
    return any(word.endswith(_WORD[role]) for word in words)


def _children_of(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
