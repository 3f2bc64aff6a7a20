"""What a user may set about a NATS cluster that is watched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from sentinel.runtime.http.client import ClientConfig, checked_url
from sentinel.runtime.nats.config import NatsClientConfig
from sentinel.runtime.settings import ByteSize, Duration, setting

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
_TOKEN = re.compile(r"[^\s.*>]{1,128}\Z")
_SERVERS_MAX = 32
_SCHEMES = {"nats", "tls"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsAdvisoriesConfig(NatsClientConfig):
    """A connection as a client, on which JetStream tells what happened."""

    queue_group: str = setting(
        "", help="With a name, of several sidecars with this name each advisory reaches one."
    )

    def __post_init__(self) -> None:
        NatsClientConfig.__post_init__(self)
        if self.queue_group and not _TOKEN.match(self.queue_group):
            msg = "queue_group must not have blanks, dots, * or >"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsConfig:
    """One NATS cluster, or one server."""

    name: str = setting("main", help="Name of the target in metrics and logs.")
    service: str = setting("nats", help="Service that its series belong to.")
    urls: tuple[str, ...] = setting(
        (),
        help="Monitoring addresses of all servers of the cluster, such as `http://nats-0:8222`; a base path may follow. A stream is told of by "
        "its leader alone, so those of servers that are not named here are not seen.",
    )
    interval: Duration = setting(Duration(10.0), help="How often the servers are asked.")
    account: str = setting(
        "",
        help="The account whose streams are watched; its routes are bare names. Empty for all accounts: those of others than `$G` are `<account>:<stream>` then.",
    )
    domain: str = setting("", help="The JetStream domain; advisories of others are left out.")
    jetstream: bool = setting(
        True,  # noqa: FBT003  # a default
        help="Whether streams and consumers are asked for.",
    )
    streams_max: int = setting(
        100, help="Most streams that become series; those that hold most are kept."
    )
    consumers_max: int = setting(
        300, help="Most consumers that become series; those with the largest backlog are kept."
    )
    accounts_per_page: int = setting(
        64, help="How many accounts one answer of `/jsz` may hold; less makes it smaller."
    )
    body_max: ByteSize = setting(ByteSize(4 * 2**20), help="Largest answer of a server.")
    client: ClientConfig = setting(
        ClientConfig(connect_timeout=Duration(2.0), timeout=Duration(5.0)),
        help="Credentials, TLS and time limits of the monitoring addresses; `timeout` is for all that one server is asked.",
    )
    advisories: NatsAdvisoriesConfig = setting(
        NatsAdvisoriesConfig(), help="What JetStream tells of by itself."
    )

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            msg = "a target's name has lower-case letters, digits, - and _, at most 63"
            raise ValueError(msg)
        if not self.service.strip() or len(self.service) > 160:
            msg = "service must have 1 to 160 characters"
            raise ValueError(msg)
        if len(self.urls) > _SERVERS_MAX:
            msg = f"at most {_SERVERS_MAX} urls"
            raise ValueError(msg)
        if len({url.rstrip("/") for url in self.urls}) != len(self.urls):
            msg = "an address must not be named twice"
            raise ValueError(msg)
        for url in self.urls:
            checked_url(url)
            if urlsplit(url).query:
                msg = "a monitoring address must not have a query"
                raise ValueError(msg)
        if not 1.0 <= self.interval <= 3600.0:
            msg = "interval must be between 1s and 1h"
            raise ValueError(msg)
        if self.client.timeout >= self.interval:
            msg = "client.timeout must be shorter than interval"
            raise ValueError(msg)
        for name, most in (
            ("streams_max", 5000),
            ("consumers_max", 5000),
            ("accounts_per_page", 1024),
        ):
            if not 1 <= getattr(self, name) <= most:
                msg = f"{name} must be between 1 and {most}"
                raise ValueError(msg)
        if not 64 * 1024 <= self.body_max <= 64 * 2**20:
            msg = "body_max must be between 64KiB and 64MiB"
            raise ValueError(msg)
        for name in ("account", "domain"):
            if getattr(self, name) and not _TOKEN.match(getattr(self, name)):
                msg = f"{name} must not have blanks, dots, * or >"
                raise ValueError(msg)
