"""What the pages read, as protocols; whoever wires the program hands them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import Incident, SeriesKey, VerdictBlock, WindowBlock
from sentinel.runtime.component import Health
from sentinel.web.told import Told


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestVerdicts:
    """The last evaluated window; never changed after it was made, so a page can be written in slices.

    Attributes:
        block: the closed window (T = 1).
        verdicts: what was thought of it; the same series in the same order.
        keys: the name of each series, in that order.
        horizons: float32[3, 6, S], value, weight, expected, lower, upper and score of the last window of each longer
            horizon (1, 5 and 30 minutes), NaN where it says nothing; None where there are none.
    """

    block: WindowBlock
    verdicts: VerdictBlock
    keys: tuple[SeriesKey, ...]
    horizons: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if not self.block.series_count == len(self.keys) == len(self.verdicts.series):
            msg = "block, verdicts and keys must have the same series"
            raise ValueError(msg)
        if self.block.window_count != 1:
            msg = f"one window is shown, not {self.block.window_count}"
            raise ValueError(msg)


class VerdictSource(Protocol):
    """Where the last evaluated window is found; asking costs nothing."""

    def latest_verdicts(self) -> LatestVerdicts | None:
        """The last evaluated window, or None before the first."""
        ...


class ToldSource(Protocol):
    """Where what is told beside verdicts is found; asking costs nothing."""

    def told(self) -> Told:
        """As it is now."""
        ...


class IncidentSource(Protocol):
    """Where incidents are found; does not block the event loop."""

    async def incidents(self, *, limit: int, open_only: bool) -> list[Incident]:
        """Newest first."""
        ...


class AcceptSource(Protocol):
    """Who hears what people say of incidents."""

    async def accept(self, incident_id: str, *, by: str, accepted: bool) -> Incident | None:
        """The incident once it is stored so; None where there is none of this id.

        Raises:
            SentinelError: nothing of it could be normal; an OverloadedError says that it was not heard now.
            TimeoutError: it is not stored yet.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How the process is.

    Attributes:
        version: of the program.
        mode: `live` or `shadow`.
        role: `both`, `collect` or `score`.
        started_ns: when it started.
        ready: whether state is loaded and receivers are up.
        waiting_for: what is missing when not ready, one clause each.
        components: health by component name.
        watermark_ns: windows up to here are closed, or None before the first.
        fit_version: the baseline in effect, or None.
        shed: what is given up under overload, in order; empty when nothing is.
        shed_since_ns: since when something has been, or None.
        pressure: what is fullest, and how full; 1 is its bound.
        pages_left_to_rules: whether pages are decided and sent to nobody from here, so that rules in Prometheus may.
        first_decided_ns: when the first window after the start is decided where all is well; None where that depends on others.
    """

    version: str
    mode: str
    started_ns: int
    ready: bool
    waiting_for: tuple[str, ...] = ()
    components: Mapping[str, Health]
    watermark_ns: int | None = None
    fit_version: int | None = None
    shed: tuple[str, ...] = ()
    shed_since_ns: int | None = None
    pressure: tuple[str, float] = ("", 0.0)
    role: str = "both"
    pages_left_to_rules: bool = False
    first_decided_ns: int | None = None


class StatusSource(Protocol):
    """Where the state of the process is found; asking costs nothing."""

    def status(self) -> Status:
        """The present state."""
        ...
