"""Whether the calls that a complete log tells of count: a gateway's log knows every call, its spans may be a sample.

| who tells of the stage | what comes | then |
|---|---|---|
| anybody | calls of a complete log | they count, and take the place of spans: spans are left out |
| a complete log, silent no longer than ten times its longest gap, or an hour | spans | they are left out, and the window has no value: calls did not stop |
| a complete log, gone for longer | spans | spans count, until the log comes back |

Both tell of calls one by one, so they change places at a window's start and no call counts twice. Between such calls and
histograms `call_sources` decides, as between spans and histograms. A place of which the source that counts now has not
told yet has no value, because sources may name routes differently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sentinel.core.model import Scope
from sentinel.core.series.call_sources.order import Stage, stage_of
from sentinel.core.series.settings import HOUR_NS

_MISSED_GAPS = 10
_STAGES_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteSettled:
    """What the calls of complete logs are worth in one window.

    Attributes:
        spans_left_out: stages whose spans do not count.
        given_up: stages whose logs are not followed, because there are too many.
    """

    spans_left_out: frozenset[Stage]
    given_up: frozenset[Stage]


@dataclass(slots=True, kw_only=True)
class _Log:
    """What is known of a stage."""

    told_ns: int
    gap_ns: int
    turned_ns: int
    by_spans: bool = False
    held: bool = False


class CompleteCalls:
    """The stages that complete logs tell of; any other takes no room here."""

    def __init__(self, *, window_ns: int) -> None:
        self._window_ns = window_ns
        self._logs: dict[Stage, _Log] = {}

    def __bool__(self) -> bool:
        return bool(self._logs)

    def settle(
        self,
        start_ns: int,
        *,
        told: Mapping[Stage, int],
        spans: Mapping[Stage, int],
        span_seen_ns: Mapping[Stage, int],
    ) -> CompleteSettled:
        """Decide what counts in the window at `start_ns`.

        Args:
            start_ns: its start; windows come in order.
            told: how many calls complete logs tell of, by stage.
            spans: how many spans do.
            span_seen_ns: the last window before it whose calls counted, by stage.
        """
        given_up: set[Stage] = set()
        left_out: set[Stage] = set()
        for stage in told:
            if stage in self._logs:
                continue
            if len(self._logs) >= _STAGES_MAX:
                given_up.add(stage)
                continue
            # Places that spans told of until now may have other names; their silence is no end of calls.
            was_told = stage in spans or start_ns - span_seen_ns.get(stage, 0) <= HOUR_NS
            self._logs[stage] = _Log(
                told_ns=start_ns, gap_ns=self._window_ns, turned_ns=start_ns if was_told else 0
            )
        for stage, log in self._logs.items():
            has_spans = spans.get(stage, 0) > 0
            log.held = False
            if told.get(stage, 0):
                if log.by_spans:
                    log.by_spans, log.turned_ns = False, start_ns
                # A gap that ended in "gone" says nothing about how long the log is usually silent.
                elif start_ns - log.told_ns <= HOUR_NS:
                    log.gap_ns = max(log.gap_ns, start_ns - log.told_ns)
                log.told_ns = start_ns
            elif has_spans and not log.by_spans:
                if self._has_gone(log, start_ns):
                    log.by_spans, log.turned_ns = True, start_ns
                else:
                    log.held = True
            if has_spans and not log.by_spans:
                left_out.add(stage)
        return CompleteSettled(spans_left_out=frozenset(left_out), given_up=frozenset(given_up))

    def telling(self, start_ns: int) -> frozenset[Stage]:
        """The stages whose logs count now, or are silent no longer than usual."""
        return frozenset(
            stage
            for stage, log in self._logs.items()
            if not log.by_spans and not self._has_gone(log, start_ns)
        )

    def reading(self, scope: Scope, *, last_ns: int) -> tuple[float, bool] | None:
        """Traffic of a place in the window just settled and whether it was heard; None: as is known otherwise.

        `last_ns` is the last window with calls of it that counted.
        """
        log = self._logs.get(stage_of(scope))
        if log is not None and (log.held or last_ns < log.turned_ns):
            return math.nan, True
        return None

    def set_back(self) -> None:
        """Begin anew, because the clock by which all was noted was wrong."""
        self._logs.clear()

    def forget_idle(self, before_ns: int) -> None:
        """Forget stages whose log told of no call since."""
        for stage in [key for key, log in self._logs.items() if log.told_ns < before_ns]:
            del self._logs[stage]

    def _has_gone(self, log: _Log, start_ns: int) -> bool:
        return start_ns - log.told_ns > min(_MISSED_GAPS * log.gap_ns, HOUR_NS)
