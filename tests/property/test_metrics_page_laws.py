"""Goal: a page is read as the client library's own parser reads it, whatever its names, labels and values are.

Method: hypothesis makes families with odd labels and numbers; the library writes and parses them, this project's parser reads the
text new and again with other values. Pages whose lines and bytes are changed are read by a parser that knows the page before, and
by one that knows nothing and reads line by line: both say the same to the bit.
"""

from __future__ import annotations

import math

import pytest
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
from sentinel.core.normalise.prometheus import (
    MetricsPage,
    MetricsParser,
    MetricType,
    SeriesName,
    layout,
)
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


BASE = (
    b"# HELP a things\n# TYPE a gauge",
    b"a 1",
    b'a{topic="in"} 2.5',
    b'a{topic="in",b="c d"} 3',
    b"ab 4e3",
    b"# TYPE http_request_duration_seconds histogram",
    b'http_request_duration_seconds_bucket{code="200",le="0.1"} 5',
    b'http_request_duration_seconds_bucket{code="200",le="+Inf"} 17',
    b"http_request_duration_seconds_count 17",
    b"# TYPE jobs_total counter",
    b"jobs_total 123456789",
    b'q{quantile="0.5"} 0.25',
)
numbers = st.sampled_from(
    [
        "0",
        "-0",
        "7",
        "0.1",
        "12345678901234567890",
        "9007199254740993",
        "0.30000000000000004",
        "1e5",
        "1E-7",
        "4.9e-324",
        "1e400",
        "NaN",
        "+Inf",
        "-Inf",
        "nan",
        "inf",
    ]
) | st.floats().map(repr)
odd_ends = st.sampled_from(
    [
        *("", "+1", "01", "1.", ".5", "1e", "1,2", "null", "[1]", "0x1p3", "1_0", "--1", "1 2 3"),
        *(
            "1\r",
            "1 ",
            " 1",
            "\t1",
            "1\t",
            "1 1795329337123",
            "1 17953293.5",
            "1 -5",
            "1 NaN",
            "\u0661",
        ),
        *("1" * 32, "1" * 33, "0." + "3" * 40, "1" + "0" * 30, "NaNNaN", "1NaN", "-NaN"),
        *('1 # {trace_id="5b8e"} 0.5', '12 # {a="b c"} 1 1795329337.5', '1 17953 # {a="\\""} 2'),
    ]
)
ends_changed = st.tuples(st.just("end"), st.integers(0, len(BASE) - 1), numbers | odd_ends)
lines_changed = st.tuples(
    st.sampled_from(["byte", "prefix", "twice", "gone", "swap", "feed", "all", "no feed"]),
    st.integers(0, len(BASE) - 1),
    st.integers(0, 255).map(chr) | numbers,
)
changes = st.lists(ends_changed | lines_changed, min_size=1, max_size=3)


def changed_page(lines: list[bytes], made: list[tuple[str, int, str]]) -> bytes:
    """A page of these lines with changes made to it, one after the other."""
    end = b"\n"
    for what, number, text in made:
        at = number % len(lines) if lines else 0
        if what == "no feed":
            end = b""
        if not lines:
            continue
        line = lines[at]
        if b" # " in line and what not in ("twice", "gone", "swap"):
            # What is wrong in an exemplar is read over where all values are numbers: nothing of it is used.
            continue
        head = line[: line.rfind(b" ") + 1]
        if what == "end" and not line.startswith(b"#"):
            lines[at] = head + text.encode()
        elif what == "all":
            lines = [
                each
                if each.startswith(b"#") or b" # " in each
                else each[: each.rfind(b" ") + 1] + text.encode()
                for each in lines
            ]
        elif what == "byte":
            place = 7 * number % (len(line) + 1)
            lines[at] = line[:place] + text[:1].encode("latin-1", "replace") + line[place + 1 :]
        elif what == "prefix":
            lines[at] = line[: len(line) // 2] + b" 1"
        elif what == "twice":
            lines.insert(at, line)
        elif what == "gone":
            del lines[at]
        elif what == "swap":
            lines[at], lines[-1] = lines[-1], lines[at]
        elif what == "feed":
            lines[at] = line + b"\r"
    return b"\n".join(lines) + end


def told(parser: MetricsParser, body: bytes, content_type: str) -> object:
    """All that a page brings, to the bit, and which lines made no sense; or that it is refused."""
    try:
        page = parser.parse(body, content_type=content_type, time_ns=10**18)
    except InputError:
        return None
    cells: dict[object, str] = {}
    for columns in page.batch.scraped:
        table = columns.table
        for cell, value in zip(columns.cell.tolist(), columns.value.tolist(), strict=True):
            stream = int(table.stream_of_cell[cell])
            key = (table.identity[stream], table.placed[stream], table.bound[cell].hex())
            assert (key, columns.time_ns) not in cells, "each once"
            # Of a histogram a line that makes no sense costs all where it is known, and itself where it is not.
            if page.faults and not math.isnan(table.bound[cell]):
                continue
            # No number is as if it were not there, and so is a boundary of before that holds what the next lower one does.
            if not math.isnan(value) and (value or math.isnan(table.bound[cell])):
                cells[key, columns.time_ns] = (value + 0.0).hex()
    # Of many, which are told of depends on which were known.
    lines = {fault.partition(":")[0] for fault in page.faults} if len(page.faults) < 5 else None
    rejected = {} if page.faults else page.batch.rejected
    return cells, rejected, page.batch.services, page.families, lines


@settings(max_examples=examples(150, thorough=3000))
@given(
    made=st.lists(changes, min_size=1, max_size=4),
    strict=st.booleans(),
    honour=st.booleans(),
    openmetrics=st.booleans(),
)
def test_a_known_page_is_read_as_line_by_line(
    made: list[list[tuple[str, int, str]]], *, strict: bool, honour: bool, openmetrics: bool
) -> None:
    content_type = OPENMETRICS if openmetrics else TEXT
    known = parser_of(placing=Everything(), strict=strict, honour_timestamps=honour)
    end = b"# EOF\n" if openmetrics else b""
    plain = b"\n".join(BASE) + b"\n" + end
    for each in made:
        body = changed_page(list(BASE), each) + end
        told(known, plain, content_type)
        # Learnt with the first, read as known with the second.
        for _ in range(2):
            fresh = parser_of(placing=Everything(), strict=strict, honour_timestamps=honour)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(layout, "_numbers_of", lambda text, count: None)
                expected = told(fresh, body, content_type)
            assert told(known, body, content_type) == expected
