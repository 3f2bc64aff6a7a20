"""Points and lines of NATS: names made once, totals of our own, and what one poll gathers."""

from __future__ import annotations

from sentinel.core.model import LogRecord, NumberPoint, PointStream, Scope, Temporality
from sentinel.core.normalise.labels import label_of

STAGE_QUEUE = "queue"
INFO, WARN, ERROR, FATAL = 9, 13, 17, 21
LINES_MAX = 32

_NAMES_MAX = 20_000


class Points:
    """The names of one service's series, and the totals it counts itself; all of it bounded."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._totals: dict[tuple[str, str], float] = {}
        self._scopes: dict[str, Scope] = {}
        self._streams: dict[tuple[str, str], PointStream] = {}
        self._labels: dict[str, str] = {}

    def label(self, name: str) -> str:
        """A name of theirs as part of a route."""
        label = self._labels.get(name)
        if label is None:
            if len(self._labels) >= _NAMES_MAX:
                self._labels.clear()
            label = self._labels[name] = label_of(name)
        return label

    def stream(self, route: str, signal: str, source: str = "") -> PointStream:
        """What points are compared by: not the target, so that of two targets that tell of one asset the later counts."""
        if source:
            return PointStream(("nats", self.service, route, signal, source))
        known = self._streams.get((route, signal))
        if known is None:
            if len(self._streams) >= _NAMES_MAX:
                self._streams.clear()
            known = PointStream(("nats", self.service, route, signal))
            self._streams[route, signal] = known
        return known

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


class Round:
    """What one poll gathers; every point carries its moment."""

    def __init__(self, points: Points, now_ns: int) -> None:
        self.now_ns = now_ns
        self.numbers: list[NumberPoint] = []
        self.lines: list[LogRecord] = []
        self.left_out = 0
        self.unled = 0
        self.cluster_size = 0
        self._points = points

    def gauge(self, route: str, signal: str, value: float, *, source: str = "") -> None:
        """A number that is true now; with a source, of it alone."""
        self.numbers.append(
            NumberPoint(
                stream=self._points.stream(route, signal, source),
                scope=self._points.scope(route),
                signal=signal,
                temporality=Temporality.GAUGE,
                monotonic=False,
                start_ns=0,
                time_ns=self.now_ns,
                value=value,
            )
        )

    def counter(self, route: str, signal: str, value: float, *, start_ns: int = 0) -> None:
        """A number that only grows, since `start_ns`; it becomes a rate."""
        self.numbers.append(
            NumberPoint(
                stream=self._points.stream(route, signal),
                scope=self._points.scope(route),
                signal=signal,
                temporality=Temporality.CUMULATIVE,
                monotonic=True,
                start_ns=start_ns,
                time_ns=self.now_ns,
                value=value,
            )
        )

    def add_total(self, route: str, signal: str, gained: float) -> None:
        """A counter of our own, so that no restart of theirs is a fall."""
        self.counter(route, signal, self._points.total(route, signal, gained))

    def increase(self, route: str, signal: str, gained: float, *, since_ns: int) -> None:
        """What was gained since an instant."""
        self.numbers.append(
            NumberPoint(
                stream=self._points.stream(route, signal),
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
