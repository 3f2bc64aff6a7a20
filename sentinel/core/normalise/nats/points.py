"""Points and lines of NATS: names numbered once, totals of our own, and what one poll gathers as columns.

A poll says the same of the same streams and consumers again and again, five thousand numbers where there are five hundred consumers.
So a series is looked at when it is new, and is a number in the service's table from then on (`model.scraped`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    NO_BUCKET,
    LogRecord,
    NumberPoint,
    Placed,
    PointStream,
    Reading,
    Scope,
    ScrapedColumns,
    StreamTable,
    Temporality,
)
from sentinel.core.normalise.labels import label_of

STAGE_QUEUE = "queue"
INFO, WARN, ERROR, FATAL = 9, 13, 17, 21
LINES_MAX = 32

_NAMES_MAX = 20_000
_NOTHING: NDArray[np.int32] = np.empty(0, np.int32)


class Points:
    """The names of one service's series, and the totals it counts itself; all of it bounded."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._totals: dict[tuple[str, str], float] = {}
        self._scopes: dict[str, Scope] = {}
        self._labels: dict[str, str] = {}
        self._table = StreamTable(f"nats {service}")
        self._cells: dict[tuple[str, str, str], int] = {}
        self._last_cells = _NOTHING
        self._last_buckets: NDArray[np.int16] = np.empty(0, np.int16)

    def label(self, name: str) -> str:
        """A name of theirs as part of a route."""
        label = self._labels.get(name)
        if label is None:
            if len(self._labels) >= _NAMES_MAX:
                self._labels.clear()
            label = self._labels[name] = label_of(name)
        return label

    def identity(self, route: str, signal: str, source: str = "") -> PointStream:
        """What numbers are compared by: not the target, so that of two targets that tell of one asset the later counts."""
        return PointStream(("nats", self.service, route, signal, source))

    def scope(self, route: str) -> Scope:
        """The place of a route."""
        known = self._scopes.get(route)
        if known is None:
            if len(self._scopes) >= _NAMES_MAX:
                self._scopes.clear()
            known = self._scopes[route] = Scope(self.service, STAGE_QUEUE, route)
        return known

    def total(self, route: str, signal: str, gained: float) -> float:
        """What was gained since we began, with this."""
        if (route, signal) not in self._totals and len(self._totals) >= _NAMES_MAX:
            # Names that come and go for ever: what is still there begins anew, and looks like a counter that was reset.
            self._totals.clear()
        total = self._totals[route, signal] = self._totals.get((route, signal), 0.0) + gained
        return total

    def begin(self) -> None:
        """Begin a poll; when too many series are gone, with a new table, in which those that stay are the same."""
        if self._table.stream_count > _NAMES_MAX:
            self._table = StreamTable(self._table.target)
            self._cells.clear()
            self._last_cells = _NOTHING

    def cell(self, route: str, signal: str, reading: Reading, source: str = "") -> int:
        """The number of a series in the table."""
        known = self._cells.get((route, signal, source))
        if known is None:
            placed = Placed(scope=self.scope(route), signal=signal, reading=reading)
            stream = self._table.add_stream(self.identity(route, signal, source), placed)
            known = self._cells[route, signal, source] = int(self._table.first_cell[stream])
        return known

    def columns(
        self, values: dict[int, float], starts_ns: dict[int, int], now_ns: int
    ) -> ScrapedColumns:
        """A poll's numbers by cell; which cells they are is the same object for as long as they are the same."""
        cells = np.fromiter(values.keys(), np.int32, len(values))
        order = np.argsort(cells)
        cells = cells[order]
        if not np.array_equal(cells, self._last_cells):
            self._last_cells = cells
            self._last_buckets = np.full(len(cells), NO_BUCKET, np.int16)
        start_ns = np.zeros(len(cells), np.int64)
        if starts_ns:
            told = np.fromiter(starts_ns.keys(), np.int32, len(starts_ns))
            at = np.searchsorted(cells, told)
            start_ns[at] = np.fromiter(starts_ns.values(), np.int64, len(starts_ns))
        return ScrapedColumns(
            table=self._table,
            time_ns=now_ns,
            cell=self._last_cells,
            bucket=self._last_buckets,
            value=np.fromiter(values.values(), np.float64, len(values))[order],
            start_ns=start_ns,
            # Other targets tell of other servers of the same service, and what has no leader is missing.
            is_whole=False,
        )


class Round:
    """What one poll gathers; every number carries its moment."""

    def __init__(self, points: Points, now_ns: int) -> None:
        self.now_ns = now_ns
        self.numbers: list[NumberPoint] = []
        self.lines: list[LogRecord] = []
        self.left_out = 0
        self.unled = 0
        self.cluster_size = 0
        self._points = points
        self._values: dict[int, float] = {}
        self._starts_ns: dict[int, int] = {}
        points.begin()

    def gauge(self, route: str, signal: str, value: float, *, source: str = "") -> None:
        """A number that is true now; with a source, of it alone. Said twice, the later counts."""
        self._values[self._points.cell(route, signal, Reading.LEVEL, source)] = value

    def counter(self, route: str, signal: str, value: float, *, start_ns: int = 0) -> None:
        """A number that only grows, since `start_ns`; it becomes a rate."""
        cell = self._points.cell(route, signal, Reading.RATE)
        self._values[cell] = value
        if start_ns:
            self._starts_ns[cell] = start_ns

    def columns(self) -> tuple[ScrapedColumns, ...]:
        """All gauges and counters, if there are any."""
        if not self._values:
            return ()
        return (self._points.columns(self._values, self._starts_ns, self.now_ns),)

    def add_total(self, route: str, signal: str, gained: float) -> None:
        """A counter of our own, so that no restart of theirs is a fall."""
        self.counter(route, signal, self._points.total(route, signal, gained))

    def increase(self, route: str, signal: str, gained: float, *, since_ns: int) -> None:
        """What was gained since an instant."""
        self.numbers.append(
            NumberPoint(
                stream=self._points.identity(route, signal),
                scope=self._points.scope(route),
                signal=signal,
                temporality=Temporality.DELTA,
                monotonic=True,
                start_ns=since_ns,
                time_ns=self.now_ns,
                value=gained,
            )
        )

    def line(self, event: str, severity: int, body: str, *, time_ns: int | None = None) -> bool:
        """A line for people; whether there was room for it."""
        if len(self.lines) >= LINES_MAX:
            return False
        self.lines.append(
            LogRecord(
                service=self._points.service,
                time_ns=time_ns or self.now_ns,
                severity=severity,
                event=event,
                body=body,
            )
        )
        return True
