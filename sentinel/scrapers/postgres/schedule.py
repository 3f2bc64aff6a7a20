"""When each question is asked again: by its own rhythm, more seldom when it is dear, slow or cannot be answered.

The bound on cost is a promise. A question that takes d seconds every e seconds has a load of d / e. While the loads of
all come to no more than the budget, each keeps its rhythm. Else there is a level at which the dearer ones are cut so
that min(load, level) sums up to the budget: the cheap ones keep their rhythm, and those above are asked every d / level.

What belongs to each poll is what the detector sees with, so it has the budget first: of the others only a fifth is left,
or what they want of it. It is asked once a minute at least, for on a server so slow it is what one wants to know, unless
that would take more than twice the budget; then every five minutes at least, in which as much as possible is kept.
What the way to the server takes is no cost to it: the quickest answer of late is taken for that, and taken off.

A poll in which something that belongs to it is not asked says so: by a counter, by `slowed`, and by what is pending.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from sentinel.scrapers.postgres.queries import ABSENT_EVERY_S, Query

_EARLY_RATIO = 0.25
"""Due by so much of a poll's interval early counts as due, or a rhythm of ten seconds would become twenty."""
_OTHERS_RATIO = 0.2
"""The share of the budget that is not taken from the others by what belongs to each poll."""
_FIRST_EVERY_S_MAX = 60.0
_DEAR_EVERY_S_MAX = 300.0
_TOLD_S = 600.0
"""So long after something was asked too seldom it is still told, or a log would say it every other minute."""
_SLOW_FACTOR = 4.0
_SLOW_EVERY_S_MAX = 1800.0
_WAY_KEPT = 100


@dataclass(slots=True)
class Due:
    """One question in one database.

    Attributes:
        query, database: which.
        due_s: when it is asked next, on a clock that does not go back.
        answered_s: when it was answered last, None after anything else.
        took_s: what an answer takes of the server: the quicker of the last two, 0 before there are two.
        before_s: what the last one took.
        slow_count: how often in a row it was ended for taking too long.
        note: why it gives nothing, "" while it does.
    """

    query: Query
    database: str
    due_s: float = float("-inf")
    answered_s: float | None = None
    took_s: float = 0.0
    before_s: float = 0.0
    slow_count: int = 0
    note: str = ""

    @property
    def is_first(self) -> bool:
        """Whether it belongs to each poll."""
        return not self.query.every_s


@dataclass(frozen=True, slots=True)
class _Levels:
    """The loads that no question may have more of, of what belongs to each poll and of the others; infinite for no cut.

    `dear_s` is how long what belongs to each poll may wait at most.
    """

    first: float
    others: float
    dear_s: float


@dataclass(slots=True, kw_only=True)
class Schedule:
    """All questions of a server."""

    interval_s: float
    cost_ratio_max: float
    entries: list[Due] = field(default_factory=list)
    _quickest_s: float = float("inf")
    _quickest_before_s: float = float("inf")
    _answer_count: int = 0
    _longest_s: float = 0.0
    _slowed_until_s: float = float("-inf")

    def due(self, now_s: float) -> list[Due]:
        """What is to be asked now: in the order of importance, after what has waited for a whole poll longer."""
        early_s = now_s + _EARLY_RATIO * self.interval_s
        # What one may have depends on what all others take, so waits are worked out anew.
        levels = self._levels()
        longest_s = 0.0
        for one in self.entries:
            if one.answered_s is not None:
                one.due_s = one.answered_s + self._wait_s(one, levels)
                if one.is_first and one.due_s > early_s:
                    longest_s = max(longest_s, self._wait_s(one, levels))
        self._slowed(now_s, longest_s)
        # The sort is stable: those that have waited a poll longer come first, and in their order.
        found = [one for one in self.entries if one.due_s <= early_s]
        return sorted(found, key=lambda one: one.due_s >= now_s - self.interval_s)

    def cut(self, now_s: float) -> list[Due]:
        """What belongs to each poll, could be answered, and is not asked in this one for its cost; after `due`."""
        early_s = now_s + _EARLY_RATIO * self.interval_s
        return [
            one
            for one in self.entries
            if one.is_first and one.answered_s is not None and one.due_s > early_s
        ]

    @property
    def slowed_s(self) -> float:
        """The longest that something that belongs to each poll had to wait of late for its cost, in whole polls; 0 for none."""
        return self._longest_s

    def _slowed(self, now_s: float, longest_s: float) -> None:
        if longest_s:
            polls = math.ceil((longest_s - _EARLY_RATIO * self.interval_s) / self.interval_s)
            self._longest_s = max(self._longest_s, polls * self.interval_s)
            self._slowed_until_s = now_s + _TOLD_S
        elif now_s >= self._slowed_until_s:
            self._longest_s = 0.0

    def answered(self, one: Due, *, now_s: float, elapsed_s: float) -> None:
        """It was answered in so long, with the way there and back."""
        net_s = elapsed_s - self._way(elapsed_s)
        # One slow answer is an accident, of theirs or of ours: it must not leave us without the next ones for minutes.
        one.took_s = min(net_s, one.before_s)
        one.before_s = net_s
        one.slow_count, one.note = 0, ""
        one.answered_s = now_s

    def slow(self, one: Due, *, now_s: float, elapsed_s: float, note: str) -> None:
        """It was ended for taking too long: each time it waits longer."""
        one.slow_count += 1
        one.took_s = elapsed_s
        wait_s = max(one.query.every_s, self.interval_s) * _SLOW_FACTOR ** min(one.slow_count, 8)
        wait_s = max(min(wait_s, _SLOW_EVERY_S_MAX), self._wait_s(one, self._levels()))
        self._wait(one, now_s + wait_s, note)

    def absent(self, one: Due, *, now_s: float, note: str) -> None:
        """It cannot be asked here; perhaps later."""
        self._wait(one, now_s + max(ABSENT_EVERY_S, one.query.every_s), note)

    def failed(self, one: Due, *, now_s: float, note: str) -> None:
        """It failed for another reason."""
        self._wait(one, now_s + max(one.query.every_s, 6 * self.interval_s), note)

    def at_once(self, one: Due) -> None:
        """Ask it in the next poll, whatever there was."""
        self._wait(one, float("-inf"), "")
        one.slow_count = 0

    def until(self, one: Due, due_s: float) -> None:
        """There is nothing to ask before then."""
        self._wait(one, due_s, "")

    def cost_ratio(self) -> float:
        """Seconds a second that the answers take of the server, as seen from here."""
        levels = self._levels()
        return sum(
            one.took_s / max(self._wait_s(one, levels), self.interval_s) for one in self.entries
        )

    def _way(self, elapsed_s: float) -> float:
        """How long the way takes: the quickest of the last `_WAY_KEPT` answers, or up to twice as many."""
        self._answer_count += 1
        if self._answer_count > _WAY_KEPT:
            self._quickest_before_s, self._quickest_s = self._quickest_s, elapsed_s
            self._answer_count = 1
        self._quickest_s = min(self._quickest_s, elapsed_s)
        return min(self._quickest_s, self._quickest_before_s)

    def _wait(self, one: Due, due_s: float, note: str) -> None:
        one.due_s, one.note, one.answered_s = due_s, note, None

    def _load(self, one: Due) -> float:
        return one.took_s / max(one.query.every_s, self.interval_s)

    def _wait_s(self, one: Due, levels: _Levels) -> float:
        """How long after an answer it is asked again; 0 for the next poll."""
        level = levels.first if one.is_first else levels.others
        if self._load(one) <= level:
            return one.query.every_s
        # No poll is early for what is cut, or it would get more than its share.
        wait_s = max(one.query.every_s, one.took_s / level + _EARLY_RATIO * self.interval_s)
        return min(wait_s, levels.dear_s) if one.is_first else wait_s

    def _levels(self) -> _Levels:
        first = [self._load(one) for one in self.entries if one.is_first]
        others = [self._load(one) for one in self.entries if not one.is_first]
        left = self.cost_ratio_max - min(sum(others), _OTHERS_RATIO * self.cost_ratio_max)
        # Below the level all come to the budget; what is asked all the same may take as much once more, and no more.
        once_a_minute = (
            sum(one.took_s for one in self.entries if one.is_first) / _FIRST_EVERY_S_MAX
        )
        share = once_a_minute / self.cost_ratio_max
        return _Levels(
            first=_level(first, left),
            others=_level(others, self.cost_ratio_max - min(sum(first), left)),
            dear_s=min(_FIRST_EVERY_S_MAX * max(share, 1.0), _DEAR_EVERY_S_MAX),
        )


def _level(loads: Sequence[float], budget: float) -> float:
    """The load that none may have more of, so that all come to the budget; infinite while there is enough for all."""
    left, count = budget, len(loads)
    if sum(loads) <= left:
        return float("inf")
    for load in sorted(loads):
        if load * count > left:
            return left / count
        left, count = left - load, count - 1
    return float("inf")
