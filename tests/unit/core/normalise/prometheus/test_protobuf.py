"""Goal: protobuf pages say what the text of the same registry says, and their native histograms what was observed.

Method: messages made with the real field numbers, written by hand where the messages of this project cannot be wrong enough.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sentinel.core.model import DistributionPoint, RejectReason, Temporality
from sentinel.core.normalise.prometheus import MetricsPage, MetricsParser, PageFormat, PageLimits
from sentinel.core.normalise.prometheus.schema import LabelPair, MetricFamily
from sentinel.core.stats import log_linear
from sentinel.errors import InputTooLargeError, MalformedInputError
from tests.support.scraped import TEXT, histograms_in, numbers_in, parser_of

PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"  # fmt: skip
NOW_NS = 1_790_000_000 * 10**9
COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)


def delimited(*messages: bytes) -> bytes:
    body = b""
    for message in messages:
        length = len(message)
        while length > 127:
            body += bytes([length & 127 | 128])
            length >>= 7
        body += bytes([length]) + message
    return body


def family(name: str, kind: int, *metrics: dict[str, Any], **labels: str) -> bytes:
    made = MetricFamily(name=name.encode(), type=kind)
    for each in metrics:
        metric = made.metric.add(**each)
        for label, value in labels.items():
            pair = LabelPair(name=label.encode(), value=value.encode())
            metric.label.append(pair.SerializeToString())
    data: bytes = made.SerializeToString()
    return data


def read(*families: bytes, parser: MetricsParser | None = None) -> MetricsPage:
    parser = parser or parser_of()
    return parser.parse(delimited(*families), content_type=PROTOBUF, time_ns=NOW_NS)


def buckets(*pairs: tuple[float, int]) -> list[dict[str, float]]:
    return [{"upper_bound": bound, "cumulative_count": count} for bound, count in pairs]


def test_every_type_says_what_its_text_says() -> None:
    page = read(
        family("jobs_total", COUNTER, {"counter": {"value": 3}}, queue="a"),
        family("depth", GAUGE, {"gauge": {"value": -2.5}}),
        family("loose", UNTYPED, {"untyped": {"value": 7}}),
        family("lag", SUMMARY, {"summary": {
            "sample_count": 12, "sample_sum": 3.0,
            "quantile": [{"quantile": 0.5, "value": 0.25}, {"quantile": 1.0, "value": math.nan}],
        }}),
        family(
            "size", HISTOGRAM,
            {"histogram": {"sample_count": 6, "sample_sum": 9.0, "bucket": buckets((10, 1), (100, 4))}},
        ),
    )  # fmt: skip
    text = parser_of().parse(
        b'# TYPE jobs_total counter\njobs_total{queue="a"} 3\n# TYPE depth gauge\ndepth -2.5\n'
        b"loose 7\n# TYPE lag summary\nlag_sum 3\nlag_count 12\n"
        b'lag{quantile="0.5"} 0.25\nlag{quantile="1"} NaN\n# TYPE size histogram\n'
        b'size_bucket{le="10"} 1\nsize_bucket{le="100"} 4\nsize_bucket{le="+Inf"} 6\nsize_count 6\n',
        content_type=TEXT,
        time_ns=NOW_NS,
    )
    assert page.format is PageFormat.PROTOBUF
    assert not page.batch.rejected
    assert not text.batch.rejected
    said, written = numbers_in(page.batch), numbers_in(text.batch)
    assert math.isnan(said.pop(("lag", "quantile=1")))
    assert math.isnan(written.pop(("lag", "quantile=1")))
    assert said == written
    assert said["lag", "quantile=0.5"] == 0.25
    assert histograms_in(page.batch) == histograms_in(text.batch)
    assert page.families == {"jobs_total", "depth", "loose", "lag", "size"}
    assert set(page.batch.scraped[0].table.identity) == set(text.batch.scraped[0].table.identity)


def test_a_known_page_keeps_its_cells_and_starts_are_told() -> None:
    parser = parser_of()
    pages = [
        read(
            family("a_total", COUNTER, {"counter": {"value": value, "created": {"seconds": 1_789_999_000, "nanos": 500}}}),
            parser=parser,
        )
        for value in (1.0, 5.0)
    ]  # fmt: skip
    first, second = (page.batch.scraped[0] for page in pages)
    assert second.cell is first.cell
    assert second.value.tolist() == [5.0]
    assert second.start_ns is not None
    assert second.start_ns.tolist() == [1_789_999_000 * 10**9]


def test_timestamps_are_honoured_when_asked() -> None:
    metric = {"gauge": {"value": 1.0}, "timestamp_ms": 1_789_999_990_000}
    parts = read(family("a", GAUGE, metric), family("b", GAUGE, {"gauge": {"value": 2.0}}), parser=parser_of(honour_timestamps=True)).batch.scraped  # fmt: skip
    assert [part.time_ns - NOW_NS for part in parts] == [-10_000_000_000, 0]
    assert read(family("a", GAUGE, metric)).batch.scraped[0].time_ns == NOW_NS


def native(schema: int, *, name: str = "http_request_duration_seconds", kind: int = HISTOGRAM, **given: Any) -> bytes:  # fmt: skip
    return family(
        name, kind, {"histogram": {"schema": schema, **given}}, method="GET", handler="/x"
    )


def only(page: MetricsPage) -> DistributionPoint:
    (point,) = page.batch.distributions
    return point


@pytest.mark.parametrize("schema", range(-4, 9))
def test_native_histograms_hold_what_was_observed(schema: int) -> None:
    rng = np.random.default_rng(schema + 10)
    observed = np.exp(rng.normal(-2, 1, 500))
    index = np.ceil(np.log2(observed) * 2.0**schema).astype(int)
    present, count = np.unique(index, return_counts=True)
    spans, deltas, before = [], [], 0
    last = None
    for at, number in zip(present.tolist(), count.tolist(), strict=True):
        if last is not None and at == last + 1:
            spans[-1]["length"] += 1
        else:
            spans.append({"offset": at if last is None else at - last - 1, "length": 1})
        deltas.append(number - before)
        before, last = number, at
    page = read(native(schema, sample_count=503, zero_count=3, zero_threshold=1e-9, positive_span=spans, positive_delta=deltas))  # fmt: skip
    point = only(page)
    assert point.is_calls
    assert point.scope.route == "GET /x"
    assert point.temporality is Temporality.CUMULATIVE
    assert int(point.count.sum()) == 503
    assert point.bucket[0] == 0
    assert point.count[0] == 3
    # The middle of a bucket is at most its own width away from what was observed in it.
    width = 2.0 ** (2.0**-schema)
    for quantile in (0.5, 0.95):
        told = log_linear.quantile(point.bucket, point.count, quantile)
        truth = float(np.quantile(observed, quantile))
        assert truth / width / 1.05 < told < truth * width * 1.05


def test_negative_observations_and_those_in_no_bucket_are_counted() -> None:
    point = only(
        read(
            native(
                0,
                sample_count=10,
                negative_span=[{"offset": 0, "length": 2}],
                negative_delta=[2, 1],
                positive_span=[{"offset": 1, "length": 1}],
                positive_delta=[4],
            )
        )
    )
    assert dict(zip(point.bucket.tolist(), point.count.tolist(), strict=True)) == {
        int(log_linear.bucket_of(np.array([math.sqrt(2)]))[0]): 4,
        log_linear.UNTIMED: 6,
    }


def test_counts_as_floats_and_custom_boundaries() -> None:
    point = only(read(native(0, sample_count_float=3.0, positive_span=[{"offset": 0, "length": 2}], positive_count=[1.0, 2.0])))  # fmt: skip
    assert point.count.tolist() == [1, 2]
    point = only(
        read(
            native(
                -53,
                sample_count=5,
                bucket=buckets((0.1, 1), (1.0, 4), (math.inf, 5)),
                positive_span=[{"offset": 0, "length": 3}],
                positive_delta=[1, 2, -2],
            )
        )
    )
    assert point.count.tolist() == [1, 3, 1]
    assert point.bucket.tolist() == log_linear.bucket_of(np.array([0.05, 0.55, 1.0])).tolist()


def test_a_change_of_schema_is_a_change_of_resolution_and_levels_are_levels() -> None:
    spans: dict[str, Any] = {"positive_span": [{"offset": 0, "length": 1}], "positive_delta": [1], "sample_count": 1}  # fmt: skip
    points = [
        only(read(native(0, **spans))),
        only(read(native(1, **spans))),
        only(read(native(0, zero_threshold=0.5, **spans))),
    ]
    assert len({point.resolution for point in points}) == 3
    assert len({point.stream for point in points}) == 1
    level = only(read(native(0, kind=GAUGE_HISTOGRAM, **spans)))
    assert level.temporality is Temporality.GAUGE
    assert not level.is_calls
    assert only(read(native(3, positive_span=[{"offset": 0, "length": 0}]))).count.sum() == 0


@pytest.mark.parametrize(
    "given",
    [
        {"positive_span": [{"offset": 0, "length": 2}], "positive_delta": [1], "sample_count": 1},
        {"positive_span": [{"offset": 0, "length": 2}], "positive_delta": [1, -2], "sample_count": 1},
        {"positive_span": [{"offset": 0, "length": 1}], "positive_delta": [5], "sample_count": 1},
        {"positive_span": [{"offset": 2**30, "length": 1}], "positive_delta": [1], "sample_count": 1},
        {"positive_span": [{"offset": 0, "length": 1}], "positive_count": [math.nan], "sample_count_float": 1.0},
        {"positive_span": [{"offset": 0, "length": 2**31}], "sample_count": 1},
    ],
)  # fmt: skip
def test_native_histograms_that_cannot_be_are_left_out(given: dict[str, Any]) -> None:
    page = read(native(0, **given), family("ok", GAUGE, {"gauge": {"value": 1.0}}))
    assert not page.batch.distributions
    assert page.batch.rejected == {RejectReason.BAD_SHAPE: 1}
    assert numbers_in(page.batch) == {("ok", "all"): 1}


@pytest.mark.parametrize("schema", [-53, -5, 9, 100])
def test_schemas_that_are_not_known_are_refused(schema: int) -> None:
    page = read(native(schema, positive_span=[{"offset": 0, "length": 1}], positive_delta=[1], sample_count=1))  # fmt: skip
    assert page.batch.rejected == {RejectReason.UNSUPPORTED: 1}


def test_duplicates_limits_and_types_that_are_not_known() -> None:
    one = family("a", GAUGE, {"gauge": {"value": 1.0}})
    page = read(one, one)
    assert numbers_in(page.batch) == {("a", "all"): 1}
    assert page.batch.rejected == {RejectReason.DUPLICATE: 1}
    many = [family("x", GAUGE, {"gauge": {"value": 1.0}}, id=str(at)) for at in range(9)]
    page = read(*many, parser=parser_of(limits=PageLimits(sample_count_max=4)))
    assert page.batch.sample_count == 4
    assert page.batch.rejected == {RejectReason.LIMIT: 5}
    assert read(family("y", 17, {"gauge": {"value": 1.0}})).batch.rejected == {RejectReason.BAD_SHAPE: 1}  # fmt: skip
    broken = family("z", GAUGE, {"gauge": {"value": 1.0}, "label": [b"\xff\xff"]})
    assert read(broken).batch.rejected == {RejectReason.BAD_SHAPE: 1}


@pytest.mark.parametrize("body", [b"\x05ab", b"\x80", b"\xff" * 11, b"\x02\x0a\xff", b"\x01\x00"])
def test_broken_pages_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedInputError, match=r"^byte"):
        parser_of().parse(body, content_type=PROTOBUF, time_ns=NOW_NS)


def test_a_page_of_empty_messages_is_refused_before_it_grows() -> None:
    bomb = delimited(b"\x0a\x01a" + b"\x22\x00" * (1 << 20))
    with pytest.raises(InputTooLargeError):
        parser_of().parse(bomb, content_type=PROTOBUF, time_ns=NOW_NS)
