"""What a user may set of Kong's nodes, and the switches of its prometheus plugin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sentinel.runtime.consumer_tiers import TierConfig, checked_tiers
from sentinel.runtime.http.client import ClientConfig, checked_url
from sentinel.runtime.settings import Duration, Secret, setting

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
_SERVICE_CHARS_MAX = 160


class KongSwitch(StrEnum):
    """The switches of the prometheus plugin; all are off unless they are set."""

    STATUS_CODE = "status_code_metrics"
    LATENCY = "latency_metrics"
    BANDWIDTH = "bandwidth_metrics"
    UPSTREAM_HEALTH = "upstream_health_metrics"
    PER_CONSUMER = "per_consumer"


@dataclass(frozen=True, slots=True, kw_only=True)
class KongTargetConfig:
    """One Kong node, or one address of several that are the same."""

    name: str = setting("main", help="Name of the target in metrics and logs.")
    url: str = setting(
        "http://127.0.0.1:8007/metrics",
        help="The page of metrics: of the status API, or of the admin API (port 8001).",
    )
    service: str = setting(
        "kong",
        help="What the gateway is called; the same as `service.name` of its spans and `service` of its http-log records.",
    )
    interval: Duration = setting(Duration(10.0), help="How often it is asked.")
    timeout: Duration = setting(Duration(5.0), help="Longest time of a whole poll.")
    every_route: bool = setting(
        True,  # noqa: FBT003  # a default
        help="Whether the plugin is on for all routes. Then its counts are all calls, and count before spans, which may be sampled.",
    )
    tiers: tuple[TierConfig, ...] = setting(
        (), help="Tiers of consumers by their usernames; needs `per_consumer: true` at the plugin."
    )
    off_on_purpose: tuple[KongSwitch, ...] = setting(
        (), help="Switches of the plugin whose absence is not to be told of."
    )
    sample_count_max: int = setting(
        50_000, help="Most samples taken of one page; a route has some seventy."
    )
    admin_token: Secret | None = setting(
        None, help="Sent as `Kong-Admin-Token`, where the admin API wants one; it need only read."
    )
    client: ClientConfig = setting(ClientConfig(), help="Credentials and TLS.")

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            msg = "a target's name has lower-case letters, digits, - and _, at most 63"
            raise ValueError(msg)
        checked_url(self.url)
        if not self.service.strip() or len(self.service) > _SERVICE_CHARS_MAX:
            msg = f"service must have 1 to {_SERVICE_CHARS_MAX} characters"
            raise ValueError(msg)
        if not 0 < self.timeout <= self.interval:
            msg = "timeout must be above 0 and not above interval"
            raise ValueError(msg)
        if self.sample_count_max <= 0:
            msg = "sample_count_max must be above 0"
            raise ValueError(msg)
        checked_tiers(self.tiers)
        for tier in self.tiers:
            if not tier.usernames:
                msg = f"tier {tier.name} needs usernames: metrics name no groups and no tags"
                raise ValueError(msg)
