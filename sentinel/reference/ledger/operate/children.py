"""Child processes that never outlive their parent.

Each child asks the kernel for a signal when its parent dies, so that a kill -9 of the parent leaves
nothing behind; a parent that is told to stop stops its children itself, politely first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from sentinel.reference.ledger.domain import LedgerError, UnavailableError

_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_READY_LINE_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The unprivileged user a child runs as."""

    uid: int
    gid: int


class Child:
    """One running child process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def ready_line(self, *, timeout_s: float) -> dict[str, object]:
        """Return the JSON line the child prints when it is ready.

        Raises:
            UnavailableError: the child exited or printed nothing in time.
        """
        stream = self._process.stdout
        if stream is None:
            message = f"{self.name} was started without a pipe"
            raise LedgerError(message)
        try:
            line = await asyncio.wait_for(stream.readline(), timeout=timeout_s)
        except TimeoutError:
            message = f"{self.name} was not ready within {timeout_s:g} s"
            raise UnavailableError(message) from None
        if not line:
            code = await self.wait()
            message = f"{self.name} exited with {code} before it was ready"
            raise UnavailableError(message)
        document: dict[str, object] = orjson.loads(line)
        return document

    async def wait(self) -> int:
        """Return the exit code, once there is one; a negative one is the signal that ended it."""
        return await self._process.wait()

    async def stop(self, *, with_signal: signal.Signals, timeout_s: float) -> None:
        """Ask the child to stop, and kill it when it has not by `timeout_s`."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            # A child that a fault has stopped would never see the other signal.
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(with_signal)
        try:
            await asyncio.wait_for(self._process.wait(), timeout=timeout_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


async def start_child(
    name: str,
    command: Sequence[str | Path],
    *,
    on_parent_death: signal.Signals = signal.SIGKILL,
    owner: Owner | None = None,
    log: Path | None = None,
    capture: bool = False,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Child:
    """Start a process in its own session, tied to this one.

    Args:
        name: for messages.
        command: program and arguments; never a secret.
        on_parent_death: what the kernel sends it when this process dies.
        owner: another user to run it as; needs root.
        log: file for what it prints; without one, stderr is shared with this process.
        capture: whether its stdout is a pipe, for `ready_line`.
        cwd: its working directory, which `owner` must be able to enter.
        environ: variables that it has beside, or in place of, those of this process.
    """
    parent = os.getpid()
    # Resolved before the fork: between fork and exec a child should do as little as it can.
    prctl, death_signal = _LIBC.prctl, int(on_parent_death)

    def tie_to_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    with contextlib.ExitStack() as stack:
        output: int | None = None
        if log is not None:
            output = stack.enter_context(log.open("ab")).fileno()
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if capture else (output or asyncio.subprocess.DEVNULL),
            stderr=output,
            limit=_READY_LINE_BYTES_MAX,
            # Ctrl-C reaches the whole foreground group; in a session of their own the children
            # are stopped in order, by us.
            start_new_session=True,
            preexec_fn=tie_to_parent,
            cwd=cwd,
            env=None if environ is None else {**os.environ, **environ},
            user=None if owner is None else owner.uid,
            group=None if owner is None else owner.gid,
            extra_groups=None if owner is None else [],
        )
    return Child(name, process)
