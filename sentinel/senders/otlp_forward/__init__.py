"""Telemetry handed on to OTLP endpoints. What a configuration needs is light; the component is made by `make_forwarding`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sentinel.runtime.component import Surroundings
from sentinel.senders.otlp_forward.config import EndpointConfig, ForwardConfig

if TYPE_CHECKING:
    from sentinel.senders.otlp_forward.forwarding import Forwarding

__all__ = ["EndpointConfig", "ForwardConfig", "make_forwarding"]

_FOLDER = "forward"


def make_forwarding(
    config: ForwardConfig, store_directory: str, surroundings: Surroundings
) -> Forwarding | None:
    """The component, or None where no endpoint is configured; its libraries are loaded only then.

    Raises:
        ConfigError: a file of an endpoint's TLS cannot be used.
    """
    if not config.endpoints:
        return None
    from sentinel.senders.otlp_forward.forwarding import Forwarding  # noqa: PLC0415, RUF100

    return Forwarding(config, Path(store_directory) / _FOLDER, surroundings)
