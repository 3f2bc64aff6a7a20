"""Every number that decides about incidents and pages, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from sentinel.core.model import SeriesKey, SeriesPattern, Severity

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS


class GuardDirection(StrEnum):
    """On which side of its limit a gauge is wrong."""

    HIGH = "high"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class GaugeGuard:
    """A limit that some gauges must keep whatever was learned of them.

    Attributes:
        series: which; of several guards that match a series the first holds.
        limit: it is broken at this value and beyond it, ...
        direction: ... which is above or below, ...
        window_count: ... for so many windows with a value in a row.
        consequence: what comes of it, as the page says it; "" for nothing.
    """

    series: SeriesPattern
    limit: float
    direction: GuardDirection = GuardDirection.HIGH
    window_count: int = 3
    consequence: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.limit):
            msg = "the limit of a gauge must be finite"
            raise ValueError(msg)
        if self.window_count < 1:
            msg = "a guard needs at least one window"
            raise ValueError(msg)

    def matches(self, key: SeriesKey) -> bool:
        """Whether the guard is about the series."""
        return self.series.matches(key)

    @property
    def clause(self) -> str:
        """What it says once it is broken: the same for every series and value, so that it is told once.

        >>> GaugeGuard(series=SeriesPattern(signal="xid_age_ratio"), limit=0.75, consequence="writes stop at 1").clause
        'at least 0.75, and writes stop at 1'
        """
        side = "at least" if self.direction is GuardDirection.HIGH else "at most"
        return f"{side} {self.limit:g}" + (f", and {self.consequence}" if self.consequence else "")


GAUGE_GUARDS = (
    GaugeGuard(
        series=SeriesPattern(signal="connections_used_ratio"),
        limit=0.9,
        window_count=6,
        consequence="at 1 new clients are refused",
    ),
    GaugeGuard(
        series=SeriesPattern(signal="clients_refused_count"),
        limit=1.0,
        window_count=2,
        consequence="clients are refused now",
    ),
    GaugeGuard(
        # `vacuum_failsafe_age` is 1.6 of 2.1 thousand million: there PostgreSQL itself drops everything else for it.
        series=SeriesPattern(signal="*xid_age_ratio"),
        limit=0.75,
        window_count=2,
        consequence="at 1 the database takes no more writes",
    ),
    GaugeGuard(
        series=SeriesPattern(signal="slots_at_risk_count"),
        limit=1.0,
        window_count=2,
        consequence="a replica has lost the log it needs, or is about to",
    ),
    GaugeGuard(
        series=SeriesPattern(signal="inactive_slot_retained_bytes"),
        limit=32.0 * 2**30,
        window_count=12,
        consequence="nothing reads the log that it keeps on the disk",
    ),
    GaugeGuard(
        series=SeriesPattern(signal="archiver_failing_count"),
        limit=1.0,
        window_count=30,
        consequence="the log is kept on the disk until archiving works",
    ),
    GaugeGuard(
        # Servers elect a leader within seconds; nothing can be written to what has had none for a minute, nor be read from it.
        series=SeriesPattern(stage="queue", signal="*_leaderless_count"),
        limit=1.0,
        window_count=6,
        consequence="nothing can be stored or delivered without a leader",
    ),
    GaugeGuard(
        series=SeriesPattern(stage="queue", signal="server_store_ratio"),
        limit=0.95,
        window_count=6,
        consequence="at 1 streams on this server take no more messages",
    ),
    GaugeGuard(
        series=SeriesPattern(stage="queue", signal="server_store_memory_ratio"),
        limit=0.95,
        window_count=6,
        consequence="at 1 streams in memory take no more messages",
    ),
    GaugeGuard(
        series=SeriesPattern(stage="queue", signal="stream_lost_count"),
        limit=1.0,
        window_count=2,
        consequence="messages were lost by damage to the store",
    ),
)
"""Limits at which a person is needed on any system; what is only unusual is left to what is learned (decision 0032)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """Static limits that hold from the first minute, whatever the baseline thinks.

    Attributes:
        enabled: False leaves every decision to the baseline, as a replay of plain series does.
        error_ratio: this share of failed calls or more, ...
        error_failed_count: ... with so many failed calls in the run of windows, ...
        error_window_count: ... for so many windows in a row.
        latency_s: a 95th percentile of this or more, ...
        latency_call_count: ... with so many calls in the run of windows, ...
        latency_window_count: ... for so many windows in a row.
        stopped_rate_per_s: before anything is expected of it, traffic that was at least this, ...
        stopped_after_ns: ... for this long, ...
        stopped_window_count: ... and then was zero for so many windows while its source is heard.
        stop_evidence: where calls are expected, zero traffic has stopped when the chance of so long a pause is
            below exp(-this): 1 in 100 million, so that not one of 1000 routes pages by chance in a year.
        pause_ratio: in either case it has not while the pause is no longer than this times one that is usual.
        backlog_ratio: after a stop so many times the missed calls may come late before a rise is news, ...
        backlog_min_ns, backlog_max_ns: ... for as long as the stop lasted, within these.
        blind_after_ns: a source that is not heard for this long, ...
        blind_heard_ns: ... after it had been heard this long, is blind.
        forget_after_ns: a source not heard for this long is no longer watched.
        gauges: limits of gauges.
    """

    enabled: bool = True
    error_ratio: float = 0.5
    error_failed_count: float = 10.0
    error_window_count: int = 2
    latency_s: float = 5.0
    latency_call_count: float = 10.0
    latency_window_count: int = 3
    stopped_rate_per_s: float = 1.0
    stopped_after_ns: int = 5 * MINUTE_NS
    stopped_window_count: int = 6
    stop_evidence: float = 18.4
    pause_ratio: float = 1.5
    backlog_ratio: float = 1.5
    backlog_min_ns: int = 5 * MINUTE_NS
    backlog_max_ns: int = 30 * MINUTE_NS
    blind_after_ns: int = MINUTE_NS
    blind_heard_ns: int = 5 * MINUTE_NS
    forget_after_ns: int = 24 * HOUR_NS
    gauges: tuple[GaugeGuard, ...] = GAUGE_GUARDS

    def __post_init__(self) -> None:
        if not 0.0 < self.error_ratio <= 1.0:
            msg = f"error_ratio must be above 0 and at most 1, not {self.error_ratio}"
            raise ValueError(msg)
        if min(self.error_window_count, self.latency_window_count, self.stopped_window_count) < 1:
            msg = "a guard needs at least one window"
            raise ValueError(msg)
        if self.latency_s <= 0 or self.stopped_rate_per_s <= 0 or self.blind_after_ns <= 0:
            msg = "latency_s, stopped_rate_per_s and blind_after_ns must be above 0"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentSettings:
    """When an incident ends, when it pages again, and how a page reads.

    Attributes:
        hold_ns, hold_window_count: an incident resolves when all of it was quiet for the longer of both.
        adopt_after_ns: what an incident shows is the new normal when it is still so after this long.
        blind_clear_ns: a blind source is heard again when it was heard this long.
        gauge_severity: severity of an incident made of gauges only; traffic, errors and latency are what
            users feel and always page.
        confirm_drops: a fall of traffic opens an incident only when the source is heard in the next
            window too, so that a source that died inside a window is blind and not "low".
        after_silence_window_count: a fall of traffic that begins as its source comes back after a silence counts when it
            was seen in so many windows; the first ones are seen only in part.
        worsen_score_ratio: a score this many times the last paged one pages again; 0 turns it off.
        worsen_stages: whether a new stage pages again.
        worsen_gap_ns: at most one such page in this time; a kind of guard that no page has told of waits for nothing.
        reminder_ns, reminder_window_count: first reminder after the longer of both.
        reminder_growth: each later reminder waits this many times longer.
        page_count_max_per_minute: more pages than this in a minute are held and listed on one summary page.
        members_max: at most so many series are listed on an incident, strangest first.
        zone_name: name of the zone times are shown in beside UTC, "" for UTC only.
        zone_offsets: (from this instant, offset from UTC in seconds), ascending.
        next_steps: what to type next; `{incident_id}`, `{service}` and `{trace_id}` are filled in, and a line
            whose placeholder has nothing to say is left out.
        runbooks_url: where the runbooks are served, without a slash at the end; "" when nowhere.
        guards: the static limits.
    """

    hold_ns: int = 30 * MINUTE_NS
    hold_window_count: int = 3
    adopt_after_ns: int = 24 * HOUR_NS
    blind_clear_ns: int = MINUTE_NS
    gauge_severity: Severity = Severity.TICKET
    confirm_drops: bool = True
    after_silence_window_count: int = 3
    worsen_score_ratio: float = 2.0
    worsen_stages: bool = True
    worsen_gap_ns: int = 5 * MINUTE_NS
    reminder_ns: int = 4 * HOUR_NS
    reminder_window_count: int = 12
    reminder_growth: int = 3
    page_count_max_per_minute: int = 10
    members_max: int = 50
    zone_name: str = ""
    zone_offsets: tuple[tuple[int, int], ...] = ()
    next_steps: tuple[str, ...] = ("sentinel incidents {incident_id}",)
    runbooks_url: str = ""
    guards: GuardSettings = field(default_factory=GuardSettings)

    def __post_init__(self) -> None:
        if self.adopt_after_ns < 0:
            msg = "the time after which a new level is adopted cannot be negative"
            raise ValueError(msg)
        if self.hold_ns < 0 or self.hold_window_count < 1:
            msg = "the hold must be at least one window"
            raise ValueError(msg)
        if self.reminder_growth < 1 or self.reminder_window_count < 1:
            msg = "reminders must not come faster and faster"
            raise ValueError(msg)
        if self.page_count_max_per_minute < 1 or self.members_max < 1:
            msg = "page_count_max_per_minute and members_max must be at least 1"
            raise ValueError(msg)

    def hold_of(self, step_ns: int) -> int:
        """How long everything must be quiet before an incident resolves."""
        return max(self.hold_ns, self.hold_window_count * step_ns)

    def first_reminder_of(self, step_ns: int) -> int:
        """How long after the first page the first reminder is due."""
        return max(self.reminder_ns, self.reminder_window_count * step_ns)
