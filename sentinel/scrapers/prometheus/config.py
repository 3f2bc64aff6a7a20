"""What a user may set of metrics pages that are scraped, and of how they are found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sentinel.core.normalise.page_settings import (
    DEFAULT_FORMATS,
    SERVER_FAILED,
    STATUS_LABELS,
    CallRule,
    PageFormat,
    PageLimits,
    PlacingRules,
)
from sentinel.runtime.http.client import ClientConfig, checked_url
from sentinel.runtime.settings import ByteSize, Duration, FilePath, setting

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}\Z")
_INTERVAL_MIN_S, _INTERVAL_MAX_S = 1.0, 300.0
_TARGETS_MAX = 1000


class TimeUnit(StrEnum):
    """The unit of a histogram of durations; `auto` goes by the metric's name."""

    AUTO = "auto"
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"


_SCALE = {
    TimeUnit.AUTO: 0.0,
    TimeUnit.SECONDS: 1.0,
    TimeUnit.MILLISECONDS: 1e-3,
    TimeUnit.MICROSECONDS: 1e-6,
    TimeUnit.NANOSECONDS: 1e-9,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CallsConfig:
    """A metric that measures calls: a histogram of their durations, or a counter of them."""

    metric: str = setting(
        "", help="Its name, of a histogram without `_bucket`; `*` and `?` match.", restart=True
    )
    stage: str = setting("edge", help="Stage of those calls.", restart=True)
    route: tuple[str, ...] = setting(
        (), help="Labels that make the route, in this order.", restart=True
    )
    status: tuple[str, ...] = setting(
        STATUS_LABELS,
        help="Labels that tell how a call ended; the first that is there counts.",
        restart=True,
    )
    failed: str = setting(
        SERVER_FAILED,
        help="Regular expression over the whole of that label's value; the call failed where it matches.",
        restart=True,
    )
    unit: TimeUnit = setting(
        TimeUnit.AUTO, help="Unit of the boundaries; `auto` goes by the name.", restart=True
    )

    def __post_init__(self) -> None:
        if not self.metric:
            msg = "a metric of calls must have a name"
            raise ValueError(msg)
        if not self.stage:
            msg = "a metric of calls must have a stage"
            raise ValueError(msg)
        self.rule()

    def rule(self) -> CallRule:
        """The same for the core."""
        return CallRule(
            metric=self.metric,
            stage=self.stage,
            route=self.route,
            status=self.status,
            failed=self.failed,
            scale=_SCALE[self.unit],
        )


_RULES = PlacingRules(service="")
_LIMITS = PageLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageConfig:
    """What of a page is taken, and what its series are called."""

    allow: tuple[str, ...] = setting(
        _RULES.allow, help="Metrics that are taken, by name; `*` and `?` match.", restart=True
    )
    deny: tuple[str, ...] = setting(
        _RULES.deny, help="Metrics that are not, whatever allows them.", restart=True
    )
    service_labels: tuple[str, ...] = setting(
        _RULES.service_labels,
        help="Labels that name a series' service; the first that is there counts, else the target's service.",
        restart=True,
    )
    stage_labels: tuple[str, ...] = setting(
        _RULES.stage_labels,
        help="Labels that name its stage; else `metrics`, or that of its calls.",
        restart=True,
    )
    route_labels: tuple[str, ...] = setting(
        _RULES.route_labels,
        help="Labels whose values begin its route; the others follow as `name=value`.",
        restart=True,
    )
    without_labels: tuple[str, ...] = setting(
        _RULES.without_labels,
        help="Labels that are left out of the route; series that differ in them alone become one.",
        restart=True,
    )
    calls: tuple[CallsConfig, ...] = setting(
        (), help="Metrics that measure calls, besides those whose names say so.", restart=True
    )
    native_histograms: bool = setting(
        default=False,
        help="Ask for protobuf first, the only format with native histograms.",
        restart=True,
    )
    honour_timestamps: bool = setting(
        default=False,
        help="Take a sample's own time; else that of the scrape, so that what is cached does not come too late.",
        restart=True,
    )
    strict: bool = setting(
        default=False,
        help="Refuse a page whole when a line breaks a rule of its format; else such lines are left out and counted.",
        restart=True,
    )
    sample_count_max: int = setting(
        _LIMITS.sample_count_max,
        help="Most samples of a page; what is known goes first, what is over is left out and counted.",
        restart=True,
    )
    label_count_max: int = setting(
        _LIMITS.label_count_max, help="Most labels of a sample; it is left out else.", restart=True
    )
    label_name_chars_max: int = setting(
        _LIMITS.label_name_chars_max, help="Longest name of a label.", restart=True
    )
    label_value_chars_max: int = setting(
        _LIMITS.label_value_chars_max, help="Longest value of a label.", restart=True
    )
    body_max: ByteSize = setting(
        ByteSize(8 * 2**20),
        help="Largest page, decompressed; the scrape fails else.",
        restart=True,
    )

    def __post_init__(self) -> None:
        if not 0 < self.body_max <= 64 * 2**20:
            msg = "body_max must be above 0 and at most 64MiB"
            raise ValueError(msg)
        self.limits()

    @property
    def formats(self) -> tuple[PageFormat, ...]:
        """What is asked for, the first one liked best."""
        return (
            (PageFormat.PROTOBUF, *DEFAULT_FORMATS) if self.native_histograms else DEFAULT_FORMATS
        )

    def limits(self) -> PageLimits:
        """The same for the core; ValueError when one is not above 0."""
        return PageLimits(
            sample_count_max=self.sample_count_max,
            label_count_max=self.label_count_max,
            label_name_chars_max=self.label_name_chars_max,
            label_value_chars_max=self.label_value_chars_max,
        )

    def rules(self, service: str) -> PlacingRules:
        """The same for the core, for a target of this service."""
        return PlacingRules(
            service=service,
            allow=self.allow,
            deny=self.deny,
            service_labels=self.service_labels,
            stage_labels=self.stage_labels,
            route_labels=self.route_labels,
            without_labels=self.without_labels,
            calls=tuple(calls.rule() for calls in self.calls),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusTargetConfig:
    """One page that is always there to be asked for."""

    name: str = setting(
        "", help="Name of the target in metrics, logs and health; unique.", restart=True
    )
    url: str = setting(
        "", help="Where the page is, such as http://127.0.0.1:9464/metrics.", restart=True
    )
    service: str = setting(
        "", help="Whose series they are; empty for the target's name.", restart=True
    )
    interval: Duration = setting(
        Duration(10.0),
        help="How often it is asked for; windows without a scrape have no values.",
        restart=True,
    )
    page: PageConfig = setting(PageConfig(), help="What of it is taken.", restart=True)
    client: ClientConfig = setting(
        ClientConfig(), help="Credentials, TLS and time limits.", restart=True
    )

    def __post_init__(self) -> None:
        _check_name(self.name, "a target")
        _check_interval(self.interval)
        if not self.url:
            msg = "a target must have a url"
            raise ValueError(msg)
        checked_url(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiscoveryConfig:
    """Targets that files name, in the form of Prometheus' `file_sd_configs`."""

    name: str = setting(
        "", help="Name of the discovery; its targets' names begin with it.", restart=True
    )
    files: tuple[FilePath, ...] = setting(
        (),
        help="JSON or YAML files; `*` and `?` match in the last part of a path.",
        restart=True,
    )
    refresh: Duration = setting(
        Duration(5.0), help="How often the files are looked at.", restart=True
    )
    target_count_max: int = setting(
        50, help="Most targets at once; what is over is left out and counted.", restart=True
    )
    service: str = setting(
        "",
        help="Whose series they are where no label of a target says so; empty for the discovery's name.",
        restart=True,
    )
    interval: Duration = setting(
        Duration(10.0), help="How often each target is asked for.", restart=True
    )
    page: PageConfig = setting(PageConfig(), help="What of their pages is taken.", restart=True)
    client: ClientConfig = setting(
        ClientConfig(), help="Credentials, TLS and time limits.", restart=True
    )

    def __post_init__(self) -> None:
        _check_name(self.name, "a discovery")
        _check_interval(self.interval)
        if not self.files:
            msg = "a discovery must have files"
            raise ValueError(msg)
        if not 1.0 <= self.refresh <= _INTERVAL_MAX_S:
            msg = "refresh must be between 1s and 5m"
            raise ValueError(msg)
        if not 0 < self.target_count_max <= _TARGETS_MAX:
            msg = f"target_count_max must be above 0 and at most {_TARGETS_MAX}"
            raise ValueError(msg)


def _check_name(name: str, what: str) -> None:
    if not _NAME.match(name):
        msg = f"{what} must have a name of lower-case letters, digits, -, . and _, at most 63"
        raise ValueError(msg)


def _check_interval(interval_s: float) -> None:
    if not _INTERVAL_MIN_S <= interval_s <= _INTERVAL_MAX_S:
        msg = "interval must be between 1s and 5m"
        raise ValueError(msg)
