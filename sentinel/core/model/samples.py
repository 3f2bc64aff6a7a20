"""What every receiver and scraper hands inwards: one batch of samples, already in our words.

Calls (spans and requests) are columns, because there are many. Numbers, distributions and log records
are objects, because there are few a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model.calls import CallColumns, CallRows
from sentinel.core.model.measured import MeasuredColumns
from sentinel.core.model.scraped import ScrapedColumns
from sentinel.core.model.series import Scope, SeriesKey
from sentinel.core.model.streams import PointStream


class RejectReason(StrEnum):
    """Why a sample was not kept; fit to be a metric label."""

    NO_TIME = "no_time"
    FUTURE = "future"
    BEFORE_START = "before_start"
    TOO_LATE = "too_late"
    NOT_FINITE = "not_finite"
    NEGATIVE = "negative"
    TOO_LONG = "too_long"
    BAD_ID = "bad_id"
    BAD_SHAPE = "bad_shape"
    NO_TEMPORALITY = "no_temporality"
    OVERLAP = "overlap"
    NO_VALUE = "no_value"
    UNSUPPORTED = "unsupported"
    LIMIT = "limit"
    DUPLICATE = "duplicate"


class Temporality(IntEnum):
    """How a stream's numbers relate to time, with OTLP's values; GAUGE has none."""

    GAUGE = 0
    DELTA = 1
    CUMULATIVE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EventColumns:
    """n things that happened and are told one by one, as columns; they add up in any order.

    A series whose events have a value is their 95th percentile, any other their rate a second.

    Attributes:
        keys: the series they belong to; one that no event is of was looked at, and nothing happened.
        key_index: int32[n], position in `keys`.
        time_ns: int64[n], when each happened (Unix).
        value: float64[n], finite and >= 0; NaN where the event is only counted.
    """

    keys: tuple[SeriesKey, ...]
    key_index: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberPoint:
    """One number of one stream.

    Attributes:
        stream: identity that resets and overlaps are judged by.
        scope: place the resulting series has.
        signal: name of the resulting series' signal.
        temporality: GAUGE is taken as it is; DELTA and CUMULATIVE become a rate a second.
        monotonic: a falling cumulative value is a reset only when True.
        start_ns: start of the interval the number covers, 0 when unknown.
        time_ns: when the number was true.
        value: the number; finite.
        yields: True when a complete log of the calls of the same stage tells the same (`CallColumns.complete`); it is
            left out while that one comes.
    """

    stream: PointStream
    scope: Scope
    signal: str
    temporality: Temporality
    monotonic: bool
    start_ns: int
    time_ns: int
    value: float
    yields: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributionPoint:
    """One histogram of one stream, its buckets already mapped to log-linear ones.

    Attributes:
        stream, scope, signal, temporality, start_ns, time_ns: as for `NumberPoint`.
        bucket: int16[k], log-linear bucket numbers, ascending; `log_linear.UNTIMED` when values are not known.
        count: int64[k], observations in each.
        total: sum of the observed values, or NaN when the sender gave none.
        is_calls: True when the histogram measures the durations of calls, so that its count may be
            traffic and its values latency; False for any other distribution.
        error: True when the calls it counts failed.
        newer_signal: the metric that tells of the same calls under a newer name and is better where both come, or "".
        resolution: of its buckets; counts of one stream at two resolutions cannot be subtracted.
        times_only: True when other distributions of the same family and scope count the same calls, failed and not, and
            this one only knows how long they took.
        complete: True when it counts every call of its stage, so that spans, which may be sampled, stand back.
        of_page: True when it was read from a page of metrics; while that cannot be read nothing is known of it, though its
            service may be heard.
        yields: as for `NumberPoint`.
        bare: True when its 95th percentile alone is a series, under the signal as it stands; of what is not of calls.
        pending: True when it has no counts and only says that its stream goes on and was not read: what it gains is
            told later, so until then nothing is known of it. Of what is of calls.
    """

    stream: PointStream
    scope: Scope
    signal: str
    temporality: Temporality
    start_ns: int
    time_ns: int
    bucket: NDArray[np.int16]
    count: NDArray[np.int64]
    total: float
    is_calls: bool
    error: bool
    newer_signal: str = ""
    resolution: int = 0
    times_only: bool = False
    complete: bool = False
    of_page: bool = False
    yields: bool = False
    bare: bool = False
    pending: bool = False


class LoggedCall(NamedTuple):
    """A call that a log record tells of.

    Attributes:
        scope: its place.
        bucket: the log-linear bucket of its duration, `log_linear.UNTIMED` when that is not known.
        error: whether it failed.
    """

    scope: Scope
    bucket: int
    error: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """One log record.

    Attributes:
        service: who wrote it.
        time_ns: when it was written.
        severity: OTLP's severity number, 1-24, 0 when unset.
        event: the event's name, or "" when the record has none.
        body: the text, redacted and cut to a bound before it got here.
        trace_id: 32 hexadecimal digits, or "".
        call: the finished call it tells of, or None.
        gist: of a record without an event: its text without what varies, redacted; "" when it has none.
    """

    service: str
    time_ns: int
    severity: int
    event: str
    body: str
    trace_id: str = ""
    call: LoggedCall | None = None
    gist: str = ""


class LogKind(NamedTuple):
    """What log records are counted by.

    Attributes:
        service: who wrote them.
        severity: OTLP's severity number, 1-24, 0 when unset.
        event: the event's name, or "".
        gist: of records without an event: their text without what varies, redacted; or "".
        place: of the finished call each of them tells of, or None.
        error: whether those calls failed.
    """

    service: str
    severity: int
    event: str = ""
    gist: str = ""
    place: Scope | None = None
    error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogColumns:
    """n log records as columns, for sources that bring more than an object each would allow.

    Attributes:
        kinds: the distinct kinds of this batch.
        kind_index: int32[n], position in `kinds`.
        time_ns: int64[n], when each was written (Unix).
        bucket: int16[n], log-linear bucket of the duration of the call each tells of; `log_linear.UNTIMED` when
            that is not known or there is no call.
        noted: records among them whose text may be evidence, redacted; the columns count them already.
    """

    kinds: tuple[LogKind, ...]
    kind_index: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    bucket: NDArray[np.int16]
    noted: tuple[LogRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleBatch:
    """Everything one request or scrape brought.

    Attributes:
        calls: spans and requests, or None.
        call_rows: the same, when they are not columns yet, or None; a batch has one of the two at most.
        numbers: gauges and counters.
        distributions: histograms.
        logs: log records.
        events: what was told one by one and is no call.
        scraped: metrics pages, as columns.
        measured: values that another system worked out for whole windows.
        log_columns: more of them, as columns, or None.
        rejected: samples that could not be kept, by reason; the sender is told their number.
        services: the services heard in this batch, also when it brought no sample of theirs.
        versions: services heard with the version that they name, of those that name one.
        fingerprint: the same for a batch that was sent again because its answer was lost, or b"" when unknown.
        pulled: whether it was asked for, so that what is pushed may be missing without any of it being so.
    """

    calls: CallColumns | None = None
    call_rows: CallRows | None = None
    numbers: tuple[NumberPoint, ...] = ()
    distributions: tuple[DistributionPoint, ...] = ()
    logs: tuple[LogRecord, ...] = ()
    events: EventColumns | None = None
    scraped: tuple[ScrapedColumns, ...] = ()
    measured: tuple[MeasuredColumns, ...] = ()
    log_columns: LogColumns | None = None
    rejected: dict[RejectReason, int] = field(default_factory=dict)
    services: frozenset[str] = frozenset()
    versions: frozenset[tuple[str, str]] = frozenset()
    fingerprint: bytes = b""
    pulled: bool = False

    @property
    def call_count(self) -> int:
        """How many calls there are, in either form."""
        rows = 0 if self.call_rows is None else len(self.call_rows)
        return rows if self.calls is None else rows + len(self.calls.end_ns)

    @property
    def sample_count(self) -> int:
        """How many samples were kept; events are what calls and records say besides."""
        logged = len(self.logs)
        if self.log_columns is not None:
            logged += len(self.log_columns.time_ns)
        scraped = sum(len(columns.value) for columns in self.scraped)
        scraped += sum(len(columns.value) for columns in self.measured)
        return self.call_count + len(self.numbers) + len(self.distributions) + logged + scraped

    @property
    def rejected_count(self) -> int:
        """How many samples were not kept."""
        return sum(self.rejected.values())

    def in_columns(self, *, now_ns: int) -> SampleBatch:
        """The same with its calls as columns; `now_ns` is when it was received."""
        rows = self.call_rows
        if rows is None:
            return self
        return replace(self, calls=rows.table.columns([rows], now_ns=now_ns), call_rows=None)
