"""Watches the end of the certificate that is served: in a metric always, in health and in the log when it is near."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.tasks import TaskGroup
from sentinel.runtime.tls import certificate_expiry_s

_LOOK_EVERY_S = 60.0
_DAY_S = 86_400.0


class CertificateWatch:
    """The component `admission.certificate`.

    Args:
        file: of the certificate; it is read anew at each look.
        warn_before_s: asked at each look, for it may be set anew.
        surroundings: clock, metrics and log.
        told_s: the time (Unix) by the API server's clock, which is what counts; None where it has not told it.
    """

    def __init__(
        self,
        file: Path,
        warn_before_s: Callable[[], float],
        surroundings: Surroundings,
        *,
        told_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._file = file
        self._warn_before_s = warn_before_s
        self._surroundings = surroundings
        self._told_s = told_s
        self._health = HealthRecord(surroundings.clock)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._told_ends_s = 0

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "admission.certificate"

    async def start(self) -> None:
        """Look, and go on looking."""
        await self.look()
        self._tasks.spawn("look", self._follow)

    async def stop(self) -> None:
        """Look no more; idempotent."""
        await self._tasks.close()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """Degraded when the certificate ends soon or cannot be read, failing when it has ended."""
        return self._health.current

    async def look(self) -> None:
        """Look once."""
        try:
            ends_s = certificate_expiry_s(await asyncio.to_thread(self._file.read_text, "ascii"))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._health.degraded(f"The end of the certificate cannot be read: {why}")
            return
        self._surroundings.metrics.set(
            "sentinel_admission_certificate_expiry_timestamp_seconds",
            ends_s,
            certificate="serving",
        )
        now_s = self._told_s()
        left_s = ends_s - (self._surroundings.clock.now_ns() / 1e9 if now_s is None else now_s)
        if left_s > self._warn_before_s():
            self._health.ok(f"Good for {left_s / _DAY_S:.0f} days")
            return
        if left_s <= 0:
            sentence = "The certificate has ended: API servers reach the webhook no more, and pods get no sidecar"
            self._health.failing(sentence)
        else:
            sentence = f"The certificate ends in {left_s / _DAY_S:.1f} days and was not renewed"
            self._health.degraded(sentence)
        if self._told_ends_s != ends_s:
            self._told_ends_s = ends_s
            self._surroundings.logger.warning(sentence)

    async def _follow(self) -> None:
        while True:
            await self._surroundings.clock.sleep(_LOOK_EVERY_S)
            await self.look()
