"""The receivers that can be configured: what they are called, and how each is made.

To add one: its file with its config, its line here, its section in `app.config`, its metrics in the catalogue,
its page in docs/components. What is off by default, and the library of any, is imported when it is configured: at the start, never later, so that a full
disk or a deleted file keeps nothing from running.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sentinel.app.config import ReceiversConfig, SentinelConfig
from sentinel.core.normalise import OtlpDecoder
from sentinel.receivers.otlp_grpc import OtlpGrpcReceiver
from sentinel.receivers.otlp_http import OtlpHttpReceiver
from sentinel.runtime.component import Component, Surroundings
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.listen import ListenConfig


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
    make: Callable[[ReceiversConfig, Downstream, Surroundings], Receiver]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """One kind of receiver without a port, such as one that follows files.

    Attributes:
        name: as in `receivers.<name>` of the configuration.
        make: the component, or None where it is not configured.
    """

    name: str
    make: Callable[[SentinelConfig, Downstream, Surroundings], Component | None]


def _http_log(
    config: ReceiversConfig, downstream: Downstream, surroundings: Surroundings
) -> Receiver:
    from sentinel.receivers.http_log.component import HttpLogReceiver

    return HttpLogReceiver(config.http_log, downstream, surroundings)


def _log_files(
    config: SentinelConfig, downstream: Downstream, surroundings: Surroundings
) -> Component | None:
    if not config.receivers.log_files.sources:
        return None
    from sentinel.receivers.log_files.component import LogFiles

    return LogFiles(config.receivers.log_files, config.store.directory, downstream, surroundings)


RECEIVERS: tuple[ReceiverEntry, ...] = (
    ReceiverEntry(
        name="otlp_http",
        enabled=lambda config: config.otlp_http.enabled,
        listen=lambda config: config.otlp_http.listen,
        make=lambda config, downstream, surroundings: OtlpHttpReceiver(
            config.otlp_http, downstream, surroundings, make_decoder=OtlpDecoder
        ),
    ),
    ReceiverEntry(
        name="otlp_grpc",
        enabled=lambda config: config.otlp_grpc.enabled,
        listen=lambda config: config.otlp_grpc.listen,
        make=lambda config, downstream, surroundings: OtlpGrpcReceiver(
            config.otlp_grpc, downstream, surroundings, make_decoder=OtlpDecoder
        ),
    ),
    ReceiverEntry(
        name="http_log",
        enabled=lambda config: config.http_log.enabled,
        listen=lambda config: config.http_log.listen,
        make=_http_log,
    ),
)

SOURCES: tuple[SourceEntry, ...] = (
    SourceEntry(
        name="log_files",
        make=_log_files,
    ),
)


def make_receivers(
    config: ReceiversConfig, downstream: Downstream, surroundings: Surroundings
) -> dict[str, Receiver]:
    """The receivers that are configured, by name."""
    return {
        entry.name: entry.make(config, downstream, surroundings)
        for entry in RECEIVERS
        if entry.enabled(config)
    }


def make_sources(
    config: SentinelConfig, downstream: Downstream, surroundings: Surroundings
) -> dict[str, Component]:
    """The receivers without a port that are configured, by name."""
    made = {entry.name: entry.make(config, downstream, surroundings) for entry in SOURCES}
    return {name: component for name, component in made.items() if component is not None}


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
