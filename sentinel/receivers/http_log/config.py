"""What a user may set about Kong's http-log records."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.runtime.auth import AccessScope
from sentinel.runtime.consumer_tiers import TierConfig, checked_tiers
from sentinel.runtime.http.body import BodyLimitsConfig
from sentinel.runtime.http.server import ConnectionLimitsConfig
from sentinel.runtime.intake.request import IntakeLimitsConfig
from sentinel.runtime.listen import ListenConfig, refuse_exposed
from sentinel.runtime.settings import Duration, setting

_SERVICE_CHARS_MAX = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLogListenConfig(ListenConfig):
    """Where records are listened for."""

    port: int = setting(9880, help="TCP port; 0 takes a free one.", restart=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLogConfig:
    """The receiver of Kong's http-log records."""

    enabled: bool = setting(False, help="Whether to listen.", restart=True)  # noqa: FBT003  # a default
    listen: HttpLogListenConfig = setting(
        HttpLogListenConfig(), help="Where to listen.", restart=True
    )
    service: str = setting(
        "kong",
        help="What the gateway is called; the same as `service.name` of its spans and `service` of its scraped metrics.",
        restart=True,
    )
    every_route: bool = setting(
        True,  # noqa: FBT003  # a default
        help="Whether the plugin is on for all routes. Then its records are all calls, and count before spans and metrics.",
        restart=True,
    )
    tiers: tuple[TierConfig, ...] = setting(
        (),
        help="Tiers of consumers, the first that matches; none makes no series of tiers.",
        restart=True,
    )
    remembered_count_max: int = setting(
        65_536,
        help="How many requests' ids are remembered to leave out what comes again.",
        restart=True,
    )
    body: BodyLimitsConfig = setting(BodyLimitsConfig(), help="Bounds of one body.", restart=True)
    intake: IntakeLimitsConfig = setting(
        IntakeLimitsConfig(), help="Bounds of all requests together.", restart=True
    )
    connections: ConnectionLimitsConfig = setting(
        # Kong keeps a connection for 60 s; closing it before would meet a batch that is on its way.
        ConnectionLimitsConfig(idle_timeout=Duration(75.0)),
        help="Bounds of connections.",
        restart=True,
    )

    def __post_init__(self) -> None:
        refuse_exposed(self.listen, scopes=[AccessScope.INGEST])
        checked_tiers(self.tiers)
        if not self.service.strip() or len(self.service) > _SERVICE_CHARS_MAX:
            msg = f"service must have 1 to {_SERVICE_CHARS_MAX} characters"
            raise ValueError(msg)
        if self.remembered_count_max <= 0:
            msg = "remembered_count_max must be above 0"
            raise ValueError(msg)
