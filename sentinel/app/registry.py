"""One explicit table of the components that can be configured: what they are called, and how each is made.

To add one: its file with its config, its line here, its section in `app.config`, its metrics in the catalogue,
its page in docs/components. A component's library is imported only when the component is configured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sentinel.app.config import ReceiversConfig, SendersConfig
from sentinel.core.normalise import OtlpDecoder
from sentinel.pipeline.delivery_lane import Destination
from sentinel.ports import SampleSink
from sentinel.receivers.otlp_grpc import OtlpGrpcReceiver
from sentinel.receivers.otlp_http import OtlpHttpReceiver
from sentinel.runtime.component import Component, Surroundings
from sentinel.runtime.listen import ListenConfig
from sentinel.senders.alertmanager import alertmanager_senders
from sentinel.senders.webhook import WebhookSender


class Receiver(Component, Protocol):
    """A component that data is given to, at a port."""

    @property
    def port(self) -> int:
        """The port it listens on; 0 while it does not."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverEntry:
    """One kind of receiver.

    Attributes:
        name: as in `receivers.<name>` of the configuration.
        enabled: whether it is configured.
        listen: where it is to listen.
        make: the component.
    """

    name: str
    enabled: Callable[[ReceiversConfig], bool]
    listen: Callable[[ReceiversConfig], ListenConfig]
    make: Callable[[ReceiversConfig, SampleSink, Surroundings], Receiver]


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderEntry:
    """One kind of destination for pages; a configuration may have several of a kind."""

    name: str
    make: Callable[[SendersConfig], tuple[Destination, ...]]


RECEIVERS: tuple[ReceiverEntry, ...] = (
    ReceiverEntry(
        name="otlp_http",
        enabled=lambda config: config.otlp_http.enabled,
        listen=lambda config: config.otlp_http.listen,
        make=lambda config, sink, surroundings: OtlpHttpReceiver(
            config.otlp_http, sink, surroundings, make_decoder=OtlpDecoder
        ),
    ),
    ReceiverEntry(
        name="otlp_grpc",
        enabled=lambda config: config.otlp_grpc.enabled,
        listen=lambda config: config.otlp_grpc.listen,
        make=lambda config, sink, surroundings: OtlpGrpcReceiver(
            config.otlp_grpc, sink, surroundings, make_decoder=OtlpDecoder
        ),
    ),
)

SENDERS: tuple[SenderEntry, ...] = (
    SenderEntry(
        name="alertmanager", make=lambda config: alertmanager_senders(config.alertmanager)
    ),
    SenderEntry(
        name="webhooks",
        make=lambda config: tuple(WebhookSender(webhook) for webhook in config.webhooks),
    ),
)


def make_receivers(
    config: ReceiversConfig, sink: SampleSink, surroundings: Surroundings
) -> dict[str, Receiver]:
    """The receivers that are configured, by name."""
    return {
        entry.name: entry.make(config, sink, surroundings)
        for entry in RECEIVERS
        if entry.enabled(config)
    }


def make_destinations(config: SendersConfig) -> tuple[Destination, ...]:
    """The destinations that are configured."""
    return tuple(destination for entry in SENDERS for destination in entry.make(config))


def addresses_of(config: ReceiversConfig, receivers: dict[str, Receiver]) -> dict[str, str]:
    """Where each running receiver is reached from this machine, as `<name>_url`."""
    found = {}
    for entry in RECEIVERS:
        if entry.name in receivers:
            listen = entry.listen(config)
            scheme = "https" if listen.tls else "http"
            port = receivers[entry.name].port
            found[f"{entry.name}_url"] = f"{scheme}://{listen.address}:{port}"
    return found
