"""Which window's turn it is: the one after the last, the first that is told of after a silence, or the present one."""

from __future__ import annotations

from sentinel.core.series.collected import CollectedWindow, Roster
from sentinel.core.series.watermark import AHEAD_MAX_NS, STEP_MAX_NS, Watermark
from sentinel.runtime.component import Surroundings

_JUMP_WINDOWS = 6
_NEAR_WINDOWS = 2
_TICK_S = 1.0


class Turn:
    """The next window, and from when on it may be closed; windows are counted in `step_ns`."""

    def __init__(
        self, roster: Roster, surroundings: Surroundings, *, step_ns: int, collectors_max: int
    ) -> None:
        self._roster = roster
        self._surroundings = surroundings
        self._step_ns = step_ns
        self._collectors_max = collectors_max
        self._mark = Watermark(lateness_ns=0)
        self._told_ns = 0
        self._ahead: set[str] = set()
        self._not_before_ns = 0
        self.next_ns: int | None = None
        """Where the next window begins; None until it is known."""

    def start(self, decided_ns: int, *, not_before_ns: int) -> None:
        """Go on after the windows that are decided; 0 when none is. Nothing is closed before a time of grace is over."""
        self._roster.begin(decided_ns)
        self.next_ns = decided_ns or None
        self._not_before_ns = not_before_ns

    def hold(self, *, until_ns: int) -> None:
        """Close nothing until then."""
        self._not_before_ns = max(self._not_before_ns, until_ns)

    def is_far(self, start_ns: int) -> bool:
        """Whether it will be a while until this window's turn."""
        return self.next_ns is not None and start_ns > self.next_ns + _NEAR_WINDOWS * self._step_ns

    def note(self, part: CollectedWindow, now_ns: int) -> None:
        """Note until when is told, by a clock that agrees with ours; one that is ahead is told of once, and again after it was right."""
        if part.closed_ns <= now_ns + AHEAD_MAX_NS:
            self._told_ns = max(self._told_ns, part.closed_ns)
            self._ahead.discard(part.collector)
        elif part.collector not in self._ahead and len(self._ahead) < self._collectors_max:
            self._ahead.add(part.collector)
            self._surroundings.logger.warning(
                "The clock of a collector is ahead of ours: what it tells counts for later than it was",
                extra={
                    "collector": part.collector,
                    "ahead_s": round((part.closed_ns - now_ns) / 1e9),
                },
            )

    def wait_s(self, now_ns: int) -> float:
        """How long nothing need be looked at, when nothing comes."""
        if self.next_ns is None:
            return _TICK_S
        due_ns = max(self._roster.deadline_ns(self.next_ns), self._not_before_ns)
        return min(max((due_ns - now_ns) / 1e9, 0.01), _TICK_S)

    def due(self, clock_ns: int) -> int | None:
        """Where the window begins that waits for nobody any more; None while there is none."""
        # As one process does: a clock that steps forward is believed once what comes agrees, or it has stayed.
        # What is told never makes it later: a collector whose clock is ahead would shut the others out.
        now_ns = self._mark.advance(clock_ns, event_ns=min(self._told_ns, clock_ns))
        self._begin(now_ns)
        start_ns = self.next_ns
        if start_ns is None or not self._roster.may_close(
            start_ns, now_ns, not_before_ns=self._not_before_ns
        ):
            return None
        return start_ns

    def closed(self, start_ns: int) -> None:
        """The one after this is next."""
        self.next_ns = start_ns + self._step_ns

    def _begin(self, now_ns: int) -> None:
        """Know which window is next: after a long silence it is the first that is told of, or the present one."""
        step_ns = self._step_ns
        first_ns = self._roster.first_waiting_ns
        present_ns = now_ns - now_ns % step_ns
        if self.next_ns is None:
            if first_ns is not None:
                self.next_ns = first_ns
            elif now_ns >= self._not_before_ns:
                self.next_ns = present_ns
            if self.next_ns is not None:
                self._roster.begin(self.next_ns)
            return
        if self.next_ns - now_ns > STEP_MAX_NS:
            # The clock was ahead, was believed, and has been put back since.
            self._surroundings.logger.warning(
                "The clock was put back; windows go on from the present"
            )
            self._surroundings.metrics.count("sentinel_clock_set_back_total")
            self.next_ns = present_ns
            self._not_before_ns = min(self._not_before_ns, now_ns)
            self._roster.begin(present_ns)
            return
        if now_ns < self._not_before_ns:
            return
        until_ns = present_ns if first_ns is None else min(first_ns, present_ns)
        gap = (until_ns - self.next_ns) // step_ns
        if gap > _JUMP_WINDOWS:
            self._surroundings.metrics.count(
                "sentinel_windows_dropped_total", gap, reason="nobody_told"
            )
            self.next_ns = until_ns
            self._roster.begin(until_ns)
