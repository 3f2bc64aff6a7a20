"""What decides by a configuration, as the core takes it, and what its pages tell to type."""

from __future__ import annotations

import shlex
from dataclasses import replace

from sentinel.app.config import SentinelConfig
from sentinel.app.sections import to_ns
from sentinel.core.decide import DecisionSettings
from sentinel.runtime.auth import AccessScope
from sentinel.web.server import WebConfig


def asked_by(web: WebConfig, *, config_path: str) -> str:
    """The options by which a command finds the pages of the sidecar; "" where the default address is as good.

    Behind TLS or a token an address alone is refused, so the sidecar's configuration is named, which has what else it takes.
    """
    has_token = web.listen.tokens.opens(AccessScope.READ)
    if web.external_url:
        return f"--url {web.external_url}" + (" --token-file FILE" if has_token else "")
    if config_path and (web.listen.tls or has_token):
        return f"--config {shlex.quote(config_path)}"
    scheme = "https" if web.listen.tls else "http"
    return f"--url {scheme}://{web.listen.address}:{web.listen.port}" if web.listen.port else ""


def decision_settings(config: SentinelConfig, *, now_ns: int, asked_by: str) -> DecisionSettings:
    """What decides by a configuration, as the core takes it; `now_ns` is when clocks of a zone are looked up."""
    incidents = config.incidents.settings(zone=config.zone, now_ns=now_ns, asked_by=asked_by)
    return DecisionSettings(
        scoring=config.scoring.settings(config.sensitivity),
        incidents=replace(
            incidents,
            after_silence_window_count=config.series.series_settings().partial_window_count + 1,
            adopt_after_ns=to_ns(config.scoring.learning_freeze_max),
        ),
    )
