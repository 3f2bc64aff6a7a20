"""Answers in, readings out, and readings to a batch: what one server said, in our words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from sentinel.core.model import (
    DistributionPoint,
    NumberPoint,
    PointStream,
    SampleBatch,
    Scope,
    Temporality,
)
from sentinel.core.normalise.postgres import subjects
from sentinel.core.normalise.postgres.chosen import Chosen
from sentinel.core.normalise.postgres.gains import Gains
from sentinel.core.normalise.postgres.readings import Reading, Rows, Transactions
from sentinel.core.normalise.postgres.reduce import levels_of
from sentinel.core.normalise.postgres.shapes import SHAPES
from sentinel.core.stats import log_linear

STAGE = "database"


class PostgresReader:
    """What is remembered of one server between its answers."""

    def __init__(
        self,
        *,
        statement_count: int,
        table_count: int,
        rollbacks_are_errors: bool | None = None,
    ) -> None:
        """Begin knowing nothing.

        Args:
            statement_count: of so many statements there are series, and of up to twice as many of the last hour.
            table_count: the same of tables, for each list of them in each database.
            rollbacks_are_errors: None for yes, unless it is the habit of a database's clients.
        """
        self._gains = Gains()
        self._table_count = table_count
        self._rollbacks_are_errors = rollbacks_are_errors
        self._tables: dict[str, Chosen] = {}
        self.statements = subjects.Statements(statement_count)

    def read(self, subject: str, rows: Rows, *, now_ns: int, database: str = "") -> Reading:
        """What the rows of a subject come to; KeyError for one that is not known.

        Rows are those of the queries of `sentinel.scrapers.postgres`; `database` is the one they were asked in.
        """
        gains = self._gains
        if subject == "connections":
            return subjects.connections(rows)
        if subject == "replication":
            return subjects.replication(rows, gains, now_ns=now_ns)
        if subject == "slots":
            return subjects.slots(rows, gains, now_ns=now_ns)
        if subject == "tables":
            chosen = self._tables.setdefault(database, Chosen(2 * self._table_count))
            return subjects.tables(rows, gains, chosen, now_ns=now_ns)
        if subject == "statements":
            return self.statements.read()
        levels = levels_of(subject, SHAPES[subject], rows, gains, now_ns=now_ns)
        hidden = any(row.get("hidden") for row in rows)
        missing = "only sessions of its own role are seen" if hidden else ""
        return Reading(levels=tuple(levels), missing=missing)

    def choose_statements(self, rows: Rows, *, now_ns: int) -> tuple[int, ...]:
        """The `queryid`s whose texts are to be learned before statements are read."""
        self.statements.choose(rows, self._gains, now_ns=now_ns)
        return self.statements.unknown

    def read_databases(
        self, rows: Rows, *, now_ns: int, own: Mapping[str, tuple[int, int]]
    ) -> Reading:
        """The databases; `own` says how many transactions of each were our own, committed and rolled back."""
        return subjects.databases(
            rows,
            self._gains,
            now_ns=now_ns,
            own=own,
            rollbacks_are_errors=self._rollbacks_are_errors,
        )

    def own_cost_ratio(self, exec_ms: float, *, now_ns: int) -> float | None:
        """Seconds a second that the server spent on us, from its own count of our milliseconds; None the first time."""
        gain = self._gains.of(("own_cost",), exec_ms, now_ns=now_ns)
        return None if gain is None else gain.per_s / 1000.0

    def forget(self) -> None:
        """Begin anew with every counter: another server may answer now."""
        self._gains.forget()


def batch_of(
    readings: Iterable[Reading],
    transactions: Iterable[Transactions],
    *,
    service: str,
    now_ns: int,
    pending: Iterable[str] = (),
) -> SampleBatch:
    """Everything that is known of a server now, as one batch that names its service as heard.

    `pending` are databases whose transactions were not asked for: those since the last answer are told with the next.
    """
    numbers = tuple(
        NumberPoint(
            stream=PointStream((service, level.route, level.signal)),
            scope=Scope(service, STAGE, level.route),
            signal=level.signal,
            temporality=Temporality.GAUGE,
            monotonic=False,
            start_ns=0,
            time_ns=now_ns,
            value=level.value,
        )
        for reading in readings
        for level in reading.levels
    )
    calls = [
        _transactions(
            service, one.route, failed=failed, start_ns=one.start_ns, now_ns=now_ns, count=count
        )
        for one in transactions
        for failed, count in ((False, one.succeeded), (True, one.failed))
    ]
    calls += [
        _transactions(service, route, failed=failed, start_ns=0, now_ns=now_ns, count=None)
        for route in pending
        for failed in (False, True)
    ]
    return SampleBatch(numbers=numbers, distributions=tuple(calls), services=frozenset({service}))


def _transactions(
    service: str, route: str, *, failed: bool, start_ns: int, now_ns: int, count: int | None
) -> DistributionPoint:
    """A database's transactions since `start_ns`; without a count they are still to come."""
    is_told = count is not None
    return DistributionPoint(
        # One family a database: each is counted from its own answers.
        stream=PointStream((service, route, "transactions", "", failed)),
        scope=Scope(service, STAGE, route),
        signal="transactions",
        temporality=Temporality.DELTA,
        start_ns=start_ns,
        time_ns=now_ns,
        bucket=np.array([log_linear.UNTIMED] if is_told else [], np.int16),
        count=np.array([count] if is_told else [], np.int64),
        total=math.nan,
        is_calls=True,
        error=failed,
        pending=not is_told,
    )
