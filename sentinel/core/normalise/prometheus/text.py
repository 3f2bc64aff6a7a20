"""Metrics pages as text: learned line by line once, then read by their layout.

Put up with, unless asked to be strict, is what exporters in use do: metrics whose lines are not together, a TYPE that comes after
its samples or twice, empty lines, a last line without its newline, lines that make no sense among others that do.
Never put up with: an OpenMetrics page that does not end with `# EOF`, because it was cut off, and a page of
which most lines make no sense, because it is something else.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import DistributionPoint, RejectReason, ScrapedColumns
from sentinel.core.normalise.histogram_map import ExplicitMap
from sentinel.core.normalise.page_settings import PageLimits
from sentinel.core.normalise.prometheus.cells import PageCells, nanoseconds_of
from sentinel.core.normalise.prometheus.families import Role, belonging_of
from sentinel.core.normalise.prometheus.grammar import description_of, series_of
from sentinel.core.normalise.prometheus.layout import FAULTS_MAX, Layout, Lines, PageValues
from sentinel.core.normalise.prometheus.placing import MetricType, Placing
from sentinel.core.normalise.prometheus.streams import (
    NOTHING,
    Meaning,
    PageStreams,
    Part,
    RefusedSampleError,
)
from sentinel.errors import MalformedInputError

_LINE_BYTES_MAX = 64 * 1024
_TIME_MAX_S = 9e9


@dataclass(slots=True)
class PageRead:
    """What a page brought.

    Attributes:
        scraped, distributions: its samples.
        rejected: those that were not kept, by reason.
        faults: what made no sense, the first few.
        families: the metrics it describes, by name.
        services: whose samples they are.
    """

    scraped: tuple[ScrapedColumns, ...] = ()
    distributions: tuple[DistributionPoint, ...] = ()
    rejected: Counter[RejectReason] = field(default_factory=Counter)
    faults: tuple[str, ...] = ()
    families: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()


class TextReader:
    """Reads the text pages of one target; what it remembers of them is bounded by the limits of a page."""

    def __init__(
        self,
        target: str,
        placing: Placing,
        *,
        limits: PageLimits,
        strict: bool,
        honour_timestamps: bool,
    ) -> None:
        self._target = target
        self._placing = placing
        self._limits = limits
        self._strict = strict
        self._honour_timestamps = honour_timestamps
        self._bounds = ExplicitMap()
        self._streams = PageStreams(target, placing, limits)
        self._known: dict[bytes, Meaning] = {}
        self._types: dict[str, MetricType] = {}
        self._layout: Layout | None = None
        self._services: frozenset[str] = frozenset()

    def read(self, body: bytes, *, openmetrics: bool, time_ns: int) -> PageRead:
        """What a page brought.

        Raises:
            MalformedInputError: it breaks a rule that is not put up with; the message names the line.
        """
        layout, values = self._layout, None
        if layout is not None and layout.openmetrics == openmetrics:
            values = layout.values(body, strict=self._strict)
        if values is None:
            self._layout = None
            layout = self._learn(body.split(b"\n"), openmetrics=openmetrics)
            values = layout.values(body, strict=self._strict)
            assert values is not None, "a page is laid out as it was learned"
            self._layout = layout
        assert layout is not None, "values were read by it"
        return self._page(layout, values, time_ns)

    def _page(self, layout: Layout, values: PageValues, time_ns: int) -> PageRead:
        rejected = Counter(layout.rejected)
        if values.wrong:
            right_count = len(layout.heads) - len(values.wrong)
            wrong_count = layout.wrong_count + len(values.wrong)
            _refuse_most(layout.faults + values.faults, wrong_count, right_count)
            rejected[RejectReason.BAD_SHAPE] += len(values.wrong)
            # A number that was no text of one is not counted as one that is not finite besides.
            rejected[RejectReason.NOT_FINITE] -= layout.cells.number_count(values.wrong)
        times_ns: NDArray[np.int64] | None = None
        if self._honour_timestamps and values.timestamp is not None:
            times_ns = _times_of(
                values.timestamp, time_ns, per_second=1.0 if layout.openmetrics else 1e3
            )
        scraped, points = layout.cells.columns(
            values.value,
            times_ns,
            time_ns=time_ns,
            is_whole=layout.is_whole and not values.wrong,
            rejected=rejected,
        )
        return PageRead(
            scraped=scraped,
            distributions=points,
            rejected=+rejected,
            faults=tuple((layout.faults + values.faults)[:FAULTS_MAX]),
            families=layout.families,
            services=self._services,
        )

    def _learn(self, lines: Lines, *, openmetrics: bool) -> Layout:
        if len(self._known) > len(lines) + self._limits.sample_count_max:
            self._known.clear()
        if self._streams.size > 2 * self._limits.sample_count_max + 2 * len(lines):
            # Most of what it knows is gone from the pages. What is still there moves to a new one.
            self._streams = PageStreams(self._target, self._placing, self._limits)
            self._known.clear()
        learning = _Learning(
            self._streams, self._known, strict=self._strict, openmetrics=openmetrics
        )
        types = learning.types(lines)
        if types != self._types:
            # A sample's metric is found by what is described, so that what was known of it may be wrong.
            self._known.clear()
            self._types = types
        learning.samples(lines, types, sample_count_max=self._limits.sample_count_max)
        cells = PageCells(self._streams, learning.meanings, self._bounds)
        if cells.bad_shape_count:
            learning.rejected[RejectReason.BAD_SHAPE] += cells.bad_shape_count
        self._services = cells.services()
        return Layout(
            line_count=len(lines),
            heads=learning.heads,
            sample_lines=learning.sample_lines,
            fixed_lines=learning.fixed_lines,
            fixed=tuple(lines[at] for at in learning.fixed_lines),
            cells=cells,
            rejected=learning.rejected,
            faults=learning.faults,
            wrong_count=learning.wrong_count,
            families=frozenset(types),
            is_whole=not (learning.wrong_count or learning.rejected[RejectReason.LIMIT]),
            openmetrics=openmetrics,
        )


class _Learning:
    """One page, line by line."""

    def __init__(
        self,
        streams: PageStreams,
        known: dict[bytes, Meaning],
        *,
        strict: bool,
        openmetrics: bool,
    ) -> None:
        self._streams = streams
        self._known = known
        self._strict = strict
        self._openmetrics = openmetrics
        self._given: set[Meaning] = set()
        self._typed_at: dict[str, int] = {}
        self.heads: list[bytes] = []
        self.meanings: list[Meaning] = []
        self.sample_lines: list[int] = []
        self.fixed_lines: list[int] = []
        self.rejected: Counter[RejectReason] = Counter()
        self.faults: list[str] = []
        self.wrong_count = 0

    def types(self, lines: Lines) -> dict[str, MetricType]:
        """What is described, wherever on the page."""
        types: dict[str, MetricType] = {}
        ended = False
        for at, line in enumerate(lines):
            if not line.startswith(b"#"):
                continue
            if line.rstrip(b"\r") == b"# EOF":
                ended = True
                if self._openmetrics and b"".join(lines[at + 1 :]):
                    self._fault(at + 1, "there is something after # EOF")
                continue
            try:
                description = description_of(line.decode("utf-8", "replace"))
            except MalformedInputError as error:
                self._fault(at, str(error))
                continue
            if description is None and self._openmetrics and self._strict:
                self._fault(at, "only TYPE, HELP, UNIT and EOF may follow #")
            if description is None or description.type is None:
                continue
            if description.name in types and self._strict:
                self._fault(at, f"TYPE of {description.name[:80]} is there twice")
            types.setdefault(description.name, description.type)
            self._typed_at.setdefault(description.name, at)
        if self._openmetrics and not ended:
            msg = f"line {len(lines)}: the page does not end with # EOF"
            raise MalformedInputError(msg)
        if self._strict and lines[-1] != b"":
            self._fault(len(lines) - 1, "the last line does not end")
        return types

    def samples(
        self, lines: Lines, types: dict[str, MetricType], *, sample_count_max: int
    ) -> None:
        """Find out what each sample is; what is known first, so that it is not put out by what is new."""
        found: dict[int, tuple[bytes, Meaning]] = {}
        unknown: list[int] = []
        for at, line in enumerate(lines):
            if not line.strip() or line.lstrip(b" \t").startswith(b"#"):
                if self._strict and self._openmetrics and not line and at + 1 < len(lines):
                    self._fault(at, "an empty line")
                continue
            head = line[: line.rfind(b" ") + 1]
            meaning = self._known.get(head)
            if meaning is None:
                unknown.append(at)
            else:
                found[at] = (head, meaning)
        left = sample_count_max - sum(
            meaning.part in (Part.NUMBER, Part.QUANTILE, Part.BUCKET)
            for _, meaning in found.values()
        )
        # Lines far beyond what is taken are not looked at: learning them would cost more than a page may.
        looked_at = 2 * sample_count_max
        for number, at in enumerate(unknown):
            if number >= looked_at:
                self.rejected[RejectReason.LIMIT] += len(unknown) - number
                found.update(
                    (each, (lines[each][: lines[each].rfind(b" ") + 1], NOTHING))
                    for each in unknown[number:]
                )
                break
            taken = self._look_at(at, lines[at], types, room=left > 0)
            if taken is not None:
                found[at] = taken
                left -= taken[1].part in (Part.NUMBER, Part.QUANTILE, Part.BUCKET)
        if self._strict:
            self._check_together(lines, found, types)
        self._lay_out(lines, found)
        _refuse_most(self.faults, self.wrong_count, len(found))

    def _look_at(
        self, at: int, line: bytes, types: dict[str, MetricType], *, room: bool
    ) -> tuple[bytes, Meaning] | None:
        """A line's head and meaning, or None when it makes no sense."""
        try:
            if len(line) > _LINE_BYTES_MAX:
                self.rejected[RejectReason.LIMIT] += 1
                return line[: line.rfind(b" ") + 1], NOTHING
            text = line.decode("utf-8", "strict" if self._strict else "replace")
            series = series_of(text)
        except (MalformedInputError, UnicodeDecodeError) as error:
            self._fault(at, _reason_of(error))
            return None
        tail = text[series.value_at :].encode()
        if not line.endswith(tail):
            self._fault(at, "there is no value")
            return None
        head = line[: len(line) - len(tail)]
        meaning = self._known.get(head)
        if meaning is not None:
            return head, meaning
        try:
            meaning = self._streams.meaning(
                belonging_of(series.name, types), series.labels, room=room
            )
        except RefusedSampleError as refusal:
            self.rejected[refusal.reason] += 1
            return head, NOTHING
        self._known[head] = meaning
        return head, meaning

    def _lay_out(self, lines: Lines, found: dict[int, tuple[bytes, Meaning]]) -> None:
        for at in range(len(lines)):
            if at not in found:
                self.fixed_lines.append(at)
                continue
            head, meaning = found[at]
            if meaning.part is not Part.NOTHING:
                # A series that is there twice: the first one counts, as for Prometheus.
                if meaning in self._given:
                    self.rejected[RejectReason.DUPLICATE] += 1
                    if self._strict:
                        self._fault(at, "the series is there twice")
                    meaning = NOTHING
                self._given.add(meaning)
            self.heads.append(head)
            self.meanings.append(meaning)
            self.sample_lines.append(at)

    def _check_together(
        self,
        lines: Lines,
        found: dict[int, tuple[bytes, Meaning]],
        types: dict[str, MetricType],
    ) -> None:
        """Refuse metrics whose lines are not together, or begin before their TYPE."""
        ended: set[str] = set()
        family = ""
        for at in sorted(found):
            try:
                name = series_of(lines[at].decode()).name
            except (MalformedInputError, UnicodeDecodeError) as error:
                self._fault(at, _reason_of(error))
                continue
            belonging = belonging_of(name, types)
            if belonging.role is Role.CREATED and belonging.family in ended:
                continue
            if self._typed_at.get(belonging.family, -1) > at:
                self._fault(at, f"a sample of {name[:80]} before its TYPE")
            if belonging.family != family:
                if belonging.family in ended:
                    self._fault(at, f"the lines of {belonging.family[:80]} are not together")
                ended.add(family)
                family = belonging.family

    def _fault(self, at: int, reason: str) -> None:
        fault = f"line {at + 1}: {reason}"
        if self._strict:
            raise MalformedInputError(fault)
        self.rejected[RejectReason.BAD_SHAPE] += 1
        self.wrong_count += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(fault)


def _reason_of(error: MalformedInputError | UnicodeDecodeError) -> str:
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _refuse_most(faults: list[str], wrong_count: int, right_count: int) -> None:
    if wrong_count > right_count:
        msg = f"this is no metrics page: {faults[0]}"
        raise MalformedInputError(msg)


def _times_of(
    timestamp: NDArray[np.float64], time_ns: int, *, per_second: float
) -> NDArray[np.int64]:
    """When each sample was true: its own time where it has a sane one, else that of the page."""
    seconds = timestamp / per_second
    sane = (seconds > 0) & (seconds < _TIME_MAX_S)
    return np.where(sane, nanoseconds_of(np.where(sane, seconds, 0.0)), time_ns)
