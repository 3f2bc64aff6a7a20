"""Many series in one file: CSV in the long format, and OpenMetrics.

Method: the same small history in both, every fault in turn, and for OpenMetrics the library's own writer and
parser as the measure.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import CollectorRegistry, Gauge
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sentinel.core.model import SeriesKey, kind_of_signal
from sentinel.errors import InputTooLargeError, MalformedInputError
from sentinel.history import HistoryRows, OpenMetricsFile, SeriesNumbers, read_long
from sentinel.history.rows import bounds_of, check_signal

HEADER = "timestamp,service,stage,route,signal,value,weight\n"
LATER_NS = 2 * 10**18
Row = tuple[SeriesKey, int, float, float]


def flat(batches: list[HistoryRows], numbers: SeriesNumbers) -> list[Row]:
    keys = numbers.keys
    return [
        (keys[series], time_ns, value, weight)
        for one in batches
        for series, time_ns, value, weight in zip(
            one.series.tolist(),
            one.time_ns.tolist(),
            one.value.tolist(),
            one.weight.tolist(),
            strict=True,
        )
    ]


def csv_rows(path: Path, text: str) -> list[Row]:
    path.write_text(text, encoding="utf-8")
    numbers = SeriesNumbers()
    return flat(list(read_long(path, numbers, not_after_ns=LATER_NS)), numbers)


def metrics_rows(path: Path, text: str) -> tuple[list[Row], int]:
    path.write_text(text, encoding="utf-8")
    numbers = SeriesNumbers()
    source = OpenMetricsFile(path)
    found = flat(list(source.rows(numbers, not_after_ns=LATER_NS)), numbers)
    return found, source.skipped_count


def test_the_long_format(tmp_path: Path) -> None:
    text = HEADER + (
        "1700000000,shop,edge,GET /,traffic,12.5,125\n"
        '1700000000,shop,edge,"GET /a,b",errors,,0\n'
        '1700000300,shop,edge,"say ""hi""",traffic,1,\n'
        "1700000300,shop,edge,GET /,traffic,13,130\n"
    )
    found = csv_rows(tmp_path / "h.csv", text)
    np.testing.assert_equal(
        found,
        [
            (SeriesKey("shop", "edge", "GET /", "traffic"), 1700000000 * 10**9, 12.5, 125.0),
            (SeriesKey("shop", "edge", "GET /a,b", "errors"), 1700000000 * 10**9, math.nan, 0.0),
            (SeriesKey("shop", "edge", 'say "hi"', "traffic"), 1700000300 * 10**9, 1.0, math.nan),
            (SeriesKey("shop", "edge", "GET /", "traffic"), 1700000300 * 10**9, 13.0, 130.0),
        ],
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1700000300,shop,edge,GET /,traffic,many,1", "not a number"),
        ("1700000300,shop,edge,GET /,traffic,1,-1", "negative"),
        ("1700000300,shop,edge,GET /,traffic,1", "7 fields"),
        ("1700000300,shop,edge,GET /,traffic,1,1,1", "7 fields"),
        ("1700000300", "7 fields"),
        ('1700000300,shop,edge,"GET /,traffic,1,1', "labels cannot be read"),
        ("1700000300,,edge,GET /,traffic,1,1", "service is empty"),
        ("1700000300,shop,edge,GET \x07,traffic,1,1", "cannot be printed"),
        ("1700000300,shop,edge," + "x" * 300 + ",traffic,1,1", "more than 256"),
        ("1600000000,shop,edge,GET /,traffic,1,1", "goes back in time"),
        ("1700000000,shop,edge,GET /,traffic,1,1", "is there twice"),
        ("2000000001,shop,edge,GET /,traffic,1,1", "in the future"),
        ("1700000300000,shop,edge,GET /,traffic,1,1", "milliseconds"),
    ],
)
def test_faults_of_the_long_format(tmp_path: Path, line: str, words: str) -> None:
    good = "1700000000,shop,edge,GET /,traffic,1,1\n"
    with pytest.raises(MalformedInputError, match=words) as caught:
        csv_rows(tmp_path / "h.csv", HEADER + good + line + "\n")
    assert f"{tmp_path / 'h.csv'}:3: " in str(caught.value)


def test_a_writer_may_quote_every_field(tmp_path: Path) -> None:
    """What quotes all, as some exports do, was refused for a timestamp that is none."""
    quoted = HEADER.strip().replace(",", '","')
    text = f'"{quoted}"\n"1700000000","shop","edge","GET /a,b","traffic","12.5",""\n'
    [(key, time_ns, value, weight)] = csv_rows(tmp_path / "h.csv", text)
    assert (key.route, time_ns, value) == ("GET /a,b", 1700000000 * 10**9, 12.5)
    assert np.isnan(weight)
    with pytest.raises(MalformedInputError, match="not a number of Unix seconds"):
        csv_rows(tmp_path / "h.csv", HEADER + '""1700000000"",a,b,c,traffic,1,\n')


def test_a_long_file_needs_its_header(tmp_path: Path) -> None:
    for text in ("", "timestamp,value\n1,2\n", HEADER.replace("signal", "kind")):
        with pytest.raises(MalformedInputError, match=":1: the header must be"):
            csv_rows(tmp_path / "h.csv", text)


def test_the_number_of_series_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    rows = "".join(f"1,s,e,route {number},traffic,1,1\n" for number in range(11))
    path.write_text(HEADER + rows)
    with pytest.raises(MalformedInputError, match=r"more than 10 series"):
        list(read_long(path, SeriesNumbers(count_max=10), not_after_ns=LATER_NS))


def test_openmetrics(tmp_path: Path) -> None:
    text = (
        "# TYPE sentinel_value gauge\n# HELP sentinel_value Some.\n"
        'sentinel_value{service="shop",stage="edge",route="GET /",signal="traffic"} 12.5 1700000000\n'
        'sentinel_value{service="shop",stage="edge",route="GET /",signal="traffic"} NaN 1700000300.5\n'
        "# TYPE sentinel_weight gauge\n"
        'sentinel_weight{signal="traffic",route="GET /",service="shop",stage="edge"} 125 1700000000\n'
        "# TYPE depth gauge\n# UNIT depth depth\n"
        r'depth{service="s\\hop",stage="a\"b} c",route="r # x"} 3 1700000000' + "\n"
        "# TYPE other gauge\n"
        'other{service="shop"} 3 1700000000\n'
        "# TYPE calls counter\n"
        'calls_total{service="a",stage="b",route="c"} 3 1700000000 # {trace_id="a"} 1 1700000000\n'
        "# TYPE took histogram\n"
        'took_count{service="a",stage="b",route="c"} 3 1700000000\n'
        "# EOF\n"
    )
    found, skipped_count = metrics_rows(tmp_path / "h.om", text)
    traffic = SeriesKey("shop", "edge", "GET /", "traffic")
    np.testing.assert_equal(
        found,
        [
            (traffic, 1700000000 * 10**9, 12.5, math.nan),
            (traffic, 17000003005 * 10**8, math.nan, math.nan),
            (traffic, 1700000000 * 10**9, math.nan, 125.0),
            (SeriesKey("s\\hop", 'a"b} c', "r # x", "depth"), 1700000000 * 10**9, 3.0, math.nan),
        ],
    )
    assert skipped_count == 3


SAMPLE = 'v{service="a",stage="b",route="c"} '


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SAMPLE + "1 1\n", "does not end with # EOF"),
        ("", "does not end with # EOF"),
        ("# EOF\n# EOF\n", ":2: there is something after # EOF"),
        (SAMPLE + "1\n# EOF\n", ":1: a sample needs a timestamp"),
        (SAMPLE + "one 1\n# EOF\n", "not a number"),
        (SAMPLE + "+Inf 1\n# EOF\n", "not a number"),
        (SAMPLE + "1 1700000000000\n# EOF\n", "milliseconds"),
        (SAMPLE + "1 2000000001\n# EOF\n", "in the future"),
        (SAMPLE + "1 5\n" + SAMPLE + "1 5\n# EOF\n", ":2: timestamp 5 is not after"),
        ("# a comment\n# EOF\n", "only TYPE, HELP, UNIT and EOF"),
        ("\n# EOF\n", "not a sample"),
        ('v{service="a} 1 1\n# EOF\n', "not a sample"),
        ('v{service="a",service="a"} 1 1\n# EOF\n', "there twice"),
        ('v{service="",stage="b",route="c"} 1 1\n# EOF\n', "service is empty"),
        ('v{service="\\n",stage="b",route="c"} 1 1\n# EOF\n', "cannot be printed"),
        (
            'sentinel_weight{service="a",stage="b",route="c",signal="d"} -1 1\n# EOF\n',
            "negative",
        ),
    ],
)
def test_faults_of_openmetrics(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(MalformedInputError, match=words):
        metrics_rows(tmp_path / "h.om", text)


LABEL = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=8
).filter(str.isprintable)


def is_no_slip(signal: str) -> bool:
    """Whether a gauge may have this name: one letter off `errors` is refused, as another test says."""
    try:
        check_signal(signal)
    except ValueError:
        return False
    return True


SIGNAL = LABEL.filter(is_no_slip).filter(lambda one: bounds_of(kind_of_signal(one))[0] < 0)
"""Gauges, which may have any value."""


@given(
    samples=st.lists(
        st.tuples(LABEL, LABEL, LABEL, SIGNAL, st.floats(width=32, allow_infinity=False)),
        max_size=8,
        unique_by=lambda sample: sample[:4],
    )
)
def test_it_reads_what_the_library_reads(
    tmp_path_factory: pytest.TempPathFactory, samples: list[tuple[str, str, str, str, float]]
) -> None:
    """The library writes a page, we add timestamps, and both of us read it."""
    registry = CollectorRegistry()
    gauge = Gauge("sentinel_value", "Any.", SeriesKey._fields, registry=registry)
    for *labels, value in samples:
        gauge.labels(*labels).set(value)
    page = generate_latest(registry).decode()  # type: ignore[no-untyped-call]
    lines = [line if line.startswith("#") else f"{line} 1700000000" for line in page.splitlines()]
    text = "\n".join(lines) + "\n"
    found, skipped_count = metrics_rows(tmp_path_factory.mktemp("om") / "h.om", text)
    expected = [
        (
            SeriesKey(*(sample.labels[name] for name in SeriesKey._fields)),
            1700000000 * 10**9,
            sample.value,
            math.nan,
        )
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    ]
    np.testing.assert_equal(found, expected)
    assert skipped_count == 0


@given(content=st.binary(max_size=300), name=st.sampled_from(["h.om", "h.csv", "h.csv.gz"]))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    numbers = SeriesNumbers()
    source = (
        OpenMetricsFile(path).rows(numbers, not_after_ns=LATER_NS)
        if name == "h.om"
        else read_long(path, numbers, not_after_ns=LATER_NS)
    )
    refusal = f"{path}:1: "
    try:
        list(source)
    except (MalformedInputError, InputTooLargeError) as error:
        refusal = str(error)
    assert refusal.startswith(f"{path}:")
