"""Goal: laws of what Kong tells. Method: bodies and pages bent at random, gains of counters and histograms at random."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.model import DistributionPoint, PointStream, Scope, Temporality
from sentinel.core.normalise.kong.log import KongLogReader, KongLogSettings
from sentinel.core.normalise.kong.metrics import KongMetricsSettings, KongParser
from sentinel.core.normalise.kong.seen_ids import SeenIds
from sentinel.core.normalise.kong.tiers import TierRule, Tiers
from sentinel.core.series.call_sources.joined import with_times
from sentinel.core.series.call_sources.stage_calls import Gain
from sentinel.core.series.streams import Increase
from sentinel.core.stats import log_linear
from sentinel.errors import InputError
from tests.support.kong_records import DATA

NOW_NS = 1_790_000_010 * 10**9
SCOPE = Scope("kong", "edge", "orders-v1")
TIERS = Tiers([TierRule(tier="gold", tags=("plan-*",))])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
RECORDS: list[dict[str, Any]] = json.loads((DATA / "http_log_batch.json").read_text())
PAGE = (DATA / "metrics_3x.txt").read_text().splitlines()


@given(
    at=st.integers(0, len(RECORDS) - 1),
    name=st.sampled_from(sorted({name for record in RECORDS for name in record})),
    value=VALUES,
)
@settings(max_examples=150, deadline=None)
def test_a_record_bent_anywhere_is_taken_or_rejected_alone(
    at: int, name: str, value: object
) -> None:
    bent = [dict(record) for record in RECORDS]
    bent[at][name] = value
    reader = KongLogReader(KongLogSettings(as_otlp=True, tiers=TIERS))
    try:
        rows, rejected = reader.rows(json.dumps(bent).encode(), now_ns=NOW_NS)
    except InputError:
        return
    assert len(rows) + sum(rejected.values()) == len(RECORDS)
    assert sum(rejected.values()) <= 1
    batch = reader.batch(rows)
    assert batch.calls is not None
    assert len(batch.calls.end_ns) == len(rows) == len(batch.logs)
    if batch.events is not None:
        known = batch.events.value[~np.isnan(batch.events.value)]
        assert np.isfinite(known).all()
        assert (known >= 0).all()


@given(body=st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_bytes_are_records_or_refused(body: bytes) -> None:
    try:
        rows, _ = KongLogReader(KongLogSettings()).rows(body, now_ns=NOW_NS)
    except InputError as error:
        assert str(error)  # noqa: PT017 - it must say what is wrong
        return
    # So few bytes cannot say what a record of a call must.
    assert len(rows) == 0


@given(
    kept=st.lists(st.booleans(), min_size=len(PAGE), max_size=len(PAGE)),
    line=st.text(max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_a_page_with_lines_gone_is_read(kept: list[bool], line: str) -> None:
    lines = [each for each, keep in zip(PAGE, kept, strict=True) if keep]
    body = "\n".join([*lines, line.replace("\n", " "), ""]).encode()
    parser = KongParser(KongMetricsSettings(target="kong/main", tiers=TIERS))
    try:
        page = parser.parse(body, content_type="text/plain", time_ns=NOW_NS)
    except InputError:
        return
    for point in page.batch.distributions:
        assert (point.count >= 0).all()
        assert (np.diff(point.bucket) > 0).all()
    for number in page.batch.numbers:
        assert math.isfinite(number.value)


def _gain(side: str, counts: dict[int, int], *, error: bool = False, times: bool = False) -> Gain:
    buckets = np.array(sorted(counts), np.int16)
    count = np.array([counts[int(bucket)] for bucket in buckets], np.int64)
    point = DistributionPoint(
        stream=PointStream(("kong", "", "calls", "", side)),
        scope=SCOPE,
        signal="calls",
        temporality=Temporality.CUMULATIVE,
        start_ns=0,
        time_ns=NOW_NS,
        bucket=buckets,
        count=count,
        total=math.nan,
        is_calls=True,
        error=error,
        times_only=times,
    )
    return Increase(
        point=point,
        value=float(count.sum()),
        interval_s=10.0,
        histogram=(buckets, count),
        point_count=1,
    )


@given(
    served=st.integers(0, 50),
    failed=st.integers(0, 50),
    times=st.dictionaries(st.integers(1000, 1020), st.integers(0, 20), max_size=6),
)
def test_calls_that_are_counted_and_timed_are_the_same_calls(
    served: int, failed: int, times: dict[int, int]
) -> None:
    gains = [
        _gain("failed", {log_linear.UNTIMED: failed}, error=True),
        _gain("served", {log_linear.UNTIMED: served}),
        _gain("times", times, times=True),
    ]
    joined = with_times(gains)
    histograms = [gain.histogram for gain in joined if gain.histogram is not None]
    bucket, count = log_linear.merge(*histograms)
    timed = dict(zip(bucket.tolist(), count.tolist(), strict=True))
    untimed = timed.pop(log_linear.UNTIMED, 0)
    total = sum(times.values())
    # No duration is lost, none is made up, and no call is without a place.
    assert {each: n for each, n in timed.items() if n} == {
        each: n for each, n in times.items() if n
    }
    assert untimed == max(served + failed - total, 0)
    assert sum(gain.value for gain in joined) == max(served + failed, total)
    of_failed = sum(gain.value for gain in joined if gain.point.error)
    assert of_failed == failed
    for gain in joined:
        assert gain.histogram is not None
        assert gain.value == int(gain.histogram[1].sum())
    again = with_times(list(reversed(gains)))
    assert sorted(repr(gain) for gain in again) == sorted(repr(gain) for gain in joined)


@given(
    batches=st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=20),
    count_max=st.integers(1, 40),
)
def test_what_is_remembered_is_taken_once_and_never_more_than_allowed(
    batches: list[list[int]], count_max: int
) -> None:
    seen = SeenIds(count_max=count_max)
    taken: list[int] = []
    for batch in batches:
        ids = [bytes((each,)) for each in batch]
        fresh = [each for each, new in zip(batch, seen.fresh(ids), strict=True) if new]
        assert len(set(fresh)) == len(fresh)
        assert not set(fresh) & set(taken[-count_max:])
        seen.remember([bytes((each,)) for each in fresh])
        taken += fresh
        assert len(seen) <= count_max
