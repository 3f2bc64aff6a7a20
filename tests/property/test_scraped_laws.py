"""Goal: a page taken as columns comes to the same, to the last bit, as its samples taken as points, one by one.

Method: hypothesis makes pages of a few targets: levels, counters with resets and rounded falls, histograms, calls; series come and go,
pages arrive in any order, some twice, and a target numbers its series anew. The same samples are made into points.
"""

from __future__ import annotations

import math
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.model import (
    DistributionPoint,
    NumberPoint,
    Reading,
    SampleBatch,
    SeriesKey,
    Temporality,
)
from sentinel.core.series import Aggregator, SeriesSettings
from sentinel.core.stats import log_linear
from tests.support.batches import START_NS, at
from tests.support.laws import examples
from tests.support.pages import BUCKETS, Numbers, PageMaker

number = st.one_of(
    st.integers(0, 1000).map(float),
    st.floats(0, 1e6),
    st.sampled_from([100_000.0, 99_999.5, 100_000.5]),
)
counts = st.tuples(*[st.integers(0, 5)] * 3).map(lambda one: tuple(float(each) for each in one))
page = st.fixed_dictionaries(
    {},
    optional={
        "l1": number,
        "l2": number,
        "r1": number,
        "r2": number,
        "r3": number,
        "d1": counts,
        "c1": counts,
        "c2": counts,
    },
)
pages = st.lists(
    st.tuples(st.integers(0, 34_999), page, st.sampled_from([None, -500.0, 12.0])),
    max_size=12,
    unique_by=lambda one: one[0],
)

Closed = dict[tuple[int, SeriesKey], tuple[str, float, bool]]


def points_of(
    maker: PageMaker, time_s: float, given: Numbers, start_s: float | None
) -> SampleBatch:
    """A page as points."""
    numbers: list[NumberPoint] = []
    distributions: list[DistributionPoint] = []
    start_ns = 0 if start_s is None else at(start_s)
    for name, value in given.items():
        placed, stream = maker.placed(name), maker.identity(name)
        if isinstance(value, tuple):
            bucket, count = log_linear.in_order(BUCKETS, np.array(value, np.int64))
            distributions.append(
                DistributionPoint(
                    stream=stream,
                    scope=placed.scope,
                    signal=placed.signal,
                    temporality=Temporality.CUMULATIVE,
                    start_ns=start_ns,
                    time_ns=at(time_s),
                    bucket=bucket,
                    count=count,
                    total=math.nan,
                    is_calls=placed.reading is Reading.CALLS,
                    of_page=True,
                    error=False,
                )
            )
        else:
            is_level = placed.reading is Reading.LEVEL
            numbers.append(
                NumberPoint(
                    stream=stream,
                    scope=placed.scope,
                    signal=placed.signal,
                    temporality=Temporality.GAUGE if is_level else Temporality.CUMULATIVE,
                    monotonic=not is_level,
                    start_ns=start_ns,
                    time_ns=at(time_s),
                    value=value,
                )
            )
    return SampleBatch(
        numbers=tuple(numbers), distributions=tuple(distributions), services=frozenset({"ledger"})
    )


def closed_after(batches: list[SampleBatch], *, stops_s: tuple[float, ...] = ()) -> Closed:
    aggregator = Aggregator(SeriesSettings(), start_ns=START_NS)
    found: Closed = {}

    def close(now_s: float) -> None:
        closed = aggregator.close(at(now_s))
        assert not closed.faults
        for window in closed.windows:
            histograms = window.histograms
            if histograms is not None:
                found[window.start_ns, SeriesKey("", "", "", "histograms")] = (
                    str((histograms.bucket.tolist(), histograms.count.tolist())),
                    0.0,
                    True,
                )
            for position, key in enumerate(window.keys):
                found[window.start_ns, key] = (
                    float(window.value[position]).hex(),
                    float(window.weight[position]),
                    bool(window.heard[position]),
                )

    waiting = list(batches)
    for stop_s in stops_s:
        early = [batch for batch in waiting if _time_of(batch) <= at(stop_s)]
        waiting = [batch for batch in waiting if _time_of(batch) > at(stop_s)]
        for batch in early:
            aggregator.add(batch, at(stop_s))
        close(stop_s)
    for batch in waiting:
        aggregator.add(batch, at(35))
    close(46)
    return found


def _time_of(batch: SampleBatch) -> int:
    return batch.scraped[0].time_ns


@settings(max_examples=examples(50, thorough=300))
@given(pages, pages, st.integers(0, 12), st.randoms(use_true_random=False))
def test_pages_come_to_what_their_points_come_to(
    own: list[tuple[int, Numbers, float | None]],
    other: list[tuple[int, Numbers, float | None]],
    renewed_after: int,
    rng: random.Random,
) -> None:
    columns: list[SampleBatch] = []
    points: list[SampleBatch] = []
    for target, given_pages in (("a", own), ("b", other)):
        maker = PageMaker(target)
        for number_of_page, (time_ms, given_page, start_s) in enumerate(given_pages):
            if number_of_page == renewed_after:
                maker.begin_new_table()
            # A series that begins between two pages is another matter, which points do not have.
            names = list(given_page)
            rng.shuffle(names)
            shuffled = {name: given_page[name] for name in names}
            starts_s = None if start_s is None else dict.fromkeys(names, start_s)
            made = maker.columns(time_ms / 1000, shuffled, starts_s=starts_s, is_whole=False)
            columns.append(SampleBatch(scraped=(made,), services=frozenset({"ledger"})))
            points.append(points_of(maker, time_ms / 1000, shuffled, start_s))
    columns += rng.sample(columns, min(2, len(columns)))
    rng.shuffle(columns)
    assert closed_after(columns) == closed_after(points)


@settings(max_examples=examples(30, thorough=200))
@given(pages, st.randoms(use_true_random=False), st.integers(0, 12))
def test_the_order_of_pages_and_when_windows_close_change_nothing(
    own: list[tuple[int, Numbers, float | None]], rng: random.Random, renewed_after: int
) -> None:
    maker = PageMaker()
    batches: list[SampleBatch] = []
    for number_of_page, (time_ms, given_page, start_s) in enumerate(
        sorted(own, key=lambda p: p[0])
    ):
        if number_of_page == renewed_after:
            maker.begin_new_table()
        starts_s = None if start_s is None else dict.fromkeys(given_page, start_s)
        batches.append(maker.batch(time_ms / 1000, given_page, starts_s=starts_s))
    shuffled = list(batches)
    rng.shuffle(shuffled)
    assert closed_after(shuffled) == closed_after(batches)
    step_by_step = closed_after(batches, stops_s=(4.0, 9.0, 16.0, 17.0, 25.5, 34.0))
    # What was heard depends on when it came, and so does whether nothing means nothing; what came does not.
    assert _with_data(step_by_step) == _with_data(closed_after(batches))


def _with_data(closed: Closed) -> Closed:
    return {key: one for key, one in closed.items() if one[1] > 0}
