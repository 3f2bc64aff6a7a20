"""The highest rate that holds each limit, and what has no more to give where it is broken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.ledger.limits import Outcome

STEP_RATIO = 1.2
Try = Callable[[float], Awaitable[Outcome]]


@dataclass(slots=True)
class Found:
    """What a search found.

    Attributes:
        highest: the highest rate at which a limit was held, below any at which it was broken, by limit.
        broken: the lowest rate at which a limit was broken, and what was full then.
        tried: the rates, in the order of the search.
    """

    highest: dict[str, float] = field(default_factory=dict)
    broken: dict[str, tuple[float, str]] = field(default_factory=dict)
    tried: list[float] = field(default_factory=list)

    def note(self, rate: float, outcome: Outcome) -> None:
        """Note one rate's outcome; of two that contradict each other, that which broke the limit counts."""
        self.tried.append(rate)
        for limit, held in outcome.holds().items():
            lowest = self.broken[limit][0] if limit in self.broken else float("inf")
            if not held and rate < lowest:
                self.broken[limit] = (rate, outcome.saturated())
                if self.highest.get(limit, 0.0) >= rate:
                    del self.highest[limit]
            elif held and rate < lowest:
                self.highest[limit] = max(rate, self.highest.get(limit, 0.0))

    def told(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            limit: {
                "highest": self.highest.get(limit),
                "broken_at": self.broken[limit][0] if limit in self.broken else None,
                "saturated": self.broken[limit][1] if limit in self.broken else None,
            }
            for limit in {**self.highest, **self.broken}
        }


async def search(attempt: Try, *, first: float, least: float, most: float) -> Found:
    """Try rates upwards from `first` until each limit is broken that is ever going to be, then downwards for those never held."""
    found = Found()
    rate = first
    while rate <= most:
        outcome = await attempt(rate)
        found.note(rate, outcome)
        # What is never lost is not waited for.
        speed = [limit for limit in outcome.holds() if limit.startswith("accept")]
        if all(limit in found.broken for limit in speed) or not outcome.answered_well:
            break
        rate *= STEP_RATIO
    rate = first / STEP_RATIO
    while rate >= least and any(limit not in found.highest for limit in found.broken):
        found.note(rate, await attempt(rate))
        rate /= STEP_RATIO
    return found
