"""When each question is asked again: by its own rhythm, more seldom when it is dear, slow or cannot be answered.

The bound on cost is a promise. A question that takes d seconds every e seconds has a load of d / e. While the loads of
all come to no more than the budget, each keeps its rhythm. Else there is a level at which the dearer ones are cut so
that min(load, level) sums up to the budget: the cheap ones keep their rhythm, and those above are asked every d / level.
Only what belongs to each poll is asked once a minute at least: on a server so slow it is what one wants to know.
What the way to the server takes is no cost to it: the quickest answer of late is taken for that, and taken off.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sentinel.scrapers.postgres.queries import ABSENT_EVERY_S, Query

_EARLY_RATIO = 0.25
"""Due by so much of a poll's interval early counts as due, or a rhythm of ten seconds would become twenty."""
_FIRST_EVERY_S_MAX = 60.0
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


@dataclass(slots=True, kw_only=True)
class Schedule:
    """All questions of a server."""

    interval_s: float
    cost_ratio_max: float
    entries: list[Due] = field(default_factory=list)
    _quickest_s: float = float("inf")
    _quickest_before_s: float = float("inf")
    _answer_count: int = 0

    def due(self, now_s: float) -> list[Due]:
        """What is to be asked now: in the order of importance, after what has waited for a whole poll longer."""
        early_s = now_s + _EARLY_RATIO * self.interval_s
        # What one may have depends on what all others take, so waits are worked out anew.
        level = self._level()
        for one in self.entries:
            if one.answered_s is not None:
                wait_s = max(one.query.every_s, self._least_s(one, level))
                one.due_s = one.answered_s + wait_s
        # The sort is stable: those that have waited a poll longer come first, and in their order.
        found = [one for one in self.entries if one.due_s <= early_s]
        return sorted(found, key=lambda one: one.due_s >= now_s - self.interval_s)

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
        wait_s = max(min(wait_s, _SLOW_EVERY_S_MAX), self._least_s(one, self._level()))
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
        level = self._level()
        return sum(min(load, level) for load in map(self._load, self.entries))

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

    def _least_s(self, one: Due, level: float) -> float:
        if self._load(one) <= level:
            return 0.0
        # No poll is early for what is cut, or it would get more than its share.
        least_s = one.took_s / level + _EARLY_RATIO * self.interval_s
        return least_s if one.query.every_s else min(least_s, _FIRST_EVERY_S_MAX)

    def _level(self) -> float:
        """The load that no question may have more of; infinite while there is enough for all."""
        loads = sorted(map(self._load, self.entries))
        left, count = self.cost_ratio_max, len(loads)
        if sum(loads) <= left:
            return float("inf")
        for load in loads:
            if load * count > left:
                return left / count
            left, count = left - load, count - 1
        return float("inf")
