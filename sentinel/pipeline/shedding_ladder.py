"""The order in which things are given up under pressure, as a pure step: pressure and time in, rungs out.

    pressure at or above `high_ratio` for `climb_s`   one rung more
    pressure at or above 1                            one rung more, at once
    pressure at or below `low_ratio` for `calm_s`     one rung less
    between the two                                   nothing changes, and both times begin anew

Rungs are taken in the order of `Rung` and left in the reverse order; so logs are never shed while traces are not. What is
between the two ratios is what keeps the ladder from swinging: shedding itself lowers the pressure.
"""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.core.model import Rung

RUNGS = tuple(Rung)


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderSettings:
    """When rungs are taken and left.

    Attributes:
        high_ratio: pressure from which on more is given up, 0-1.
        low_ratio: pressure up to which less is given up, below `high_ratio`.
        climb_s: how long the pressure must be high for each rung.
        calm_s: how long it must be low for each rung.
    """

    high_ratio: float
    low_ratio: float
    climb_s: float
    calm_s: float

    def __post_init__(self) -> None:
        if not 0.0 < self.low_ratio < self.high_ratio <= 1.0:
            msg = "low_ratio must be above 0 and below high_ratio, which is at most 1"
            raise ValueError(msg)
        if self.climb_s <= 0 or self.calm_s <= 0:
            msg = "climb and calm must be above 0"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """Where on the ladder we stand.

    Attributes:
        height: how many rungs are taken, 0 to 4.
        high_since_s, low_since_s: since when the pressure has been high or low without a break, or None.
    """

    height: int = 0
    high_since_s: float | None = None
    low_since_s: float | None = None

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """What is given up now, in order."""
        return RUNGS[: self.height]


def stepped(ladder: Ladder, *, pressure: float, now_s: float, settings: LadderSettings) -> Ladder:
    """The ladder after the pressure was read; one rung up or down at most.

    Args:
        ladder: as the last reading left it.
        pressure: how full the fullest of what is bounded is; 1 is its bound.
        now_s: a clock that never goes back.
        settings: when rungs are taken and left.

    >>> settings = LadderSettings(high_ratio=0.8, low_ratio=0.5, climb_s=1.0, calm_s=10.0)
    >>> ladder = stepped(Ladder(), pressure=0.9, now_s=0.0, settings=settings)
    >>> ladder.height
    0
    >>> stepped(ladder, pressure=0.9, now_s=1.0, settings=settings).rungs
    (<Rung.TRACES: 'traces'>,)
    """
    if pressure >= settings.high_ratio:
        since_s = now_s if ladder.high_since_s is None else ladder.high_since_s
        if now_s - since_s < settings.climb_s and pressure < 1.0:
            return Ladder(height=ladder.height, high_since_s=since_s)
        # The next rung is waited for anew: what this one gives must be seen first.
        return Ladder(height=min(ladder.height + 1, len(RUNGS)), high_since_s=now_s)
    if pressure <= settings.low_ratio:
        since_s = now_s if ladder.low_since_s is None else ladder.low_since_s
        if now_s - since_s < settings.calm_s:
            return Ladder(height=ladder.height, low_since_s=since_s)
        return Ladder(height=max(ladder.height - 1, 0), low_since_s=now_s)
    return Ladder(height=ladder.height)
