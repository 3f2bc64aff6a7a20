"""What one series does in an incident: it joins, gets stranger, goes quiet.

An excursion opens at score >= 1 (or at a guard) and stays open until it was quiet for the hold, so that a
value that crosses its band to and fro is one incident and one page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sentinel.core.model import Member, SeriesKey, View, strangeness


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One series that is anomalous in one window, or under a guard.

    Attributes:
        series_id, key: which series.
        symptom: whether users feel it: traffic, errors, latency or a guard.
        start_ns: start of the window.
        first_ns: start of the first window it was wrong in; earlier than `start_ns` for a guard's run.
        direction: +1 above what was expected, -1 below.
        score: the verdict's, or 1 where only a guard tripped.
        value, expected, lower, upper, weight: of the window; NaN where unknown.
        why: the guard's clause, or "".
        horizon_s: length of the horizon whose mean it is, 0 for the window itself.
        views: what agrees that it is strange.
        beside: what people know it by besides its value, or "".
        lasting: (length of the horizon, score) of the means that are strange and that the values have not left again.
    """

    series_id: int
    key: SeriesKey
    symptom: bool
    start_ns: int
    first_ns: int
    direction: int
    score: float
    value: float
    expected: float
    lower: float
    upper: float
    weight: float
    why: str = ""
    horizon_s: int = 0
    views: View = View.NONE
    beside: str = ""
    lasting: tuple[tuple[int, float], ...] = ()

    @property
    def rank(self) -> tuple[int, float]:
        """Sorts the strangest first; see `strangeness`."""
        return strangeness(self.horizon_s, self.score)

    @property
    def present(self) -> tuple[tuple[int, float], ...]:
        """(length of the horizon, score) of all by which it is strange now; of the window itself the length is 0.

        The mean of a horizon may be strange when the values have come back; then there is none.
        """
        return self.lasting if self.horizon_s else ((0, self.score), *self.lasting)

    @property
    def goes_on(self) -> bool:
        """Whether it is strange now, or a guard trips."""
        return bool(self.why or self.present)


def joined(sighting: Sighting) -> Member:
    """The member that a first sighting makes."""
    return Member(
        series_id=sighting.series_id,
        key=sighting.key,
        direction=sighting.direction,
        first_ns=sighting.first_ns,
        last_ns=sighting.start_ns,
        peak_score=sighting.score,
        value=sighting.value,
        expected=sighting.expected,
        lower=sighting.lower,
        upper=sighting.upper,
        weight=sighting.weight,
        why=sighting.why,
        horizon_s=sighting.horizon_s,
        views=sighting.views,
        peak_ns=sighting.start_ns,
        beside=sighting.beside,
    )


def seen_again(member: Member, sighting: Sighting) -> Member:
    """The member after another sighting.

    A page shows the strangest window, and while that is not topped the one in which a guard broke first.
    """
    last_ns = max(member.last_ns, sighting.start_ns)
    why = member.why or sighting.why
    broke = bool(sighting.why) and not member.why and sighting.horizon_s == member.horizon_s
    tops = sighting.rank < member.rank
    if not (tops or broke):
        return replace(member, last_ns=last_ns, why=why)
    return replace(
        joined(sighting),
        first_ns=member.first_ns,
        last_ns=last_ns,
        peak_score=sighting.score if tops else member.peak_score,
        why=why,
    )


def is_quiet(*, active_until_ns: int, end_ns: int, hold_ns: int) -> bool:
    """Whether nothing was strange for the hold."""
    return end_ns - active_until_ns >= hold_ns


def guard_score(score: float) -> float:
    """The score of a sighting that a guard made: the verdict's where there is one, and never below the cut."""
    return 1.0 if math.isnan(score) else max(1.0, score)
