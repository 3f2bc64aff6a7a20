"""Goal: a page is read as the client library's own parser reads it, whatever its names, labels and values are.

Method: hypothesis makes families with odd labels and numbers; the library writes and parses them, this project's parser reads the
text new and again with other values.
"""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_parsed,
)
from prometheus_client.parser import text_string_to_metric_families as text_parsed

from sentinel.core.model import Placed, PointStream, Reading, Scope
from sentinel.core.normalise.prometheus import MetricsPage, MetricType, SeriesName
from sentinel.errors import InputError
from tests.support.laws import examples
from tests.support.scraped import OPENMETRICS, TEXT, openmetrics_of, parser_of, text_of

Series = dict[tuple[object, ...], float]

names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}x", fullmatch=True)
label_names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True).filter(
    lambda name: name != "le"
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
values = st.floats(width=64) | st.integers(-(10**18), 10**18).map(float)
labelled = st.dictionaries(label_names, texts, max_size=3)
family = st.tuples(
    st.sampled_from(["counter", "gauge", "histogram"]),
    st.lists(st.tuples(labelled, values, st.lists(st.integers(0, 9), min_size=3, max_size=3)), max_size=4),
)  # fmt: skip


class Everything:
    """Takes every series as it is named."""

    def place(self, series: SeriesName) -> Placed:
        """As `Placing`."""
        reading = (
            Reading.DISTRIBUTION
            if series.type is MetricType.HISTOGRAM
            else Reading.RATE
            if series.type is MetricType.COUNTER
            else Reading.LEVEL
        )
        return Placed(scope=Scope("s", "t", "r"), signal=series.name, reading=reading)


class Fixed:
    """A collector of given families."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """As a collector."""
        return self._families


def metrics(given_families: dict[str, tuple[str, list[tuple[dict[str, str], float, list[int]]]]]) -> CollectorRegistry:  # fmt: skip
    made: list[Metric] = []
    for name, (kind, rows) in given_families.items():
        seen: set[tuple[tuple[str, str], ...]] = set()
        metric = {
            "counter": CounterMetricFamily,
            "gauge": GaugeMetricFamily,
            "histogram": HistogramMetricFamily,
        }[kind](name, "help \\ of\nit")
        for labels, value, counts in rows:
            key = tuple(sorted(labels.items()))
            if key in seen:
                continue
            seen.add(key)
            if kind == "histogram":
                lower, middle, all_counts = counts[0], counts[0] + counts[1], sum(counts)
                for bound, count in (("0.5", lower), ("2.0", middle), ("+Inf", all_counts)):
                    metric.add_sample(f"{name}_bucket", {**labels, "le": bound}, float(count))
                metric.add_sample(f"{name}_count", labels, float(all_counts))
                metric.add_sample(f"{name}_sum", labels, 1.0)
            elif kind == "counter":
                metric.add_sample(f"{name}_total", labels, abs(value))
            else:
                metric.add_sample(name, labels, value)
        made.append(metric)
    registry = CollectorRegistry()
    registry.register(Fixed(made))
    return registry


def parsed(families: list[Metric]) -> Series:
    """What the library reads: numbers, and of histograms the observations of each bucket alone."""
    found: Series = {}
    for each in families:
        before: dict[tuple[object, ...], float] = {}
        for sample in each.samples:
            labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            if each.type != "histogram":
                found[sample.name, labels, None] = sample.value
            elif sample.name.endswith("_bucket"):
                bound = float(sample.labels["le"])
                found[each.name, labels, bound] = sample.value - before.get(labels, 0.0)
                before[labels] = sample.value
    return found


def ours(page: MetricsPage) -> Series:
    found: Series = {}
    for columns in page.batch.scraped:
        table = columns.table
        for cell, value in zip(columns.cell.tolist(), columns.value.tolist(), strict=True):
            stream = int(table.stream_of_cell[cell])
            identity = table.identity[stream]
            assert isinstance(identity, PointStream)
            bound = table.bound[cell]
            name = table.placed[stream].signal
            found[name, tuple(identity[5:]), None if math.isnan(bound) else bound] = value
    return found


def kept(series: Series) -> dict[tuple[object, ...], str]:
    """Those that have a number we keep, written so that they compare to the bit."""
    most = 3.4028234663852886e38
    return {name: (value + 0.0).hex() for name, value in series.items() if abs(value) <= most}


@settings(max_examples=examples(30, thorough=200))
@given(st.dictionaries(names, family, max_size=4), st.dictionaries(names, family, max_size=4))
def test_pages_are_read_as_the_library_reads_them(
    first: dict[str, tuple[str, list[tuple[dict[str, str], float, list[int]]]]],
    second: dict[str, tuple[str, list[tuple[dict[str, str], float, list[int]]]]],
) -> None:
    parser = parser_of(placing=Everything())
    for given_families in (first, {**first, **second}, first):
        registry = metrics(given_families)
        text = text_of(registry)
        page = parser.parse(text, content_type=TEXT, time_ns=1)
        assert kept(ours(page)) == kept(parsed(list(text_parsed(text.decode()))))
        openmetrics = openmetrics_of(registry)
        page = parser.parse(openmetrics, content_type=OPENMETRICS, time_ns=1)
        try:
            library = list(openmetrics_parsed(openmetrics.decode()))  # type: ignore[no-untyped-call]
        except ValueError:
            continue  # the library's parser does not take all that its writer writes, such as NaN counters
        assert kept(ours(page)) == kept(parsed(library))


@settings(max_examples=examples(100, thorough=500))
@given(st.binary(max_size=200) | st.text(st.sampled_from('ab{}="\\, #\n1.e+TYPEhistogram_le'), max_size=120).map(str.encode))  # fmt: skip
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    parser = parser_of()
    for content_type in (TEXT, OPENMETRICS, "application/vnd.google.protobuf"):
        for _ in range(2):
            try:
                page = parser.parse(body, content_type=content_type, time_ns=1)
            except InputError:
                continue
            assert page.batch.sample_count >= 0
