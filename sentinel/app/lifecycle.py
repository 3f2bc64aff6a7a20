"""Starts components downstream first and stops them in reverse, from a stack of named steps.

One step that fails while stopping does not skip the rest: what is above it must still flush.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from sentinel.runtime.component import Component, Health, HealthStatus
from sentinel.runtime.metrics import Metrics

_HEALTH_NUMBER = {HealthStatus.OK: 0, HealthStatus.DEGRADED: 1, HealthStatus.FAILING: 2}


class Lifecycle:
    """The running components of one process.

    `start` is all or nothing: when a component cannot start, those already started are stopped again and
    the error is raised. After that nothing here ends the process.
    """

    def __init__(
        self,
        components: Sequence[Component],
        *,
        metrics: Metrics,
        logger: logging.Logger,
        start_timeout_s: float = 30.0,
        stop_timeout_s: float = 10.0,
    ) -> None:
        """Take the components in the order of the flow, downstream first."""
        self._components = tuple(components)
        self._metrics = metrics
        self._logger = logger
        self._start_timeout_s = start_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._started: list[Component] = []

    def add(self, component: Component) -> None:
        """One more, upstream of all others; before the start."""
        self._components = (*self._components, component)

    async def start(self) -> None:
        """Start all, in order; raises what the first failing component raised."""
        for component in self._components:
            try:
                async with asyncio.timeout(self._start_timeout_s):
                    await component.start()
            except BaseException:
                self._logger.error(  # noqa: TRY400  # the caller logs the traceback once
                    "Component did not start", extra={"component": component.name}
                )
                await self._stop_one(component)
                await self.stop()
                raise
            self._started.append(component)

    async def stop(self) -> None:
        """Stop all that started, upstream first; idempotent; never raises."""
        while self._started:
            await self._stop_one(self._started.pop())

    def health(self) -> dict[str, Health]:
        """Every component's health by name, also shown in the metrics."""
        report = {component.name: component.health() for component in self._components}
        for name, health in report.items():
            self._metrics.set(
                "sentinel_component_health", _HEALTH_NUMBER[health.status], component=name
            )
        return report

    async def _stop_one(self, component: Component) -> None:
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await component.stop()
        except TimeoutError:
            self._logger.error(  # noqa: TRY400  # a time limit has no traceback worth reading
                "Component did not stop in time", extra={"component": component.name}
            )
        except Exception:
            self._logger.exception(
                "Component failed while stopping", extra={"component": component.name}
            )
