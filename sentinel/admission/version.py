"""Which form the sidecar takes in this cluster: native where the API server is new enough.

A native sidecar is an init container that stays. An API server that does not know of them drops the field that says so,
and the pod waits for its end for ever. So until the version is known nothing is injected, and that is seen in health.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sentinel.admission.cluster import Cluster
from sentinel.admission.config import SidecarChoice
from sentinel.admission.profiles import SidecarKind
from sentinel.errors import MalformedInputError, SentinelError
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.tasks import TaskGroup

_NATIVE_SINCE = (1, 29)
"""On by default from here on; one version before it had to be asked for."""
_LOOK_EVERY_S = 600.0
_NUMBER = re.compile(r"([0-9]{1,4})\+?[a-z0-9.-]*")


def kind_for(version: Mapping[str, object]) -> SidecarKind:
    """The form for an API server's answer to /version; MalformedInputError when it says no version.

    >>> kind_for({"major": "1", "minor": "28+"}).value
    'container'
    """
    numbers = []
    for part in ("major", "minor"):
        found = _NUMBER.fullmatch(str(version.get(part, ""))[:32])
        if found is None:
            msg = "the API server does not say its version"
            raise MalformedInputError(msg)
        numbers.append(int(found[1]))
    return SidecarKind.NATIVE if tuple(numbers) >= _NATIVE_SINCE else SidecarKind.CONTAINER


class SidecarForm:
    """The component `admission.form`: the form as configured, or as the API server's version allows."""

    def __init__(
        self, choice: SidecarChoice, cluster: Cluster, surroundings: Surroundings
    ) -> None:
        self._choice = choice
        self._cluster = cluster
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._kind: SidecarKind | None = None

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "admission.form"

    @property
    def kind(self) -> SidecarKind | None:
        """The form; None while it is not known."""
        return self._kind

    async def start(self) -> None:
        """Ask once; without an answer, go on asking beside everything else."""
        if self._choice is not SidecarChoice.AUTO:
            self._take(SidecarKind(self._choice.value), "as configured")
            return
        await self.look()
        self._tasks.spawn("look", self._follow)

    async def stop(self) -> None:
        """Ask no more; idempotent."""
        await self._tasks.close()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """Failing while the form is not known."""
        return self._health.current

    async def look(self) -> bool:
        """Ask once; False when there was no answer. A form that is known stays until another is."""
        try:
            async with self._cluster.session() as session:
                version = await session.get("/version")
            kind = kind_for(version)
        except SentinelError as error:
            sentence = f"The API server's version is not known: {error}"
            if self._kind is None:
                self._health.failing(
                    f"{sentence}; no sidecar is put in, set sidecar to do without"
                )
            else:
                self._health.degraded(f"{sentence}; the form stays {self._kind}")
            return False
        self._take(kind, f"for Kubernetes {version['major']}.{version['minor']}")
        return True

    async def _follow(self) -> None:
        backoff, attempts = Backoff(limit_s=60.0), 0
        while True:
            wait_s = _LOOK_EVERY_S
            if self._kind is None:
                attempts += 1
                wait_s = backoff.wait_s(attempts)
            await self._surroundings.clock.sleep(wait_s)
            await self.look()

    def _take(self, kind: SidecarKind, why: str) -> None:
        if kind is not self._kind:
            self._surroundings.logger.info(
                "The form of sidecars is known", extra={"form": kind.value, "why": why}
            )
        self._kind = kind
        self._health.ok(f"{kind.value.capitalize()} sidecars, {why}")
        for one in SidecarKind:
            self._surroundings.metrics.set(
                "sentinel_admission_form", 1 if one is kind else 0, form=one.value
            )
