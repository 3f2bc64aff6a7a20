"""What the reduction of samples may be told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

HOUR_NS = 3600 * 10**9
SERIES_PER_SCOPE = 3
"""A place of calls has traffic, errors and latency."""


class CallsFromMetrics(StrEnum):
    """Whether histograms of call durations are counted as calls: where spans tell of none, never, or always."""

    AUTO = "auto"
    NEVER = "never"
    ALWAYS = "always"


class CallsFromLogs(StrEnum):
    """Whether log records of finished calls are counted as calls: where nothing else tells of them, or never."""

    AUTO = "auto"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSettings:
    """How samples become windows.

    Attributes:
        window_ns: width of a window; an hour is a multiple of it.
        lateness_ns: how long a closed window's end is waited past.
        series_count_max: most live series, the overflow series not counted.
        idle_ns: a series without data for this long is forgotten; at least an hour.
        burst_window_count: more windows than this falling due at once mean that time jumped.
        pending_point_count_max: most metric points held for open windows.
        pending_cell_count_max: most numbers of metrics pages held for them; eight bytes each.
        calls_from_metrics: whose word counts where spans and histograms of their durations both come.
        calls_from_logs: whether access logs count where neither comes.
    """

    window_ns: int = 10 * 10**9
    lateness_ns: int = 5 * 10**9
    series_count_max: int = 10_000
    idle_ns: int = 24 * HOUR_NS
    burst_window_count: int = 6
    pending_point_count_max: int = 200_000
    pending_cell_count_max: int = 2_000_000
    calls_from_metrics: CallsFromMetrics = CallsFromMetrics.AUTO
    calls_from_logs: CallsFromLogs = CallsFromLogs.AUTO

    @property
    def partial_window_count(self) -> int:
        """Windows that count a source as heard which came back in or after them, and was not there for all of them."""
        return -(-(self.lateness_ns + self.window_ns) // self.window_ns)

    def __post_init__(self) -> None:
        if self.window_ns <= 0 or HOUR_NS % self.window_ns:
            msg = "the window must be positive and divide an hour"
            raise ValueError(msg)
        if self.lateness_ns < 0:
            msg = "the lateness must not be negative"
            raise ValueError(msg)
        if self.series_count_max < SERIES_PER_SCOPE:
            msg = f"the cap on series must be at least {SERIES_PER_SCOPE}"
            raise ValueError(msg)
        if self.idle_ns < HOUR_NS:
            msg = "a series must be idle for at least an hour before it is forgotten"
            raise ValueError(msg)
