"""Whether the calls that access logs tell of count: where neither spans nor histograms tell of them.

| who tells of the stage | what comes | then |
|---|---|---|
| nobody | logged calls | they count |
| spans or histograms | logged calls | they are left out |
| the same, gone ten times as long as they ever were, or an hour | logged calls | they count from now on |
| logs | spans in a few windows of an hour | spans count from then on, and those before are left out |
| logs | histograms | histograms count from then on, for times of which no logged call was counted |

While spans or histograms are missing and logged calls still come, the windows have no value: calls did not stop. A place
of which the source that counts now has not told yet has no value either, because sources may name routes differently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass

from sentinel.core.model import Scope
from sentinel.core.series.call_sources.order import Stage, stage_of
from sentinel.core.series.call_sources.stage_calls import RETURNED_WINDOWS
from sentinel.core.series.settings import HOUR_NS

_MISSED_GAPS = 10
_STAGES_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsSettled:
    """What the logged calls of one window are worth.

    Attributes:
        counted: stages whose logged calls count.
        spans_left_out: stages whose spans do not, because their logs still do.
        told_twice: logged calls left out, because spans or histograms tell of them.
        given_up: logged calls of more stages than are followed.
    """

    counted: frozenset[Stage]
    spans_left_out: frozenset[Stage]
    told_twice: int
    given_up: int


@dataclass(slots=True, kw_only=True)
class _Source:
    """What is known of a stage; "better" are spans and histograms."""

    by_logs: bool
    better_ns: int | None
    gap_ns: int
    logged_ns: int
    counted_ns: int = 0
    turned_ns: int = 0
    returned_windows: int = 0
    held: bool = False


class LogSources:
    """The stages whose logs tell of calls; one whose logs do not takes no room here."""

    def __init__(self, *, window_ns: int) -> None:
        self._window_ns = window_ns
        self._sources: dict[Stage, _Source] = {}

    def __bool__(self) -> bool:
        return bool(self._sources)

    def counted_ns(self) -> dict[Stage, int]:
        """The last window whose logged calls counted, by stage."""
        return {stage: each.counted_ns for stage, each in self._sources.items() if each.counted_ns}

    def settle(
        self,
        start_ns: int,
        *,
        logged: Mapping[Stage, int],
        told_ns: Mapping[Stage, int],
        reported: Set[Stage],
    ) -> LogsSettled:
        """Decide what counts in the window at `start_ns`.

        Args:
            start_ns: its start; windows come in order.
            logged: how many calls its logs tell of, by stage.
            told_ns: when spans or histograms told last, this window included, by stage.
            reported: stages of which histograms came in it.
        """
        given_up = sum(
            count
            for stage, count in logged.items()
            if not self._know(stage, start_ns, told_ns.get(stage))
        )
        counted: set[Stage] = set()
        left_out: set[Stage] = set()
        twice = 0
        for stage, source in self._sources.items():
            count = logged.get(stage, 0)
            is_told = told_ns.get(stage, 0) >= start_ns
            if is_told:
                self._see_better(source, start_ns, at_once=stage in reported or not count)
            elif count and not source.by_logs and self._have_gone(source, start_ns):
                source.by_logs, source.turned_ns, source.returned_windows = True, start_ns, 0
            source.held = count > 0 and not is_told and not source.by_logs
            if not count:
                continue
            source.logged_ns = start_ns
            if source.by_logs:
                source.counted_ns = start_ns
                counted.add(stage)
                if is_told:
                    left_out.add(stage)
            else:
                twice += count
        return LogsSettled(
            counted=frozenset(counted),
            spans_left_out=frozenset(left_out),
            told_twice=twice,
            given_up=given_up,
        )

    def reading(self, scope: Scope, *, last_ns: int) -> tuple[float, bool] | None:
        """Traffic of a place in the window just settled and whether it was heard; None: as is known otherwise.

        `last_ns` is the last window with calls of it that counted.
        """
        source = self._sources.get(stage_of(scope))
        if source is not None and (source.held or last_ns < source.turned_ns):
            return math.nan, True
        return None

    def tell_of(self, scope: Scope) -> bool:
        """Whether logs count at this place."""
        source = self._sources.get(stage_of(scope))
        return source is not None and source.by_logs

    def set_back(self) -> None:
        """Begin anew, because the clock by which all was noted was wrong."""
        self._sources.clear()

    def forget_idle(self, before_ns: int) -> None:
        """Forget stages whose logs told of no call since."""
        for stage in [key for key, each in self._sources.items() if each.logged_ns < before_ns]:
            del self._sources[stage]

    def _know(self, stage: Stage, start_ns: int, told_ns: int | None) -> bool:
        if stage in self._sources:
            return True
        if len(self._sources) >= _STAGES_MAX:
            return False
        is_told = told_ns is not None and start_ns - told_ns <= HOUR_NS
        self._sources[stage] = _Source(
            by_logs=not is_told,
            better_ns=told_ns if is_told else None,
            gap_ns=self._window_ns,
            logged_ns=start_ns,
        )
        return True

    def _see_better(self, source: _Source, start_ns: int, *, at_once: bool) -> None:
        gap_ns = 0 if source.better_ns is None else start_ns - source.better_ns
        if source.by_logs:
            is_first = source.better_ns is None or gap_ns > HOUR_NS
            source.returned_windows = 1 if is_first else source.returned_windows + 1
            if at_once or source.returned_windows >= RETURNED_WINDOWS:
                source.by_logs, source.turned_ns = False, start_ns
        source.gap_ns = max(source.gap_ns, gap_ns)
        source.better_ns = start_ns

    def _have_gone(self, source: _Source, start_ns: int) -> bool:
        if source.better_ns is None:
            return True
        return start_ns - source.better_ns > min(_MISSED_GAPS * source.gap_ns, HOUR_NS)
