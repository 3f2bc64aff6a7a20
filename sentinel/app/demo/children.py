"""The demo's child processes: started and stopped with a time limit, never left behind.

Each child leads a session of its own, so that Ctrl-C reaches only the demo, which then stops them in
order; and the kernel ends a child when the demo itself is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sentinel.errors import SentinelError

_PR_SET_PDEATHSIG = 1
# The ledger, which stops four programs in order, gives itself a second less.
_STOP_S = 9.0
_LOOK_S = 0.2


class ChildError(SentinelError):
    """A child process ended or stayed silent when it should not have."""


class Child:
    """One child process and the file its output goes to."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log_path: Path) -> None:
        self.name = name
        self.process = process
        self.log_path = log_path
        self.stopping = False

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.returncode is None

    def log_tail(self, lines: int = 8) -> str:
        """The last lines it wrote, for an error message."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    async def wait(self, *, timeout_s: float) -> int:
        """Its exit code; `ChildError` when it runs longer."""
        try:
            return await asyncio.wait_for(self.process.wait(), timeout_s)
        except TimeoutError:
            msg = f"{self.name} still runs after {timeout_s:.0f} s\n{self.log_tail()}"
            raise ChildError(msg) from None

    async def stop(self, *, timeout_s: float = _STOP_S) -> None:
        """SIGTERM, then SIGKILL to its whole session; idempotent."""
        self.stopping = True
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.process.wait(), timeout_s)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.running:
            await self.process.wait()


class Children:
    """All children of one demo."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._children: list[Child] = []

    async def start(
        self, name: str, argv: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start a child; what it prints goes to `<name>.log` in the demo's folder."""
        log_path = self._directory / f"{name}.log"
        starting = asyncio.ensure_future(self._spawn(log_path, argv, environment or {}))  # noqa: TID251  # awaited below
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Ctrl-C in this very moment: the process may be there already, and has to be stopped with the rest.
            self._children.append(Child(name, await starting, log_path))
            raise
        child = Child(name, process, log_path)
        self._children.append(child)
        return child

    async def _spawn(
        self, log_path: Path, argv: Sequence[str], environment: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        ours = {
            "OPENBLAS_NUM_THREADS": "1",
            "TMPDIR": str(
                self._directory
            ),  # what a child leaves behind goes with the demo's folder
        }
        with log_path.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **ours, **environment},
                start_new_session=True,
                preexec_fn=_tie_to(os.getpid()),  # noqa: PLW1509, RUF100  # one thread here; nothing is locked
            )

    async def watch(self, *names: str) -> None:
        """Raise `ChildError` as soon as a child of one of these names ends that nobody stopped."""
        while True:
            for child in self._children:
                if child.name in names and not child.running and not child.stopping:
                    msg = f"{child.name} ended with code {child.process.returncode}"
                    raise ChildError(msg)
            await asyncio.sleep(_LOOK_S)

    async def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        timeout_s: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a child to its end; `ChildError` with its last lines when it fails."""
        child = await self.start(name, argv, environment=environment)
        code = await child.wait(timeout_s=timeout_s)
        if code != 0:
            msg = f"{name} ended with code {code}\n{child.log_tail()}"
            raise ChildError(msg)

    def tails(self) -> str:
        """The last lines of every child's output, for the message of a demo that failed."""
        return "\n".join(
            f"--- {child.name}\n{child.log_tail()}" for child in self._children if child.log_tail()
        )

    async def stop_all(self, *, last: str | None = None) -> None:
        """Stop every child at once, but those named `last` after the others, for which they may wait."""
        children, self._children = self._children, []
        for is_last in (False, True):
            await asyncio.gather(
                *(child.stop() for child in children if (child.name == last) is is_last)
            )


async def wait_for_json(path: Path, child: Child, *, timeout_s: float) -> dict[str, Any]:
    """The object in a file that a child writes when it is ready; `ChildError` when it ends or takes too long."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while asyncio.get_running_loop().time() < deadline:
        with contextlib.suppress(FileNotFoundError, ValueError):
            document: dict[str, Any] = json.loads(path.read_text())
            return document
        if not child.running:
            break
        await asyncio.sleep(0.05)
    msg = f"{child.name} did not become ready within {timeout_s:.0f} s\n{child.log_tail()}"
    raise ChildError(msg)


def _tie_to(parent_pid: int) -> Callable[[], None]:
    """What a child does before it becomes the program: ask the kernel to end it with the demo.

    A demo that was killed before the child had asked would leave it running for ever, so it looks once more after.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # resolved before the fork

    def end_with_parent() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent_pid:
            os._exit(1)

    return end_with_parent
