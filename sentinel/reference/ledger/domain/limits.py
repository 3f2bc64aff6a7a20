"""How much a tenant may ask: the generic cell rate algorithm, over limits that may change with time.

One number a key, the theoretical arrival time (TAT): the moment at which all that was taken so far would be
paid for at the even pace of one request an interval T. A request at t is conforming if

    TAT <= t + (burst - 1) * T,    and then    TAT := max(t, TAT) + T.

So in any window of length w no more than `burst + floor(w / T)` requests conform, and the first moment at
which a refused one would conform, with nobody else asking, is `TAT - (burst - 1) * T`: exact, not a guess.
Numbers are integers of nanoseconds; T is rounded up, so that a limit is never exceeded by rounding.

Two clocks come in. What was taken is reckoned on a steady one, which no correction of the time of day sets
back; when an elevation begins and ends is told by the time of day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.domain.errors import UsageError

SECOND_NS: Final = 1_000_000_000
RPS_MAX: Final = 1_000_000
BURST_MAX: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So many requests a second, evenly; and so many at once after a quiet time."""

    rps: int
    burst: int

    def __post_init__(self) -> None:
        """Refuse what nobody can mean.

        Raises:
            UsageError: a number is out of range.
        """
        if not 1 <= self.rps <= RPS_MAX or not 1 <= self.burst <= BURST_MAX:
            message = (
                f"a limit is 1 to {RPS_MAX} requests a second and a burst of 1 to {BURST_MAX}"
            )
            raise UsageError(message)

    def raised_to(self, other: Limit) -> Limit:
        """Return the higher of both in each respect.

        >>> Limit(rps=100, burst=2000).raised_to(Limit(rps=500, burst=50))
        Limit(rps=500, burst=2000)
        """
        return Limit(rps=max(self.rps, other.rps), burst=max(self.burst, other.burst))


STANDARD_LIMIT: Final = Limit(rps=100, burst=200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elevation:
    """Another limit for a time, `[starts_ns, ends_ns)` in Unix time: a batch window, say."""

    starts_ns: int
    ends_ns: int
    limit: Limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """A tenant's limit and what is scheduled to stand above it."""

    limit: Limit = STANDARD_LIMIT
    elevations: tuple[Elevation, ...] = ()

    def at(self, now_ns: int) -> Limit:
        """Return the limit at a moment of Unix time; an elevation only ever raises it, its rate and its burst alike."""
        best = self.limit
        for one in self.elevations:
            if one.starts_ns <= now_ns < one.ends_ns:
                best = best.raised_to(one.limit)
        return best

    def changes_after(self, now_ns: int) -> list[int]:
        """Return the moments after `now_ns` at which the limit may change, in order."""
        moments = {moment for one in self.elevations for moment in (one.starts_ns, one.ends_ns)}
        return sorted(moment for moment in moments if moment > now_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The request conforms: `remaining_count` more would, now; after `reset_ns` the whole burst would."""

    limit: Limit
    remaining_count: int
    reset_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It does not; after `retry_after_ns`, and not before, it would."""

    limit: Limit
    retry_after_ns: int
    reset_ns: int


def take(
    tat_ns: int, *, steady_ns: int, now_ns: int, allowance: Allowance, edges_count: int = 1
) -> tuple[int, Allowed | Refused]:
    """Decide one request, and return the key's new TAT with the decision.

    Args:
        tat_ns: the key's TAT on the steady clock; anything in the past for a key that is new.
        steady_ns: now, on the steady clock.
        now_ns: now, Unix time.
        allowance: what the key may ask.
        edges_count: how many edges share the limit without knowing of each other: each gives its part.

    >>> limit = Limit(rps=10, burst=2)
    >>> tat, first = take(0, steady_ns=1000, now_ns=0, allowance=Allowance(limit=limit))
    >>> tat, second = take(tat, steady_ns=1000, now_ns=0, allowance=Allowance(limit=limit))
    >>> tat, third = take(tat, steady_ns=1000, now_ns=0, allowance=Allowance(limit=limit))
    >>> first.remaining_count, second.remaining_count, third.retry_after_ns
    (1, 0, 100000000)
    """
    limit = allowance.at(now_ns)
    interval_ns, burst = _pace(limit, edges_count)
    debt_ns = max(tat_ns - steady_ns, 0)
    if debt_ns <= (burst - 1) * interval_ns:
        debt_ns += interval_ns
        remaining = (burst * interval_ns - debt_ns) // interval_ns
        return steady_ns + debt_ns, Allowed(
            limit=limit, remaining_count=remaining, reset_ns=debt_ns
        )
    wait_ns = _wait_ns(debt_ns, now_ns, allowance, edges_count)
    return tat_ns, Refused(limit=limit, retry_after_ns=wait_ns, reset_ns=debt_ns)


def _wait_ns(debt_ns: int, now_ns: int, allowance: Allowance, edges_count: int) -> int:
    """Return the time after which a request conforms, whatever the limit is by then."""
    begins_ns = now_ns
    for ends_ns in (*allowance.changes_after(now_ns), None):
        interval_ns, burst = _pace(allowance.at(begins_ns), edges_count)
        at_ns = max(now_ns + debt_ns - (burst - 1) * interval_ns, begins_ns)
        if ends_ns is None or at_ns < ends_ns:
            return at_ns - now_ns
        begins_ns = ends_ns
    raise AssertionError  # the last stretch has no end


def _pace(limit: Limit, edges_count: int) -> tuple[int, int]:
    """Return an edge's interval in nanoseconds, and its burst."""
    return -(-SECOND_NS * edges_count // limit.rps), max(limit.burst // edges_count, 1)
