"""Requests of remote write 1.0 and 2.0 as bytes, before they are compressed.

1.0 names every label of every series in full; 2.0 names each text once a request and refers to it by number, the empty
text being number 0. Both want labels sorted by name, and the samples of a series by time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sentinel.core.normalise.slim_schema import message_classes
from sentinel.history.writing.samples import Labels
from sentinel.runtime.verdict_metrics import SERIES_METRICS

_GAUGE = 2
"""The type of a metric, the same number in both versions."""


class Protocol(StrEnum):
    """A version of remote write."""

    V1 = "1.0"
    V2 = "2.0"

    @property
    def headers(self) -> dict[str, str]:
        """What a request of this version says of itself."""
        return dict(_HEADERS[self])


_COMMON = {"Content-Encoding": "snappy"}
_HEADERS = {
    Protocol.V1: _COMMON
    | {
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    },
    Protocol.V2: _COMMON
    | {
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    },
}

_v1 = message_classes(
    "sentinel.remote_write.v1",
    {
        "WriteRequest": (
            ("timeseries", 1, "*message", "TimeSeries"),
            ("metadata", 3, "*message", "MetricMetadata"),
        ),
        "TimeSeries": (
            ("labels", 1, "*message", "Label"),
            ("samples", 2, "*message", "Sample"),
        ),
        "Label": (("name", 1, "string"), ("value", 2, "string")),
        "Sample": (("value", 1, "double"), ("timestamp", 2, "int64")),
        "MetricMetadata": (
            ("type", 1, "int32"),
            ("metric_family_name", 2, "string"),
            ("help", 4, "string"),
        ),
    },
)
_v2 = message_classes(
    "sentinel.remote_write.v2",
    {
        "Request": (
            ("symbols", 4, "*string"),
            ("timeseries", 5, "*message", "TimeSeries"),
        ),
        "TimeSeries": (
            ("labels_refs", 1, "*uint32"),
            ("samples", 2, "*message", "Sample"),
            ("metadata", 5, "message", "Metadata"),
        ),
        "Sample": (("value", 1, "double"), ("timestamp", 2, "int64")),
        "Metadata": (("type", 1, "int32"), ("help_ref", 3, "uint32")),
    },
)
_WriteRequest = _v1("WriteRequest")
_Request = _v2("Request")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Samples of one series, in order of time.

    Attributes:
        metric: its name.
        labels: all others, sorted by name.
        times_ms: Unix milliseconds.
        values: as many.
    """

    metric: str
    labels: Labels
    times_ms: Sequence[int]
    values: Sequence[float]

    def __len__(self) -> int:
        return len(self.times_ms)

    def first(self, count: int) -> Run:
        """The first samples alone."""
        return Run(
            metric=self.metric,
            labels=self.labels,
            times_ms=self.times_ms[:count],
            values=self.values[:count],
        )

    def after(self, count: int) -> Run:
        """All but the first samples."""
        return Run(
            metric=self.metric,
            labels=self.labels,
            times_ms=self.times_ms[count:],
            values=self.values[count:],
        )


def encoded(runs: Sequence[Run], protocol: Protocol) -> bytes:
    """A request that writes these samples."""
    return _encoded_v2(runs) if protocol is Protocol.V2 else _encoded_v1(runs)


def _encoded_v1(runs: Sequence[Run]) -> bytes:
    request = _WriteRequest()
    for run in runs:
        series = request.timeseries.add()
        for name, value in _all_labels(run):
            series.labels.add(name=name, value=value)
        add = series.samples.add
        for at_ms, number in zip(run.times_ms, run.values, strict=True):
            add(value=number, timestamp=at_ms)
    for metric in dict.fromkeys(run.metric for run in runs):
        request.metadata.add(
            type=_GAUGE, metric_family_name=metric, help=SERIES_METRICS.get(metric, "")
        )
    return bytes(request.SerializeToString())


def _encoded_v2(runs: Sequence[Run]) -> bytes:
    symbols: dict[str, int] = {"": 0}

    def reference(text: str) -> int:
        return symbols.setdefault(text, len(symbols))

    request = _Request()
    for run in runs:
        series = request.timeseries.add()
        for name, value in _all_labels(run):
            series.labels_refs.append(reference(name))
            series.labels_refs.append(reference(value))
        add = series.samples.add
        for at_ms, number in zip(run.times_ms, run.values, strict=True):
            add(value=number, timestamp=at_ms)
        series.metadata.type = _GAUGE
        series.metadata.help_ref = reference(SERIES_METRICS.get(run.metric, ""))
    request.symbols.extend(symbols)
    return bytes(request.SerializeToString())


def _all_labels(run: Run) -> Labels:
    return tuple(sorted((("__name__", run.metric), *run.labels)))
