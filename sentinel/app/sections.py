"""What a user may set about the core's stages, and how it becomes the core's own settings.

The core knows no configuration: it is handed frozen settings in nanoseconds. The sections of components live beside
their components instead.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from sentinel.app.guards_section import DEFAULT_GAUGE_GUARDS, GaugeGuardConfig
from sentinel.app.zones import zone_offsets
from sentinel.core.incidents.settings import GuardSettings, IncidentSettings
from sentinel.core.model import Direction, Kind, Severity
from sentinel.core.scoring.settings import (
    KIND_RULES,
    KindRule,
    ScoringSettings,
    Sensitivity,
    SeriesRule,
)
from sentinel.runtime.settings import Duration, Ratio, Zone, setting


def to_ns(seconds: float) -> int:
    """Whole nanoseconds of a duration."""
    return round(seconds * 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindConfig:
    """What a window of one kind must show, besides being unusual for its series, to be called strange."""

    deviation_min: float = setting(
        0.0,
        help="Smallest distance from the expected value, in the value's own unit (seconds, a share, ...).",
    )
    deviation_ratio_min: float = setting(
        0.0, help="The same as a share of the expected value; 0.3 is 30 % more or less."
    )
    weight_min: float = setting(
        0.0, help="A window with fewer calls says nothing, neither good nor bad."
    )

    def __post_init__(self) -> None:
        for name in ("deviation_min", "deviation_ratio_min", "weight_min"):
            if getattr(self, name) < 0:
                msg = f"{name} must not be negative"
                raise ValueError(msg)

    def rule(self, base: KindRule) -> KindRule:
        """The core's rule of the kind, with what a user may set put in."""
        return dataclasses.replace(
            base,
            deviation_min=self.deviation_min,
            deviation_ratio_min=self.deviation_ratio_min,
            weight_min=self.weight_min,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRuleConfig:
    """What some series are asked for instead of what their kind is; a setting without a value leaves it as it is."""

    service: str = setting(
        "*", help="Services, as a pattern: `*`, `?` and `[...]` as in a shell, or the name itself."
    )
    stage: str = setting("*", help="Stages, as a pattern.")
    route: str = setting("*", help="Routes, as a pattern.")
    signal: str = setting("*", help="Signals, as a pattern: `traffic`, `errors`, a gauge's name.")
    direction: Direction | None = setting(
        None,
        help="On which side of what is expected a value can be strange: `high` for rises, `low` for falls. Without it errors and latency are `high`, "
        "traffic and gauges are `both`, save gauges whose meaning is known, such as a backlog (`high`).",
    )
    deviation_min: float | None = setting(
        None, help="Smallest distance from the expected value, in the value's own unit."
    )
    deviation_ratio_min: float | None = setting(
        None, help="The same as a share of the expected value."
    )
    weight_min: float | None = setting(
        None, help="A window with fewer calls says nothing, neither good nor bad."
    )

    def __post_init__(self) -> None:
        if not all((self.service, self.stage, self.route, self.signal)):
            msg = "a pattern must not be empty; `*` matches everything"
            raise ValueError(msg)
        numbers = {
            "deviation_min": self.deviation_min,
            "deviation_ratio_min": self.deviation_ratio_min,
            "weight_min": self.weight_min,
        }
        if self.direction is None and all(one is None for one in numbers.values()):
            msg = "an entry must set a direction, a smallest deviation or a least number of calls"
            raise ValueError(msg)
        for name, number in numbers.items():
            if number is not None and not (math.isfinite(number) and number >= 0):
                msg = f"{name} must be finite and not negative"
                raise ValueError(msg)

    def rule(self) -> SeriesRule:
        """As the core takes it."""
        return SeriesRule(
            **{one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        )


def _kind_default(kind: Kind) -> KindConfig:
    rule = KIND_RULES[kind]
    return KindConfig(
        deviation_min=rule.deviation_min,
        deviation_ratio_min=rule.deviation_ratio_min,
        weight_min=rule.weight_min,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringConfig:
    """What each kind of series demands before it pages, and how long learning waits for an incident."""

    traffic: KindConfig = setting(_kind_default(Kind.TRAFFIC), help="Calls a second.")
    errors: KindConfig = setting(_kind_default(Kind.ERRORS), help="The share of calls that fail.")
    latency: KindConfig = setting(
        _kind_default(Kind.LATENCY), help="The 95th percentile of the duration of calls."
    )
    gauge: KindConfig = setting(_kind_default(Kind.GAUGE), help="Any other number.")
    slow_calls: KindConfig = setting(
        _kind_default(Kind.SLOW),
        help="The share of calls that took longer than the slowest hundredth usually does at this hour.",
    )
    series: tuple[SeriesRuleConfig, ...] = setting(
        (),
        help="What single series are asked for. For each setting the first entry counts that matches a series and sets it; "
        "without one it is its kind's. Static limits hold all the same; traffic that is `high` may stop once it is known.",
    )
    learning_freeze_max: Duration = setting(
        Duration(IncidentSettings().adopt_after_ns / 1e9),
        help="A change that has lasted this long is the new normal, though nobody said so: it is expected from then on, and its incident ends, telling so. A share of errors or a latency that breaks a static limit is not.",
    )

    def settings(self, sensitivity: Sensitivity) -> ScoringSettings:
        """The core's settings."""
        chosen = {
            Kind.TRAFFIC: self.traffic,
            Kind.ERRORS: self.errors,
            Kind.LATENCY: self.latency,
            Kind.GAUGE: self.gauge,
            Kind.SLOW: self.slow_calls,
        }
        return ScoringSettings(
            cut_scale=sensitivity.cut_scale,
            rules={kind: config.rule(KIND_RULES[kind]) for kind, config in chosen.items()},
            series_rules=tuple(entry.rule() for entry in self.series),
        )


_GUARD = GuardSettings()
_INCIDENT = IncidentSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardsConfig:
    """Static limits that page from the first minute, before anything is learnt."""

    enabled: bool = setting(_GUARD.enabled, help="Whether the static limits hold.")
    error_ratio: Ratio = setting(
        Ratio(_GUARD.error_ratio), help="Pages when this share of calls fails, or more."
    )
    error_failed_count: float = setting(
        _GUARD.error_failed_count, help="How many calls must have failed for that."
    )
    error_window_count: int = setting(
        _GUARD.error_window_count, help="For how many windows in a row."
    )
    latency: Duration = setting(
        Duration(_GUARD.latency_s),
        help="Pages when the 95th percentile of the duration is this long, or longer.",
    )
    latency_call_count: float = setting(
        _GUARD.latency_call_count, help="How many calls there must have been for that."
    )
    latency_window_count: int = setting(
        _GUARD.latency_window_count, help="For how many windows in a row."
    )
    stopped_rate_per_s: float = setting(
        _GUARD.stopped_rate_per_s,
        help="While nothing is expected of it yet, pages when traffic of at least this many calls a second ...",
    )
    stopped_after: Duration = setting(
        Duration(_GUARD.stopped_after_ns / 1e9), help="... that lasted this long ..."
    )
    stopped_window_count: int = setting(
        _GUARD.stopped_window_count,
        help="... is zero for so many windows while its service is still heard.",
    )
    blind_after: Duration = setting(
        Duration(_GUARD.blind_after_ns / 1e9),
        help="A service that is not heard for this long gets a ticket: it is neither up nor down, it is unseen.",
    )
    blind_heard: Duration = setting(
        Duration(_GUARD.blind_heard_ns / 1e9),
        help="How long a service must have been heard before its silence means something.",
    )
    forget_after: Duration = setting(
        Duration(_GUARD.forget_after_ns / 1e9),
        help="A service not heard for this long is no longer watched.",
    )
    gauges: tuple[GaugeGuardConfig, ...] = setting(
        DEFAULT_GAUGE_GUARDS,
        help="Limits of gauges. Of several that match a series the first holds. A list given here stands instead of the default one.",
    )
    more_gauges: tuple[GaugeGuardConfig, ...] = setting(
        (),
        help="Limits beside those, for what only this system knows, such as how long its queue may be; looked at before them.",
    )

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> GuardSettings:
        """The core's settings; ValueError when they do not make sense."""
        return GuardSettings(
            enabled=self.enabled,
            error_ratio=self.error_ratio,
            error_failed_count=self.error_failed_count,
            error_window_count=self.error_window_count,
            latency_s=self.latency,
            latency_call_count=self.latency_call_count,
            latency_window_count=self.latency_window_count,
            stopped_rate_per_s=self.stopped_rate_per_s,
            stopped_after_ns=to_ns(self.stopped_after),
            stopped_window_count=self.stopped_window_count,
            blind_after_ns=to_ns(self.blind_after),
            blind_heard_ns=to_ns(self.blind_heard),
            forget_after_ns=to_ns(self.forget_after),
            gauges=tuple(one.guard() for one in (*self.more_gauges, *self.gauges)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentsConfig:
    """When an incident ends, and when it pages again."""

    hold: Duration = setting(
        Duration(_INCIDENT.hold_ns / 1e9),
        help="An incident resolves when all of it was quiet for this long, and for `hold_window_count` windows.",
    )
    hold_window_count: int = setting(
        _INCIDENT.hold_window_count,
        help="Least number of quiet windows before an incident resolves.",
    )
    gauge_severity: Severity = setting(
        _INCIDENT.gauge_severity,
        help="Severity of an incident of gauges only; traffic, errors and latency always page.",
    )
    worsen_score_ratio: float = setting(
        _INCIDENT.worsen_score_ratio,
        help="A score this many times the last paged one, by a horizon as long or shorter, pages again while it goes on; 0 turns "
        "that off.",
    )
    worsen_stages: bool = setting(
        _INCIDENT.worsen_stages, help="Whether a stage that joins pages again, while it goes on."
    )
    worsen_gap: Duration = setting(
        Duration(_INCIDENT.worsen_gap_ns / 1e9), help="At most one such page in this time."
    )
    reminder: Duration = setting(
        Duration(_INCIDENT.reminder_ns / 1e9),
        help="How long after its first page an open incident pages again; each later wait is three times longer.",
    )
    page_count_max_per_minute: int = setting(
        _INCIDENT.page_count_max_per_minute,
        help="More pages than this in a minute are held and listed on one summary page.",
    )
    members_max: int = setting(
        _INCIDENT.members_max, help="Most series listed on one incident, strangest first."
    )
    runbooks_url: str = setting(
        "",
        help="Where a copy of `docs/runbooks/` is served. Pages then carry `runbook_url`: this address, the alert's "
        "name and `.md`. Empty leaves it out.",
    )
    guards: GuardsConfig = setting(GuardsConfig(), help="Static limits from the first minute.")

    def __post_init__(self) -> None:
        if self.runbooks_url and not self.runbooks_url.startswith(("http://", "https://")):
            msg = "runbooks_url must begin with http:// or https://"
            raise ValueError(msg)
        if self.worsen_score_ratio < 0:
            msg = "worsen_score_ratio must not be negative"
            raise ValueError(msg)
        self.settings(zone=Zone("UTC"), now_ns=0)

    def settings(self, *, zone: Zone, now_ns: int, asked_by: str = "") -> IncidentSettings:
        """The core's settings; ValueError when they do not make sense.

        Args:
            zone: times on pages are shown in it, beside UTC.
            now_ns: offsets of the zone are laid down for the years around this instant.
            asked_by: the options by which a command finds Sentinel's own pages, such as `--url URL`, for the one that pages tell to type next.
        """
        steps = (
            (f"sentinel incidents {{incident_id}} {asked_by}",)
            if asked_by
            else _INCIDENT.next_steps
        )
        is_utc = zone in ("UTC", "Etc/UTC")
        return IncidentSettings(
            hold_ns=to_ns(self.hold),
            hold_window_count=self.hold_window_count,
            gauge_severity=self.gauge_severity,
            worsen_score_ratio=self.worsen_score_ratio,
            worsen_stages=self.worsen_stages,
            worsen_gap_ns=to_ns(self.worsen_gap),
            reminder_ns=to_ns(self.reminder),
            page_count_max_per_minute=self.page_count_max_per_minute,
            members_max=self.members_max,
            zone_name="" if is_utc else zone,
            zone_offsets=() if is_utc else zone_offsets(zone, now_ns=now_ns),
            next_steps=steps,
            runbooks_url=self.runbooks_url.rstrip("/"),
            guards=self.guards.settings(),
        )
