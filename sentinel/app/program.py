"""What runs, whatever its role: what serving and reloading need of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sentinel.app.config import SentinelConfig
from sentinel.app.lifecycle import Lifecycle
from sentinel.runtime.component import Surroundings


class Program(Protocol):
    """A wired program.

    Attributes:
        config: what is in effect.
    """

    config: SentinelConfig

    @property
    def surroundings(self) -> Surroundings:
        """Clock, metrics, logger."""
        ...

    @property
    def lifecycle(self) -> Lifecycle:
        """Its components."""
        ...

    async def start(self) -> None:
        """Start all components; raises what stopped the start, after stopping what had started."""
        ...

    async def stop(self) -> None:
        """Stop all components; never raises."""
        ...

    def addresses(self) -> dict[str, str]:
        """Where it answers, by name."""
        ...

    async def adopt(self, config: SentinelConfig, *, paths: Sequence[str], digest: str) -> None:
        """Go on by a changed configuration, of which `paths` take effect without a restart."""
        ...

    def report(self) -> None:
        """Show what nobody would show who is stuck; called every few seconds."""
        ...
