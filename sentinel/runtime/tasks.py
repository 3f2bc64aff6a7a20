"""Named, supervised tasks: a crash restarts with back-off, is counted, and shows in health."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from sentinel.core.redact import redact
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.metrics import Metrics


class TaskGroup:
    """The tasks of one component.

    A task that returns is finished; one that raises is started again after a back-off, for as long as
    the group is not closed: after start-up the process does not exit because a part of it failed.
    """

    def __init__(self, owner: str, *, metrics: Metrics, logger: logging.Logger) -> None:
        self._owner = owner
        self._metrics = metrics
        self._logger = logger
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._failing: dict[str, str] = {}

    @property
    def failing(self) -> dict[str, str]:
        """Tasks whose last run crashed and that are waiting to run again, with the reason."""
        return dict(self._failing)

    def spawn(
        self, name: str, run: Callable[[], Awaitable[None]], *, backoff: Backoff | None = None
    ) -> None:
        """Run `run` under supervision; names are unique within the group."""
        if name in self._tasks and not self._tasks[name].done():
            msg = f"task {name} of {self._owner} runs already"
            raise ValueError(msg)
        self._tasks[name] = asyncio.create_task(
            self._supervise(name, run, backoff or Backoff(limit_s=30.0)),
            name=f"{self._owner}:{name}",
        )

    async def close(self, *, timeout_s: float = 5.0) -> None:
        """Cancel every task and wait for it to end; idempotent."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=timeout_s)
            for task in pending:
                self._logger.error("Task did not end in time", extra={"task": task.get_name()})
        self._tasks.clear()
        self._failing.clear()

    async def _supervise(
        self, name: str, run: Callable[[], Awaitable[None]], backoff: Backoff
    ) -> None:
        crashes = 0
        while True:
            try:
                await run()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # the supervisor is the one place that catches all
                crashes += 1
                wait_s = backoff.wait_s(crashes)
                self._failing[name] = redact(f"{type(error).__name__}: {error}")
                self._metrics.task_crashed(owner=self._owner, task=name)
                self._logger.exception(
                    "Task crashed and will be restarted",
                    extra={"task": f"{self._owner}:{name}", "wait_s": round(wait_s, 2)},
                )
                await asyncio.sleep(wait_s)
                self._failing.pop(name, None)
            else:
                return
