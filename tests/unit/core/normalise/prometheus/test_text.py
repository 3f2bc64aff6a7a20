"""Goal: a page of text means what its format says, from exporters as they are, and a known page means the same as a new one.

Method: pages written out, and those of the client library, read by a parser that has seen them and by one that has not.
"""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram, Info, Summary

from sentinel.core.model import Reading, RejectReason, Temporality
from sentinel.core.normalise.prometheus import (
    CallRule,
    DefaultPlacing,
    MetricsPage,
    MetricsParser,
    PageFormat,
    PageLimits,
    PlacingRules,
)
from sentinel.errors import MalformedInputError, UnsupportedInputError
from tests.support.scraped import (
    OPENMETRICS,
    TEXT,
    histograms_in,
    numbers_in,
    openmetrics_of,
    parser_of,
    text_of,
)

NOW_NS = 1_790_000_000 * 10**9


def read(
    page: str, parser: MetricsParser | None = None, *, content_type: str = TEXT
) -> MetricsPage:
    parser = parser or parser_of()
    return parser.parse(page.encode(), content_type=content_type, time_ns=NOW_NS)


def given_in(page: MetricsPage) -> dict[tuple[str, str], float]:
    return {name: value for name, value in numbers_in(page.batch).items() if not math.isnan(value)}


def test_numbers_of_every_type() -> None:
    page = read(
        "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\n"
        'jobs_total{kind="a",queue="x"} 3\njobs_total{kind="b"} 1e3\n'
        "# TYPE depth gauge\ndepth -2.5\n"
        "# just a comment\n"
        "loose 7\n"
        "# TYPE lag summary\n"
        'lag{quantile="0.5"} 0.1\nlag_sum 17\nlag_count 12\n'
    )
    assert numbers_in(page.batch) == {
        ("jobs_total", "kind=a,queue=x"): 3,
        ("jobs_total", "kind=b"): 1000,
        ("depth", "all"): -2.5,
        ("loose", "all"): 7,
        ("lag_count", "all"): 12,
        ("lag", "quantile=0.5"): 0.1,
    }
    assert page.batch.services == {"shop"}
    assert page.families == {"jobs_total", "depth", "lag"}
    assert not page.batch.rejected


def test_values_and_labels_in_every_spelling() -> None:
    page = read(
        '  a {x="1"}   +5  \n'
        "b\t.5\n"
        "c 5.\n"
        "d 1E+2\n"
        'e{x="q\\"u\\\\o\\nt",y="a,b}{",} 1\n'
        "f NaN\ng +Inf\nh -Inf\ni inf\n"
        "j 1\r\n"
    )
    found = numbers_in(page.batch)
    assert {name: found[name, route] for name, route in found if name in "abcdej"} == {
        "a": 5, "b": 0.5, "c": 5, "d": 100, "e": 1, "j": 1,
    }  # fmt: skip
    assert ("e", 'x=q"u\\o t,y=a,b}{') in found
    assert all(math.isnan(found[name, "all"]) for name in "fghi")
    assert page.batch.rejected == {RejectReason.NOT_FINITE: 4}


def test_names_in_utf8_of_text_1_0_0() -> None:
    page = read(
        '# TYPE "my.jobs" counter\n{"my.jobs","a.b"="c",d="e"} 4\n{"other"} 2\n',
        content_type="text/plain; version=1.0.0; escaping=allow-utf-8",
    )
    assert numbers_in(page.batch) == {("my.jobs", "a.b=c,d=e"): 4, ("other", "all"): 2}


def test_a_known_page_is_read_like_a_new_one() -> None:
    first = '# TYPE a counter\na{x="1"} 1\na{x="2"} 2\n# TYPE b gauge\nb 3.5\nc NaN\n'
    then = '# TYPE a counter\na{x="1"} 10\na{x="2"} 2e3\n# TYPE b gauge\nb -0\nc 1\n'
    known = parser_of()
    read(first, known)
    layout = known._text._layout
    page = read(then, known)
    assert known._text._layout is layout
    assert numbers_in(page.batch) == numbers_in(read(then).batch)
    assert page.batch.scraped[0].cell is read(then, known).batch.scraped[0].cell


@pytest.mark.parametrize(
    "then",
    [
        'a{x="1"} 10\n',  # a line less
        'a{x="1"} 10\na{x="2"} 2\nb 3\nd 4\n',  # one more
        'a{x="1"} 10\nb 3\na{x="2"} 2\n',  # another order
        'a{x="1"} 10\na{x="3"} 2\nb 3\n',  # another label of the same length
        'a{x="1"} 10\na{x="2"} 2,5\nb 3 4\n',  # as many commas as values
        'a{x="1"} 10\na{x="2"} 2 1790000000000\nb 3\n',  # a timestamp
        'a{x="1"} 0x10\na{x="2"} 2\nb 3\n',
        'a{x="1"} 1_0\na{x="2"} 2\nb 3\n',
        'a{x="1"} [1]\na{x="2"} 2\nb 3\n',
        'a{x="1"} null\na{x="2"} 2\nb 3\n',
        'a{x="1"} \na{x="2"} 2\nb 3\n',
        'a{x="1"} 007\na{x="2"} +2\nb 3\n',
        'a{x="1"}  1\na{x="2"} \t2\nb   3\n',  # set to the right
        'a{x="1"} \na{x="2"} 2\n# b 3\nb 3\n',
        'a{x="1"} 1\na{x="2"} 2\n# b 3\n',
        'a{x="1"} 1\na{x="2"} 2\nb 3',
        "",
    ],
)
def test_a_page_that_is_not_as_it_was_is_read_like_a_new_one(then: str) -> None:
    known = parser_of()
    read('a{x="1"} 1\na{x="2"} 2\nb 3\n', known)
    page, fresh = read(then, known), read(then)
    assert given_in(page) == given_in(fresh)
    assert page.batch.rejected == fresh.batch.rejected
    assert page.faults == fresh.faults


def test_series_come_and_go_and_keep_their_cells() -> None:
    parser = parser_of()
    cells = []
    for page in ("a 1\nb 2\n", "b 2\n", "c 9\na 1\nb 2\n"):
        columns = read(page, parser).batch.scraped[0]
        table = columns.table
        cells.append(
            {
                table.placed[int(table.stream_of_cell[cell])].signal: cell
                for cell in columns.cell.tolist()
            }
        )
    assert cells[0] == {"a": 0, "b": 1}
    assert cells[1] == {"b": 1}
    assert cells[2] == {"a": 0, "b": 1, "c": 2}


def test_histograms_count_in_each_bucket_alone() -> None:
    page = read(
        "# TYPE size_bytes histogram\n"
        'size_bytes_bucket{le="10"} 1\nsize_bytes_bucket{le="100"} 4\n'
        'size_bytes_bucket{le="+Inf"} 6\nsize_bytes_sum 345\nsize_bytes_count 6\n'
    )
    assert histograms_in(page.batch) == {
        ("size_bytes", "all", False): {10: 1, 100: 3, math.inf: 2}
    }


def test_a_bucket_that_is_not_there_holds_what_the_lower_one_holds() -> None:
    """Kong leaves a bucket out until something was counted in it, and puts lines of one histogram apart."""
    parser = parser_of()
    head = "# TYPE ms histogram\n"
    read(head + 'ms_bucket{le="50"} 2\nms_bucket{le="+Inf"} 3\nms_count 3\nms_sum 1\n', parser)
    page = read(
        head + 'ms_bucket{le="50"} 2\nother 1\nms_bucket{le="+Inf"} 5\nms_bucket{le="25"} 1\n'
        "ms_count 5\nms_sum 1\n",
        parser,
    )
    assert histograms_in(page.batch) == {("ms", "all", False): {25: 1, 50: 1, math.inf: 3}}
    # After its restart none of the lower ones is there.
    page = read(head + 'ms_bucket{le="+Inf"} 1\nms_count 1\n', parser)
    assert histograms_in(page.batch) == {("ms", "all", False): {25: 0, 50: 0, math.inf: 1}}
    page = read(head + "ms_count 1\nms_sum 1\n", parser)
    assert histograms_in(page.batch) == {("ms", "all", False): {25: 0, 50: 0, math.inf: 1}}


@pytest.mark.parametrize(
    "lines",
    [
        'h_bucket{le="1"} 5\nh_bucket{le="+Inf"} 3\n',
        'h_bucket{le="1"} NaN\nh_bucket{le="+Inf"} 3\n',
        'h_bucket{le="1"} -1\nh_bucket{le="+Inf"} 3\n',
        'h_bucket{le="1"} +Inf\nh_bucket{le="+Inf"} +Inf\n',
    ],
)
def test_a_histogram_that_cannot_be_is_left_out_whole(lines: str) -> None:
    page = read(f"# TYPE h histogram\n{lines}ok 1\n")
    assert all(
        math.isnan(count) for count in histograms_in(page.batch)["h", "all", False].values()
    )
    assert page.batch.rejected == {RejectReason.BAD_SHAPE: 1}
    assert numbers_in(page.batch) == {("ok", "all"): 1}


def test_a_boundary_that_is_no_number_is_left_out() -> None:
    page = read('# TYPE h histogram\nh_bucket{le="x"} 1\nh_bucket{le="+Inf"} 3\nh_bucket 4\n')
    assert histograms_in(page.batch) == {("h", "all", False): {math.inf: 3}}
    assert page.batch.rejected == {RejectReason.BAD_SHAPE: 2}


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    jobs = Counter("jobs", "Jobs.", ["kind"], registry=made)
    jobs.labels('a "b"\\\n').inc(3, exemplar={"trace_id": "ab" * 16})
    jobs.labels("c").inc()
    Gauge("depth", "Depth.", registry=made).set(4.5)
    durations = Histogram("http_request_duration_seconds", "D.", ["method", "handler", "code"], registry=made)  # fmt: skip
    for code, seconds in (("200", 0.02), ("200", 0.3), ("503", 20.0)):
        durations.labels("GET", "/pay", code).observe(seconds, exemplar={"trace_id": "cd" * 16})
    Summary("lag_seconds", "L.", registry=made).observe(3)
    Info("build", "B.", registry=made).info({"version": "1"})
    Enum("mode", "M.", states=["on", "off"], registry=made).state("off")
    return made


def test_both_formats_of_the_client_library_say_the_same() -> None:
    made = registry()
    text = read(text_of(made).decode())
    openmetrics = read(openmetrics_of(made).decode(), content_type=OPENMETRICS)
    assert text.format is PageFormat.TEXT
    assert openmetrics.format is PageFormat.OPENMETRICS
    assert numbers_in(text.batch) == numbers_in(openmetrics.batch)
    assert numbers_in(text.batch) == {
        ("jobs_total", 'kind=a "b"\\'): 3,
        ("jobs_total", "kind=c"): 1,
        ("depth", "all"): 4.5,
        ("lag_seconds_count", "all"): 1,
        ("mode", "mode=on"): 0,
        ("mode", "mode=off"): 1,
    }
    assert histograms_in(text.batch) == histograms_in(openmetrics.batch)
    counted = {
        name: {bound: count for bound, count in one.items() if count}
        for name, one in histograms_in(text.batch).items()
    }
    name = "http_request_duration_seconds", "GET /pay"
    assert counted == {(*name, False): {0.025: 1, 0.5: 1}, (*name, True): {math.inf: 1}}
    counters = [
        {name for name in page.batch.scraped[0].table.identity if "counter" in name}
        for page in (text, openmetrics)
    ]
    assert counters[0] == counters[1], "counters go on when the format changes"


def test_openmetrics_exemplars_are_read_over_and_starts_are_kept() -> None:
    parser = parser_of()
    page = (
        "# TYPE jobs counter\n"
        'jobs_total{k="a"} 5 # {trace_id="abc"} 1.0 1790000000.5\njobs_created{k="a"} 1789999000.25\n'
        'jobs_total{k="b"} 6\n'
        "# EOF\n"
    )
    for _ in range(2):
        columns = read(page, parser, content_type=OPENMETRICS).batch.scraped[0]
        assert columns.value.tolist() == [5, 6]
        assert columns.start_ns is not None
        assert columns.start_ns.tolist() == [1_789_999_000_250_000_000, 0]


def test_timestamps_are_honoured_when_asked() -> None:
    page = "a 1 1789999990000\nb 2\n# TYPE h histogram\n" 'h_bucket{le="1"} 1 1789999995500\nh_bucket{le="+Inf"} 1 1789999995500\n'  # fmt: skip
    (columns,) = read(page).batch.scraped
    assert columns.time_ns == NOW_NS
    assert columns.is_whole
    parts = read(page, parser_of(honour_timestamps=True)).batch.scraped
    assert {part.time_ns - NOW_NS: part.value.tolist() for part in parts} == {
        -10_000_000_000: [1.0],
        -4_500_000_000: [1.0, 0.0],
        0: [2.0],
    }
    assert not any(part.is_whole for part in parts)
    seconds = read(
        "# TYPE a gauge\na 1 1789999990.25\n# EOF\n",
        parser_of(honour_timestamps=True),
        content_type=OPENMETRICS,
    ).batch.scraped
    assert seconds[0].time_ns - NOW_NS == -9_750_000_000


def test_a_gauge_histogram_is_a_level_of_its_own() -> None:
    page = read(
        "# TYPE sizes gaugehistogram\n"
        'sizes_bucket{le="10"} 2\nsizes_bucket{le="+Inf"} 2\nsizes_gcount 2\nsizes_gsum 9\n# EOF\n',
        content_type=OPENMETRICS,
    )
    (point,) = page.batch.distributions
    assert point.temporality is Temporality.GAUGE
    assert point.count.tolist() == [2]
    assert not page.batch.scraped


def test_lines_that_make_no_sense_are_left_out_and_told_of_by_number() -> None:
    page = read('a 1\nb\nc{x=1} 2\n{y="z"} 1\nd one\ne 5 6 7\nf 1\ng 2\nh 3\ni 4\nj 5\n')
    assert sorted(name for name, _ in numbers_in(page.batch)) == ["a", *"defghij"]
    assert page.batch.rejected[RejectReason.BAD_SHAPE] == 5
    assert [fault.split(":")[0] for fault in page.faults] == [
        "line 2", "line 3", "line 4", "line 5", "line 6",
    ]  # fmt: skip
    assert not page.batch.scraped[0].is_whole


@pytest.mark.parametrize(
    ("page", "content_type", "fault"),
    [
        ("a 1\nb\n", TEXT, "line 2: there is no value"),
        ("a 1\na 2\n", TEXT, "line 2: the series is there twice"),
        ('a{x="1",x="2"} 1\n', TEXT, "line 1: label 'x' is there twice"),
        ("a 1", TEXT, "line 1: the last line does not end"),
        ("a 1\n# TYPE a counter\n", TEXT, "line 1: a sample of a before its TYPE"),
        ("# TYPE a counter\na 1\nb 1\na{x=\"1\"} 2\n", TEXT, "line 4: the lines of a are not together"),
        ("# TYPE a counter\n# TYPE a gauge\na 1\n", TEXT, "line 2: TYPE of a is there twice"),
        ("# TYPE a number\na 1\n", TEXT, "line 1: 'number' is no type of metric"),
        ("# TYPE a gauge\n\na 1\n# EOF\n", OPENMETRICS, "line 2: an empty line"),
        ("# TYPE a gauge\na 1\n# EOF\nb 1\n", OPENMETRICS, "line 4: there is something after # EOF"),
        ("# TYPE a gauge\n# note\na 1\n# EOF\n", OPENMETRICS, "line 2: only TYPE"),
    ],
)  # fmt: skip
def test_strictness_refuses_the_page_and_names_the_line(
    page: str, content_type: str, fault: str
) -> None:
    with pytest.raises(MalformedInputError, match="^" + fault.replace("(", r"\(")):
        read(page, parser_of(strict=True), content_type=content_type)


def test_strictness_names_the_line_of_a_series_that_is_known_and_has_no_value_now() -> None:
    parser = parser_of(strict=True)
    read("a 1\nb 2\n", parser)
    with pytest.raises(MalformedInputError, match=r"^line 2: there is no value$"):
        read("a 1\nb \n", parser)


def test_a_value_that_is_missing_in_front_of_a_comment_costs_its_sample_alone() -> None:
    """Where all other values are of one byte the poll broke."""
    parser = parser_of()
    read("a 1\n# x\nb 2\n", parser)
    page = read("a \n# x\nb 2\n", parser)
    assert numbers_in(page.batch)["b", "all"] == 2
    assert page.faults == ("line 1: there is no value",)


def test_strictness_takes_what_the_client_library_writes() -> None:
    made = registry()
    assert read(text_of(made).decode(), parser_of(strict=True)).batch.sample_count > 30
    page = read(openmetrics_of(made).decode(), parser_of(strict=True), content_type=OPENMETRICS)
    assert page.batch.sample_count > 30


def test_a_page_that_was_cut_off_or_is_no_metrics_page_is_never_put_up_with() -> None:
    parser = parser_of()
    read("# TYPE a gauge\na 1\nb 1\n# EOF\n", parser, content_type=OPENMETRICS)
    for cut in ("# TYPE a gauge\na 1\nb 1\n", "# TYPE a gauge\na 1\nb 1\n# EO\n"):
        with pytest.raises(MalformedInputError, match="does not end with # EOF"):
            read(cut, parser, content_type=OPENMETRICS)
    with pytest.raises(MalformedInputError, match="no metrics page: line 1"):
        read("<html>\n<body>hello</body>\n</html>\n")
    for content_type in ("text/html", "application/json", "application/vnd.google.protobuf; encoding=text"):  # fmt: skip
        with pytest.raises(UnsupportedInputError):
            read("a 1\n", content_type=content_type)
    assert numbers_in(read("a 1\n", content_type="").batch) == {("a", "all"): 1}
    assert read("").batch.sample_count == 0


def test_negative_counters_and_immense_numbers_are_left_out() -> None:
    page = read("# TYPE a counter\na -1\nb 1e39\nc -1\n")
    found = numbers_in(page.batch)
    assert math.isnan(found["a", "all"])
    assert math.isnan(found["b", "all"])
    assert found["c", "all"] == -1
    assert page.batch.rejected == {RejectReason.NEGATIVE: 1, RejectReason.NOT_FINITE: 1}


def test_what_is_known_is_taken_before_what_is_new() -> None:
    parser = parser_of(limits=PageLimits(sample_count_max=3))
    read("a 1\nb 2\n", parser)
    flood = "".join(f'x{{id="{at}"}} 1\n' for at in range(50))
    page = read(flood + "a 1\nb 2\n", parser)
    assert {name for name, _ in numbers_in(page.batch)} == {"a", "b", "x"}
    assert page.batch.sample_count == 3
    assert page.batch.rejected == {RejectReason.LIMIT: 49}
    assert not page.batch.scraped[0].is_whole
    # Another flood, under other names, does not put the first one's out, and nothing grows with it.
    for number in range(20):
        page = read(flood.replace("id=", f"id{number}=") + "a 1\nb 2\n", parser)
        assert page.batch.sample_count == 3
    assert parser._text._streams.size < 40
    assert len(parser._text._known) < 150


def test_labels_over_their_limits_leave_their_sample_out() -> None:
    limits = PageLimits(label_count_max=2, label_name_chars_max=5, label_value_chars_max=10)
    page = read(
        'a{b="1",c="2"} 1\na{b="1",c="2",d="3"} 1\na{toolong="1"} 1\na{b="12345678901"} 1\n',
        parser_of(limits=limits),
    )
    assert list(numbers_in(page.batch)) == [("a", "b=1,c=2")]
    assert page.batch.rejected == {RejectReason.LIMIT: 3}
    huge = read("a 1\n" + 'b{x="' + "y" * 200_000 + '"} 1\n')
    assert huge.batch.rejected == {RejectReason.LIMIT: 1}


def test_a_target_that_names_its_series_anew_again_and_again_is_bounded() -> None:
    parser = parser_of(limits=PageLimits(sample_count_max=10))
    tables = set()
    for number in range(30):
        page = read("".join(f'a{{n="{number}-{at}"}} 1\n' for at in range(8)), parser)
        assert page.batch.sample_count == 8
        tables.add(id(page.batch.scraped[0].table))
        assert parser._text._streams.size < 60
    assert len(tables) > 1


def test_a_metric_that_changes_its_type_is_another_stream() -> None:
    parser = parser_of()
    first = read("# TYPE a counter\na 1\n", parser).batch.scraped[0]
    then = read("# TYPE a gauge\na 1\n", parser).batch.scraped[0]
    assert first.cell.tolist() != then.cell.tolist()
    assert [placed.reading.name for placed in then.table.placed] == ["RATE", "LEVEL"]


def test_secrets_in_labels_are_gone() -> None:
    page = read('a{token="eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"} 1\n')  # fmt: skip
    ((_, route),) = numbers_in(page.batch)
    assert "eyJhbGci" not in route


def test_a_quantile_is_the_same_series_in_every_format_and_nothing_while_it_is_not_a_number() -> (
    None
):
    parser = parser_of()
    told = {
        ("lag", "quantile=0.5,zone=a"): 0.1,
        ("lag", "quantile=1,zone=a"): 2.5,
        ("lag_count", "zone=a"): 3,
    }
    lines = '# TYPE lag summary\nlag{zone="a",quantile="0.5"} 0.1\n'
    plain = read(f'{lines}lag{{zone="a",quantile="1"}} 2.5\nlag_count{{zone="a"}} 3\n', parser)
    assert numbers_in(plain.batch) == told
    again = read(
        f'{lines}lag{{zone="a",quantile="1.0"}} 2.5\nlag_count{{zone="a"}} 3\n# EOF\n',
        parser,
        content_type=OPENMETRICS,
    )
    assert numbers_in(again.batch) == told
    assert again.batch.scraped[0].table is plain.batch.scraped[0].table
    assert again.batch.scraped[0].table.stream_count == len(told)
    idle = read(f'{lines}lag{{zone="a",quantile="1"}} NaN\nlag_count{{zone="a"}} 3\n', parser)
    assert given_in(idle) == {name: value for name, value in told.items() if value != 2.5}
    assert not idle.batch.rejected, "an idle summary's quantiles are no fault"


@pytest.mark.parametrize("quantile", ["", "x", "NaN", "2", "-0.5"])
def test_a_quantile_that_is_none_is_refused(quantile: str) -> None:
    page = read(f'# TYPE lag summary\nlag{{quantile="{quantile}"}} 1\nlag_count 3\n')
    assert numbers_in(page.batch) == {("lag_count", "all"): 3}
    assert page.batch.rejected == {RejectReason.BAD_SHAPE: 1}


def test_a_rule_that_makes_calls_of_a_summary_makes_none_of_its_quantiles() -> None:
    rules = PlacingRules(service="shop", calls=(CallRule(metric="wait_seconds"),))
    page = read(
        '# TYPE wait_seconds summary\nwait_seconds{quantile="0.5"} 0.25\nwait_seconds_count 3\n',
        parser_of(placing=DefaultPlacing(rules)),
    )
    (columns,) = page.batch.scraped
    assert [placed.reading for placed in columns.table.placed] == [Reading.CALLS]
    assert columns.value.tolist() == [3]
