"""The store as a component: opened and closed with the process, its calls in a thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from sentinel.errors import StoreError
from sentinel.runtime.component import Health, HealthRecord, HealthStatus, Surroundings
from sentinel.storage.sqlite.config import StoreConfig
from sentinel.storage.sqlite.store import SqliteStore

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Store:
    """Holds the `SqliteStore` in `sync`; `run` calls it without blocking the event loop.

    One thread does all work, in the order it was asked for, so that a page is never stored behind
    the back of the window before it.
    """

    def __init__(self, config: StoreConfig, surroundings: Surroundings) -> None:
        self.sync = SqliteStore(config, surroundings)
        self._directory = config.directory
        self._record = HealthRecord(surroundings.clock)
        self._thread: ThreadPoolExecutor | None = None

    @property
    def name(self) -> str:
        """The component's name."""
        return "storage.sqlite"

    async def start(self) -> None:
        """Open the store; see `SqliteStore.open` for what stops the start."""
        if self._thread is not None:
            return
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        try:
            await self.run(self.sync.open)
        except BaseException:
            self._thread.shutdown(wait=False)
            self._thread = None
            raise
        self._record.ok(f"Open in {self._directory}")

    async def stop(self) -> None:
        """Close the store after everything that was asked before."""
        if self._thread is None:
            return
        thread = self._thread
        try:
            await self.run(self.sync.close)
        finally:
            self._thread = None
            thread.shutdown(wait=False)
            self._record.failing("Stopped")

    async def run(
        self,
        function: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call a method of `sync` in the store's thread: `await store.run(store.sync.append_tick, tick)`.

        Raises:
            StoreError: the component is not started; and whatever the method raises.
        """
        if self._thread is None:
            msg = "the store is not started"
            raise StoreError(msg)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(function, *args, **kwargs))

    def health(self) -> Health:
        """Failing while the database cannot be used, degraded after damage or without room."""
        trouble = self.sync.trouble
        if self._thread is not None:
            if self.sync.is_failing:
                self._record.failing(trouble)
            elif trouble:
                self._record.degraded(trouble)
            elif self._record.current.status is not HealthStatus.OK:
                self._record.ok(f"Open in {self._directory}")
        return self._record.current
