"""The ways of windows between collecting sidecars and their scorer: what is configured, and how each is made."""

from __future__ import annotations

from typing import Protocol

from sentinel.app.config import ReceiversConfig
from sentinel.receivers.windows.http import TakePart, WindowsHttpReceiver
from sentinel.runtime.component import Component, Surroundings
from sentinel.senders.windows.config import CollectConfig
from sentinel.senders.windows.transports import HttpTransport, Transport


class WindowsReceiver(Component, Protocol):
    """A component that windows come in by."""

    @property
    def port(self) -> int:
        """The port it listens on; 0 where it does not."""
        ...


def make_windows_receivers(
    config: ReceiversConfig, take: TakePart, surroundings: Surroundings
) -> dict[str, WindowsReceiver]:
    """The ways in that are configured, by name."""
    made: dict[str, WindowsReceiver] = {}
    if config.windows_http.enabled:
        made["windows_http"] = WindowsHttpReceiver(config.windows_http, take, surroundings)
    if config.windows_nats.urls:
        from sentinel.receivers.windows.nats import WindowsNatsReceiver

        made["windows_nats"] = WindowsNatsReceiver(config.windows_nats, take, surroundings)
    return made


def windows_addresses_of(
    config: ReceiversConfig, receivers: dict[str, WindowsReceiver]
) -> dict[str, str]:
    """Where windows are taken in, as `windows_url`."""
    receiver = receivers.get("windows_http")
    if receiver is None:
        return {}
    listen = config.windows_http.listen
    scheme = "https" if listen.tls else "http"
    return {"windows_url": f"{scheme}://{listen.address}:{receiver.port}"}


def make_windows_transport(config: CollectConfig, *, collector: str) -> Transport:
    """The way out that is configured."""
    if config.nats.urls:
        from sentinel.senders.windows.nats import NatsTransport

        return NatsTransport(config.nats, collector=collector)
    return HttpTransport(config.url, config.client)
