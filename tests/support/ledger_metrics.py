"""The ledger's telemetry with its metrics kept in memory, to be looked at."""

from __future__ import annotations

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider

from sentinel.reference.ledger.telemetry import Telemetry


class Counted:
    """Telemetry of a test, and the value of each of its counters."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.telemetry = Telemetry(
            service="test",
            tracers=TracerProvider(shutdown_on_exit=False),
            meters=MeterProvider([self._reader], shutdown_on_exit=False),
            loggers=LoggerProvider(shutdown_on_exit=False),
        )

    def value(self, name: str, label: str | None = None) -> int:
        """A counter's value, of the points that have this label's value if one is given."""
        data = self._reader.get_metrics_data()
        points = [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]
        return sum(
            int(point.value)
            for point in points
            if isinstance(point, NumberDataPoint)
            and (label is None or label in (point.attributes or {}).values())
        )

    def names(self) -> set[str]:
        """The metrics that say something."""
        data = self._reader.get_metrics_data()
        return {
            metric.name
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.data.data_points
        }
