"""The kinds of destination for pages that can be configured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sentinel.app.config import SendersConfig
from sentinel.pipeline.delivery_lane import Destination
from sentinel.senders.alertmanager import alertmanager_senders
from sentinel.senders.webhook import WebhookSender


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderEntry:
    """One kind of destination for pages; a configuration may have several of a kind."""

    name: str
    make: Callable[[SendersConfig], tuple[Destination, ...]]


SENDERS: tuple[SenderEntry, ...] = (
    SenderEntry(
        name="alertmanager", make=lambda config: alertmanager_senders(config.alertmanager)
    ),
    SenderEntry(
        name="webhooks",
        make=lambda config: tuple(WebhookSender(webhook) for webhook in config.webhooks),
    ),
)


def make_destinations(config: SendersConfig) -> tuple[Destination, ...]:
    """The destinations that are configured."""
    return tuple(destination for entry in SENDERS for destination in entry.make(config))
