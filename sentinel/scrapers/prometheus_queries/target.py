"""One server: what its queries give for each window that has just ended, when samples that come late are in it.

The windows are those of the sidecar. One is asked for `lag` after its end, and again while it is open; what the server did not
answer by then is not known, which is no zero. The first window asked for was over before we began: it is not counted, and says
which places there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sentinel.core.model import (
    SHARE_KINDS,
    Kind,
    MeasuredColumns,
    RejectReason,
    SampleBatch,
    SeriesKey,
)
from sentinel.core.normalise.promql.answer import Answer
from sentinel.core.normalise.promql.rows import (
    QueryRows,
    Skip,
    rows_of,
    with_traffic_calls,
)
from sentinel.core.normalise.promql.rules import Places, QueryRule, calls_rule
from sentinel.core.normalise.promql.zeros import KNOWN_FOR_NS, last_told, with_zeros
from sentinel.core.redact import redact
from sentinel.core.series import SeriesSettings
from sentinel.errors import SentinelError
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import reason_of
from sentinel.runtime.polling.component import Polled
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.runtime.promql import QueryServerConfig
from sentinel.scrapers.prometheus_queries.asking import Asking, Round

NAME = "scrapers.prometheus_queries"

ENOUGH_CALLS = 1e6
"""How many calls count for a share, or a quantile, of which nobody says how many are behind it."""

_MARGIN_S = 2.0
"""What is left of a window's lateness for what comes after the answer."""
_BUDGET_MIN_S = 1.0
_EARLY_NS = 200_000_000
"""A sleep may end a little before its time by the wall clock; the window is due all the same."""
_BYTES_A_ROW = 200
_NOTES_MAX = 3
_TOLD_MAX = 100_000
_REJECTED_AS = {
    Skip.NOT_FINITE: RejectReason.NOT_FINITE,
    Skip.OUT_OF_BOUNDS: RejectReason.BAD_SHAPE,
    Skip.SAME_PLACE: RejectReason.DUPLICATE,
    Skip.SERIES_LIMIT: RejectReason.LIMIT,
    Skip.HISTOGRAM: RejectReason.UNSUPPORTED,
    Skip.OUTSIDE: RejectReason.TOO_LATE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """What came of one window."""

    measured: tuple[MeasuredColumns, ...]
    services: frozenset[str]
    rejected: Mapping[RejectReason, int]
    notes: tuple[str, ...]


class QueryTarget:
    """Asks a server for window after window; see `runtime.polling.Target`."""

    def __init__(
        self, server: QueryServerConfig, windows: SeriesSettings, surroundings: Surroundings
    ) -> None:
        """Make it; ConfigError when a file of its TLS cannot be used."""
        self._server = server
        self._rules = server.rules()
        self._places = {rule.name: Places(rule) for rule in self._rules}
        self._calls_places = {rule.name: Places(calls_rule(rule)) for rule in self._rules}
        self._windows = windows
        self._metrics, self._clock = surroundings.metrics, surroundings.clock
        self._asking = Asking(server, surroundings.clock)
        self._lag_ns = round(server.lag * 1e9)
        self._known: dict[str, dict[SeriesKey, int]] = {}
        self._told: set[SeriesKey] = set()
        self._asked_until_ns: int | None = None
        self.missed_ns = 0
        """End of the last window that may have been missed and was not looked for yet; 0 for none."""

    @property
    def name(self) -> str:
        """Of the server."""
        return self._server.name

    @property
    def interval_s(self) -> float:
        """The width of a window."""
        return self._windows.window_ns / 1e9

    @property
    def place_s(self) -> float:
        """When in a window it is asked for the one before."""
        return self._server.lag % self.interval_s

    @property
    def timeout_s(self) -> float:
        """Longest time of asking for one window: while it is open, and no longer than until the next is asked for."""
        return min(self._budget_s + 1.0, max(self.interval_s - 0.5, 1.0))

    @property
    def _budget_s(self) -> float:
        open_s = self._windows.lateness_ns / 1e9 - self._server.lag - _MARGIN_S
        return max(min(open_s, self.interval_s - 1.0), _BUDGET_MIN_S)

    async def poll(self, now_ns: int) -> Polled:
        """Ask for the windows that are due; see `Target`."""
        step_ns = self._windows.window_ns
        due_ns = (now_ns + _EARLY_NS - self._lag_ns) // step_ns * step_ns
        if self._asked_until_ns is None:
            # Over before we began: nothing is made of it but the names that it brings.
            first = await self._window(due_ns)
            self._asked_until_ns = self.missed_ns = due_ns
            return Polled(
                batch=SampleBatch(services=first.services),
                size_bytes=_BYTES_A_ROW,
                notes=first.notes,
            )
        if due_ns <= self._asked_until_ns:
            return Polled(batch=SampleBatch(), size_bytes=0)
        self._asked_until_ns = due_ns
        window = await self._window(due_ns)
        count = sum(len(one.keys) for one in window.measured)
        return Polled(
            batch=SampleBatch(
                measured=window.measured,
                services=window.services,
                rejected=dict(window.rejected),
            ),
            size_bytes=1024 + _BYTES_A_ROW * count,
            notes=window.notes,
        )

    async def reach(self) -> tuple[Reach, ...]:
        """Ask each query once, for the last window that is due."""
        step_ns = self._windows.window_ns
        at_ns = (self._clock.now_ns() - self._lag_ns) // step_ns * step_ns
        what = f"{NAME} {self.name}"
        asked = await self._asking.ask(
            self._rules, at_ns=at_ns, within_s=self._budget_s, once=True
        )
        if asked.failed and not asked.answers:
            sentence = _why(next(iter(asked.failed.values())))
            remedy = "is it running there, and are `url` and `client` right?"
            return (
                Reach(what=what, status=ReachStatus.FAILING, sentence=sentence, remedy=remedy),
            )
        found = [self._reach_of(rule, asked, what=f"{what} {rule.name}") for rule in self._rules]
        return tuple(found) or (
            Reach(
                what=what,
                status=ReachStatus.DEGRADED,
                sentence="nothing is asked of it",
                remedy="name queries: `sentinel discover --prometheus URL` writes them",
            ),
        )

    @property
    def gap_max_s(self) -> float:
        """How far back is asked for what was missed; 0 for not at all."""
        return float(self._server.gap_max)

    @property
    def told(self) -> frozenset[SeriesKey]:
        """The series that were told of so far."""
        return frozenset(self._told)

    async def past(self, start_ns: int, end_ns: int) -> tuple[QueryRows, ...]:
        """What all queries give for windows of the past, once.

        Raises:
            SentinelError, TimeoutError: one of them has no answer.
        """
        answers = await self._asking.over(
            self._rules,
            first_ns=start_ns + self._windows.window_ns,
            last_ns=end_ns,
            step_ns=self._windows.window_ns,
        )
        rows = self._rows(self._rules, answers, start_ns, end_ns)
        calls = self._calls(self._rules, answers, start_ns, end_ns)
        return with_zeros(rows, self._rules, calls=calls)

    async def close(self) -> None:
        """Release connections; idempotent."""
        await self._asking.close()

    def _reach_of(self, rule: QueryRule, asked: Round, *, what: str) -> Reach:
        if (error := asked.failed.get(rule.name)) is not None:
            remedy = "try the query on the server's own page"
            return Reach(
                what=what, status=ReachStatus.FAILING, sentence=_why(error), remedy=remedy
            )
        values, calls = asked.answers[rule.name]
        places = self._places[rule.name]
        rows = rows_of(places, values, calls, step_ns=self._windows.window_ns)
        if rows.notes:
            return Reach(what=what, status=ReachStatus.DEGRADED, sentence=rows.notes[0])
        count = len(rows.keys)
        if not count:
            sentence = "the query gives no series"
            remedy = "is the metric there, and is its range four scrape intervals or more?"
            if rule.absent_is_zero:
                return Reach(what=what, status=ReachStatus.OK, sentence=sentence)
            return Reach(what=what, status=ReachStatus.DEGRADED, sentence=sentence, remedy=remedy)
        sentence = f"{count} series, such as {rows.keys[0]}"
        return Reach(what=what, status=ReachStatus.OK, sentence=sentence)

    async def _window(self, end_ns: int) -> _Window:
        """The window that ends there.

        Raises:
            SentinelError, TimeoutError: no query has an answer.
        """
        asked = await self._asking.ask(self._rules, at_ns=end_ns, within_s=self._budget_s)
        if asked.failed:
            self.missed_ns = end_ns
        for name, error in asked.failed.items():
            if name not in asked.answers:
                self._count(reason_of(error).value)
        self._count("ok", len(asked.answers))
        if asked.failed and not asked.answers:
            raise next(iter(asked.failed.values()))
        return self._read(asked)

    def _read(self, asked: Round) -> _Window:
        step_ns = self._windows.window_ns
        start_ns = asked.at_ns - step_ns
        rejected: Counter[RejectReason] = Counter()
        notes: list[str] = [f"query {name}: {_why(error)}" for name, error in asked.failed.items()]
        answered = [rule for rule in self._rules if rule.name in asked.answers]
        told = self._rows(answered, asked.answers, start_ns, asked.at_ns)
        calls = self._calls(answered, asked.answers, start_ns, asked.at_ns)
        rows = with_zeros(told, answered, calls=calls, known=self._known)
        self._remember(answered, told, start_ns)
        services: set[str] = set()
        measured: list[MeasuredColumns] = []
        # Where the calls of a place could not be asked for, a share of them may be one of a few: it is not known.
        lost_calls = any(
            rule.kind is Kind.TRAFFIC and rule.name in asked.failed for rule in self._rules
        )
        for rule, one in zip(answered, rows, strict=True):
            notes += one.notes
            for reason, count in one.skipped.items():
                rejected[_REJECTED_AS[reason]] += count
            services.update(key.service for key in one.keys)
            measured.append(self._columns(rule, one, start_ns, lost_calls=lost_calls))
        return _Window(
            measured=tuple(measured),
            services=frozenset(services),
            rejected=rejected,
            notes=tuple(notes[:_NOTES_MAX]),
        )

    def _rows(
        self,
        rules: Sequence[QueryRule],
        answers: Mapping[str, tuple[Answer, Answer | None]],
        start_ns: int,
        end_ns: int,
    ) -> tuple[QueryRows, ...]:
        """The rows of queries that were answered, with the calls behind them."""
        return with_traffic_calls(
            [
                rows_of(
                    self._places[rule.name],
                    *answers[rule.name],
                    step_ns=self._windows.window_ns,
                    start_ns=start_ns,
                    end_ns=end_ns,
                )
                for rule in rules
            ]
        )

    def _calls(
        self,
        rules: Sequence[QueryRule],
        answers: Mapping[str, tuple[Answer, Answer | None]],
        start_ns: int,
        end_ns: int,
    ) -> dict[str, QueryRows]:
        """The calls of queries that have such of their own and ask for zeros, as rows of traffic."""
        step_ns = self._windows.window_ns
        return {
            rule.name: rows_of(
                self._calls_places[rule.name],
                found,
                step_ns=step_ns,
                start_ns=start_ns,
                end_ns=end_ns,
            )
            for rule in rules
            if (found := answers[rule.name][1]) is not None and rule.absent_is_zero
        }

    def _remember(
        self, rules: Sequence[QueryRule], told: Sequence[QueryRows], start_ns: int
    ) -> None:
        """What series there are; of queries whose absent series are 0 also since when, no more than are taken of an answer."""
        if len(self._told) > _TOLD_MAX:
            self._told.clear()
        self._told.update(key for one in told for key in one.keys)
        for rule, rows in zip(rules, told, strict=True):
            if rule.absent_is_zero and rule.kind not in SHARE_KINDS:
                known = {**self._known.get(rule.name, {}), **last_told([rows])}
                recent = sorted(
                    (-at_ns, key)
                    for key, at_ns in known.items()
                    if start_ns - at_ns <= KNOWN_FOR_NS
                )
                self._known[rule.name] = {
                    key: -at_ns for at_ns, key in recent[: rule.series_count_max]
                }

    def _columns(
        self, rule: QueryRule, rows: QueryRows, start_ns: int, *, lost_calls: bool
    ) -> MeasuredColumns:
        value, weight = rows.value, rows.weight
        unweighed = np.isnan(weight)
        told = np.isfinite(value)
        if lost_calls and rule.kind is not Kind.GAUGE:
            told &= ~unweighed
        weight = np.where(unweighed, 1.0 if rule.kind is Kind.GAUGE else ENOUGH_CALLS, weight)
        at = np.flatnonzero(told)
        keys = [rows.keys[number] for number in rows.key_index[at].tolist()]
        return MeasuredColumns(
            source=f"{self.name} {rule.name}",
            start_ns=start_ns,
            step_ns=self._windows.window_ns,
            keys=tuple(keys),
            value=value[at],
            weight=weight[at],
        )

    def _count(self, result: str, count: int = 1) -> None:
        if count:
            self._metrics.count("sentinel_queries_total", count, server=self.name, result=result)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return redact(str(error)) if isinstance(error, SentinelError) else type(error).__name__
