"""Sentinel's own traces and logs to an OTLP endpoint, when asked: windows decided, fits, deliveries, scrapes, log lines.

Nothing waits for the endpoint: what the queue has no room for is dropped and counted, an endpoint that hangs costs the
exporter's thread and no other. Self-metrics are not sent: they stand at `/metrics`, for a Prometheus to scrape.

OpenTelemetry's SDK and exporter are imported when an endpoint is configured and not before; they come with
the extra `otel`.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import socket
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sentinel import __version__
from sentinel.errors import ConfigError, ConfigProblem
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.http.client import ClientConfig, authorization_of, checked_url, place_of
from sentinel.runtime.log_bound import LogBound
from sentinel.runtime.otlp_reply import OtlpSignal
from sentinel.runtime.settings import Ratio, setting
from sentinel.runtime.tasks import TaskGroup
from sentinel.runtime.tracing import NO_TRACER, OwnSpan, SpanNotes, Tracer

if TYPE_CHECKING:
    from sentinel.runtime.own_export import ExportSettings, Gate, OwnLines, OwnSpans

_NAME = "senders.self_telemetry"
_FLUSH_S = 2.0
_LOOK_EVERY_S = 1.0
# What the exporter itself and what it sends with have to say must not feed the exporter.
_NOT_SENT = ("opentelemetry", "requests", "urllib3")
_MARK = "sentinel.self_telemetry"


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTelemetryConfig:
    """Sentinel's own traces and logs, sent on as OTLP over HTTP."""

    endpoint: str = setting(
        "",
        help="Base URL of an OTLP/HTTP endpoint, such as `http://127.0.0.1:4318`: a collector's, never a receiver of this sidecar. Empty: nothing is sent.",
        restart=True,
    )
    traces: bool = setting(
        True,  # noqa: FBT003  # a default
        help="Whether spans are sent: windows decided, fits, deliveries, scrapes.",
        restart=True,
    )
    logs: bool = setting(
        True,  # noqa: FBT003  # a default
        help="Whether log lines are sent, besides being written to standard error.",
        restart=True,
    )
    sampling: Ratio = setting(Ratio(1.0), help="The share of traces that is kept.", restart=True)
    service: str = setting("sentinel", help="`service.name` of what is sent.", restart=True)
    queue_max: int = setting(
        2048,
        help="Most spans, and most log lines, that wait or are under way; more are dropped and counted.",
        restart=True,
    )
    client: ClientConfig = setting(ClientConfig(), help="Credentials and TLS.", restart=True)

    def __post_init__(self) -> None:
        if self.endpoint:
            checked_url(self.endpoint)
            if urlsplit(self.endpoint).query:
                msg = "endpoint must not have a query"
                raise ValueError(msg)
        if not 16 <= self.queue_max <= 65536:
            msg = "queue_max must be between 16 and 65536"
            raise ValueError(msg)
        if not self.service:
            msg = "service must not be empty"
            raise ValueError(msg)

    @property
    def is_asked_for(self) -> bool:
        """Whether anything is to be sent."""
        return bool(self.endpoint) and (self.traces or self.logs)


class SelfTelemetry:
    """Makes the tracer that components are handed, and sends what it and the log say."""

    def __init__(self, config: SelfTelemetryConfig, surroundings: Surroundings) -> None:
        """Make it; nothing is sent before the start.

        Raises:
            ConfigError: the extra `otel` is not installed.
        """
        self._config = config
        self._surroundings = surroundings
        self._export: Any = _imported()
        self._flow = Flow(_NAME, surroundings.metrics)
        self._health = HealthRecord(surroundings.clock)
        self._tasks = TaskGroup(_NAME, metrics=surroundings.metrics, logger=surroundings.logger)
        self._place = place_of(config.endpoint)
        self._spans: OwnSpans | None = None
        self._lines: OwnLines | None = None
        self._is_failing = False
        self._was_failing = False
        self._quietened: list[tuple[logging.Logger, int]] = []

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return _NAME

    def span(
        self, what: OwnSpan, /, **attributes: str | int | float | bool
    ) -> AbstractContextManager[SpanNotes]:
        """A span of ours; none while this does not run."""
        tracer: Tracer = self._spans or NO_TRACER
        return tracer.span(what, **attributes)

    async def start(self) -> None:
        """Begin to take spans and lines; the endpoint need not be there."""
        resource = {
            "service.name": self._config.service,
            "service.version": __version__,
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            # Whoever hands this on, to whomever, can tell what it is.
            _MARK: "true",
        }
        if self._config.traces:
            self._spans = self._export.OwnSpans(
                self._settings("traces"),
                self._gate(OtlpSignal.TRACES),
                self._surroundings.clock,
                resource=resource,
                sampling_ratio=self._config.sampling,
            )
        if self._config.logs:
            self._lines = self._export.OwnLines(
                self._settings("logs"),
                self._gate(OtlpSignal.LOGS),
                resource=resource,
                is_left_out=_is_left_out,
            )
            self._lines.addFilter(LogBound(on_withheld=self._withheld))
            self._surroundings.logger.addHandler(self._lines)
        # The exporter says each failure in words of the other side; here it is counted, and said once.
        for name in _NOT_SENT:
            logger = logging.getLogger(name)
            self._quietened.append((logger, logger.level))
            logger.setLevel(logging.CRITICAL + 1)
        self._tasks.spawn("look", self._look)
        self._health.ok(f"Sends to {self._place}")

    async def stop(self) -> None:
        """Send what waits, for two seconds at most; idempotent."""
        await self._tasks.close()
        lines, self._lines = self._lines, None
        spans, self._spans = self._spans, None
        if lines is not None:
            self._surroundings.logger.removeHandler(lines)
        closing = [
            asyncio.to_thread(close, timeout_s=_FLUSH_S)
            for close in (
                *([lines.close_export] if lines is not None else []),
                *([spans.close] if spans is not None else []),
            )
        ]
        await asyncio.gather(*closing)
        while self._quietened:
            logger, level = self._quietened.pop()
            logger.setLevel(level)
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state; an endpoint that takes nothing leaves the sidecar doing its job."""
        return self._health.current

    async def _look(self) -> None:
        """Say in the log and in health what the exporter's threads have met; they may not do it themselves."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if self._is_failing != self._was_failing:
                self._was_failing = self._is_failing
                if self._is_failing:
                    self._health.degraded(
                        f"{self._place} does not take what is sent; it is dropped"
                    )
                    self._surroundings.logger.warning(
                        "Own telemetry is not taken and is dropped",
                        extra={"endpoint": self._place},
                    )
                else:
                    self._health.ok(f"Sends to {self._place}")
                    self._surroundings.logger.info(
                        "Own telemetry is taken again", extra={"endpoint": self._place}
                    )

    def _withheld(self, level: str) -> None:
        del level
        self._flow.dropped(FlowReason.LIMIT)

    def _gate(self, signal: OtlpSignal) -> Gate:
        def exported(count: int, ok: bool) -> None:  # noqa: FBT001  # told by the exporter
            self._is_failing = not ok
            if ok:
                self._flow.sent(count, signal=signal)
            else:
                self._flow.error(FlowStage.SEND, FlowReason.UNREACHABLE, count)

        gate: Gate = self._export.Gate(
            limit=self._config.queue_max,
            on_offered=lambda: self._flow.received(1, signal=signal),
            on_dropped=lambda: self._flow.dropped(FlowReason.QUEUE_FULL),
            on_exported=exported,
        )
        return gate

    def _settings(self, signal: str) -> ExportSettings:
        client = self._config.client
        settings: ExportSettings = self._export.ExportSettings(
            url=f"{self._config.endpoint.rstrip('/')}/v1/{signal}",
            headers={"User-Agent": "sentinel", **authorization_of(client)},
            ca_file=client.ca_file,
            cert_file=client.cert_file,
            key_file=client.key_file,
            timeout_s=client.timeout,
            queue_max=self._config.queue_max,
        )
        return settings


def _imported() -> Any:
    try:
        return importlib.import_module("sentinel.runtime.own_export")
    except ImportError as error:
        message = (
            f"needs OpenTelemetry's SDK and exporter, of which {error.name} is not installed:"
            " pip install 'sentinel-sidecar[otel]'"
        )
        raise ConfigError(
            [ConfigProblem(path="self_telemetry.endpoint", message=message)]
        ) from None


def _is_left_out(logger_name: str) -> bool:
    return logger_name.partition(".")[0] in _NOT_SENT
