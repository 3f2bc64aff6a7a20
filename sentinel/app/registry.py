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
from sentinel.senders.alertmanager import alertmanager_senders
from sentinel.senders.webhook import WebhookSender


class Receiver(Component, Protocol):
    """A component that data is given to, at an address."""

    @property
    def url(self) -> str:
        """Where it listens."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverEntry:
    """One kind of receiver.

    Attributes:
        name: as in `receivers.<name>` of the configuration.
        enabled: whether it is configured.
        make: the component.
    """

    name: str
    enabled: Callable[[ReceiversConfig], bool]
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
        make=lambda config, sink, surroundings: OtlpHttpReceiver(
            config.otlp_http, sink, surroundings, make_decoder=OtlpDecoder
        ),
    ),
    ReceiverEntry(
        name="otlp_grpc",
        enabled=lambda config: config.otlp_grpc.enabled,
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
