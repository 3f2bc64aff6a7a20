"""Self-metrics: declared as data in the catalogue, made once, asked for by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

# A second series with the time each counter was made would double the page; nothing here asks for it.
disable_created_metrics()  # type: ignore[no-untyped-call]

Parent = TypeVar("Parent", Counter, Gauge, Histogram)


class MetricType(StrEnum):
    """The types of Prometheus that are used here."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One self-metric: its full exposed name, its labels, and what it tells an operator."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Metrics:
    """Every self-metric of one process, in a registry of its own."""

    def __init__(self, catalogue: Iterable[MetricSpec]) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        # Finding a child by its labels costs ten times what counting does; there are few, so they are kept.
        self._children: dict[tuple[object, ...], Any] = {}
        for spec in catalogue:
            self._declare(spec)

    def count(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        """Add to a counter of the catalogue; KeyError when it is not in it."""
        child = self._children.get((name, *labels.items()))
        if child is None:
            child = self._child(self._counters[name], name, labels)
        child.inc(amount)

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge of the catalogue."""
        child = self._children.get((name, *labels.items()))
        if child is None:
            child = self._child(self._gauges[name], name, labels)
        child.set(value)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Add an observation to a histogram of the catalogue."""
        child = self._children.get((name, *labels.items()))
        if child is None:
            child = self._child(self._histograms[name], name, labels)
        child.observe(value)

    def forget(self, **labels: str) -> None:
        """Expose nothing more of what has these labels, such as a target that is gone."""
        wanted = set(labels.items())
        gone = [key for key in self._children if wanted <= set(key[1:])]
        for name in {str(key[0]) for key in gone}:
            parents: tuple[Counter | Gauge | Histogram | None, ...] = (
                self._counters.get(name),
                self._gauges.get(name),
                self._histograms.get(name),
            )
            for parent in parents:
                if parent is not None:
                    parent.remove_by_labels(labels)
        for key in gone:
            del self._children[key]

    def value(self, name: str, /, **labels: str) -> float:
        """The present value of a counter or gauge; 0 when it was never touched."""
        sample_name = name
        found = self.registry.get_sample_value(sample_name, labels)
        return 0.0 if found is None else found

    def task_crashed(self, *, owner: str, task: str) -> None:
        """Count a supervised task that crashed."""
        self.count("sentinel_task_crashes_total", component=owner, task=task)

    def exposition(self, *, openmetrics: bool) -> bytes:
        """All metrics, as OpenMetrics 1.0 or as text 0.0.4."""
        if openmetrics:
            return bytes(generate_openmetrics(self.registry))  # type: ignore[no-untyped-call]
        return bytes(generate_text(self.registry))

    def _child(self, parent: Parent, name: str, labels: dict[str, str]) -> Parent:
        child = parent.labels(**labels) if labels else parent
        self._children[name, *labels.items()] = child
        return child

    def _declare(self, spec: MetricSpec) -> None:
        if spec.type is MetricType.COUNTER:
            self._counters[spec.name] = Counter(
                spec.name, spec.help, spec.labels, registry=self.registry
            )
        elif spec.type is MetricType.GAUGE:
            self._gauges[spec.name] = Gauge(
                spec.name, spec.help, spec.labels, registry=self.registry
            )
        else:
            self._histograms[spec.name] = Histogram(
                spec.name,
                spec.help,
                spec.labels,
                registry=self.registry,
                buckets=spec.buckets or Histogram.DEFAULT_BUCKETS,
            )
