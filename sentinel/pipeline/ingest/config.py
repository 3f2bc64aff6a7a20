"""How samples become windows: the settings."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.core.series import CallsFromLogs, CallsFromMetrics, SeriesSettings
from sentinel.runtime.settings import ByteSize, Duration, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestConfig:
    """How samples become windows, and how many may wait for it."""

    window: Duration = setting(
        Duration(10.0), help="Width of a window; an hour is a multiple of it.", restart=True
    )
    lateness: Duration = setting(
        Duration(5.0),
        help="How long samples of a window that has ended are waited for.",
        restart=True,
    )
    series_count_max: int = setting(
        10_000,
        help="Most live series; what comes after is counted on one overflow series.",
        restart=True,
    )
    idle: Duration = setting(
        Duration(86_400.0), help="A series without data for this long is forgotten.", restart=True
    )
    calls_from_metrics: CallsFromMetrics = setting(
        CallsFromMetrics.AUTO,
        help="Histograms of call durations count as calls: `auto` where a stage sends no spans, `never`, or `always`"
        " instead of its spans.",
        restart=True,
    )
    calls_from_logs: CallsFromLogs = setting(
        CallsFromLogs.AUTO,
        help="Log records of finished calls count as calls: `auto` where a stage sends neither spans nor histograms, or"
        " `never`.",
        restart=True,
    )
    queue_count_max: int = setting(2000, help="Most batches waiting.", restart=True)
    queue_max: ByteSize = setting(
        ByteSize(32 * 2**20), help="Most bytes waiting, as they came in.", restart=True
    )
    tick: Duration = setting(
        Duration(1.0),
        help="How often windows are looked at when nothing comes and none falls due.",
        restart=True,
    )
    stage_timeout: Duration = setting(
        Duration(120.0), help="Longest time deciding on closed windows may take.", restart=True
    )
    drain_timeout: Duration = setting(
        Duration(10.0), help="How long stopping waits for what is queued.", restart=True
    )

    def __post_init__(self) -> None:
        for name in ("queue_count_max", "queue_max", "tick", "stage_timeout", "drain_timeout"):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above 0"
                raise ValueError(msg)
        if self.tick > self.window:
            msg = "tick must not be longer than the window"
            raise ValueError(msg)
        self.series_settings()

    def series_settings(self) -> SeriesSettings:
        """The same for the core; ValueError when it cannot work."""
        return SeriesSettings(
            window_ns=round(self.window * 1e9),
            lateness_ns=round(self.lateness * 1e9),
            series_count_max=self.series_count_max,
            idle_ns=round(self.idle * 1e9),
            calls_from_metrics=self.calls_from_metrics,
            calls_from_logs=self.calls_from_logs,
        )
