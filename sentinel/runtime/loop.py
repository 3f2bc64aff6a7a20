"""The event loop everything runs on: as Python's own, but it hears each signal, and a name is looked up in a thread of its own.

Python runs a signal's handler between two instructions of the main thread. A signal that comes after the last of them and before the
wait, or that the kernel gives to another thread, interrupts no wait: a stop was heard when the wait was over, minutes later. Here
each signal also ends the wait.

Python looks names up in the few threads that also parse pages, pack requests and read files, and a look-up cannot be ended: where a name
server is silent it takes half a minute. Six names that nobody answered for stood still all else, and the exit waited for
them. Here each name takes one thread that nobody waits for at the end, however many ask for it meanwhile.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Coroutine
from contextlib import suppress
from threading import Thread, current_thread, main_thread
from typing import Any, TypeVar

_LOOKUPS_MAX = 256
"""Most names that are looked up at once; one more is an error that may go away, as when a server is busy."""

Result = TypeVar("Result")


class Loop(asyncio.SelectorEventLoop):
    """Looks names up apart from all other work."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[tuple[Any, ...], asyncio.Future[Any]] = {}

    def run_forever(self) -> None:
        """As asyncio's, and each signal ends the wait."""
        if current_thread() is not main_thread():
            super().run_forever()
            return
        woken, wake = socket.socketpair()
        with woken, wake:
            for one in (woken, wake):
                one.settimeout(0)
            self.add_reader(woken, _emptied, woken)
            before = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
            try:
                super().run_forever()
            finally:
                signal.set_wakeup_fd(before)
                self.remove_reader(woken)

    async def getaddrinfo(
        self,
        host: Any,
        port: Any,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002  # asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        """As asyncio's; OSError when too many names are being looked up."""
        asked = (host, port, family, type, proto, flags)
        found = self._lookups.get(asked)
        if found is None:
            if len(self._lookups) >= _LOOKUPS_MAX:
                raise socket.gaierror(socket.EAI_AGAIN, "too many names are looked up at once")
            try:
                Thread(target=self._look_up, args=(asked,), daemon=True, name="name").start()
            except RuntimeError as error:
                # Neither is a thread to be had. Nobody may wait for a name that nobody looks up.
                raise socket.gaierror(socket.EAI_AGAIN, f"no name is looked up: {error}") from None
            # Before the thread can tell what it found, for that takes a turn of this loop.
            found = self._lookups[asked] = self.create_future()
            # Whoever asked may have given up: then its failure is nobody's.
            found.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Shielded, for others may wait for the same.
        return await asyncio.shield(found)

    def _look_up(self, asked: tuple[Any, ...]) -> None:
        result: Any = None
        error: Exception | None = None
        try:
            result = socket.getaddrinfo(*asked)
        except Exception as raised:  # noqa: BLE001  # it is raised where it was asked for
            error = raised
        # The loop may have ended meanwhile.
        with suppress(RuntimeError):
            self.call_soon_threadsafe(self._looked_up, asked, result, error)

    def _looked_up(self, asked: tuple[Any, ...], result: Any, error: Exception | None) -> None:
        found = self._lookups.pop(asked)
        if error is not None:
            found.set_exception(error)
        else:
            found.set_result(result)


def _emptied(woken: socket.socket) -> None:
    with suppress(BlockingIOError):
        woken.recv(4096)


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """As `asyncio.run`, on a `Loop`."""
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(work)
