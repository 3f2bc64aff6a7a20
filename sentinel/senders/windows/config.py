"""What a user may set about sending windows to a scorer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sentinel.runtime.http.client import ClientConfig, checked_url
from sentinel.runtime.nats.config import NatsStreamConfig
from sentinel.runtime.settings import ByteSize, Duration, setting

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectConfig:
    """Where a collecting sidecar sends its windows."""

    name: str = setting(
        "",
        help="Name of this collector, unique among those of its scorer; empty for the host's name, which is the pod's.",
        restart=True,
    )
    url: str = setting(
        "",
        help="The scorer's address for windows, such as `https://sentinel-scorer:4319`; empty where `collect.nats` is used.",
        restart=True,
    )
    client: ClientConfig = setting(
        ClientConfig(), help="Credentials, TLS and time limits towards it.", restart=True
    )
    nats: NatsStreamConfig = setting(
        NatsStreamConfig(), help="A JetStream stream to send through instead.", restart=True
    )
    retry_max: Duration = setting(
        Duration(5.0),
        help="Longest wait between attempts; not longer than `merge.grace` of the scorer.",
        restart=True,
    )
    queue_max: ByteSize = setting(
        ByteSize(256 << 20),
        help="Most bytes of windows that wait on disk, in `store.directory`; the oldest are dropped beyond it.",
        restart=True,
    )
    drain_timeout: Duration = setting(
        Duration(10.0),
        help="How long stopping waits for the scorer to take what is left, the goodbye among it.",
        restart=True,
    )

    def __post_init__(self) -> None:
        if self.name and not _NAME.match(self.name):
            msg = "name must be letters, digits, `.`, `_` and `-`, 253 at most"
            raise ValueError(msg)
        if self.url:
            checked_url(self.url)
        if self.url and self.nats.urls:
            msg = "give url or nats, not both: a window is sent one way"
            raise ValueError(msg)
        if not 0.1 <= self.retry_max <= 300.0 or not 0.0 < self.drain_timeout <= 300.0:
            msg = "retry_max must be 100ms to 5m, and drain_timeout above 0 and at most 5m"
            raise ValueError(msg)
        if self.queue_max < 1 << 20:
            msg = "queue_max must be at least 1MiB"
            raise ValueError(msg)

    @property
    def is_given(self) -> bool:
        """Whether there is a way to a scorer."""
        return bool(self.url or self.nats.urls)
