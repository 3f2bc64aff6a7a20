"""Calls that block for long, in threads that a process which is told to stop does not wait for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")


async def in_daemon(call: Callable[[], Result]) -> Result:
    """Return what `call` returns, from a thread of its own that ends with the process.

    Those of `asyncio.to_thread` are waited for at the process's end, however long what they do takes. This one is left to
    itself when whoever waits is cancelled: only for calls that may end anywhere.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():  # cancelled meanwhile
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # None only where `call` returns it

    def work() -> None:
        result: Result | None = None
        failed: BaseException | None = None
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - it is whoever waits that it is for
            failed = error
        # The loop may have ended meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=work, name="ledger-daemon-call", daemon=True).start()
    return await future
