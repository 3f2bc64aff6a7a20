"""Goal: the series page's parts hold what they promise: scope, escaping, bounds, negotiation.

Method: values only; the page as a whole is asked for in tests/integration/web.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.model import HistogramBlock, SeriesKey
from sentinel.core.stats import log_linear
from sentinel.runtime.http.exposition import wants_openmetrics
from sentinel.web.metrics import (
    LabelCache,
    _horizon_lines,
    _latency_lines,
    latency_quantiles,
)
from sentinel.web.scope import SeriesScope
from sentinel.web.sources import LatestVerdicts
from tests.support.latest_verdicts import make_latest, many_keys


def test_without_patterns_the_strangest_are_shown_and_ties_stay_in_order() -> None:
    latest = make_latest(many_keys(6), [1.0] * 6, [0.5, math.nan, 0.5, 2.0, math.inf, 0.5])
    assert SeriesScope([], strangest_count=4).choose(latest).tolist() == [0, 2, 3, 4]
    assert SeriesScope([], strangest_count=0).choose(latest).tolist() == []
    assert SeriesScope([], strangest_count=99).choose(latest).tolist() == [0, 1, 2, 3, 4, 5]


def horizons_of(count: int, **scores: float) -> NDArray[np.float32]:
    """Nothing known but of series 1: all columns are 1.5 but the score, for the 5-minute horizon."""
    found = np.full((3, 6, count), np.nan, np.float32)
    found[1, :, 1] = 1.5
    found[1, 5, 1] = scores["score"]
    return found


async def test_a_longer_horizon_is_the_same_series_with_a_label_more() -> None:
    keys = many_keys(3)
    latest = make_latest(keys, [1.0] * 3, [0.5] * 3, horizons=horizons_of(3, score=2.0))
    chosen = np.arange(3)
    labels = LabelCache().of(keys)
    lines = [
        piece
        for name in ("sentinel_upper", "sentinel_score")
        async for piece in _horizon_lines(latest, name, chosen, labels)
    ]
    place = 'service="api",route="GET /r/1",stage="edge",signal="traffic",horizon="5m"'
    assert b"".join(lines).decode() == (
        f"sentinel_upper{{{place}}} 1.5\nsentinel_score{{{place}}} 2\n"
    )
    silent = make_latest(keys, [1.0] * 3, [0.5] * 3, horizons=horizons_of(3, score=math.nan))
    assert [
        piece async for piece in _horizon_lines(silent, "sentinel_value", chosen, labels)
    ] == []


def test_what_is_strange_on_a_longer_horizon_alone_is_among_the_strangest() -> None:
    latest = make_latest(
        many_keys(3), [1.0] * 3, [0.5, math.nan, 0.9], horizons=horizons_of(3, score=2.0)
    )
    assert SeriesScope([], strangest_count=1).choose(latest).tolist() == [1]


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("*", [0, 1, 2]),
        ("api edge GET /r/*", [0, 1, 2]),
        ("api edge GET /r/1", [1]),
        ("api edge GET /r/.", []),
        ("api edge get /r/1", []),
        ("pi edge GET /r/1", []),
        ("* GET /r/2", [2]),
    ],
)
def test_only_the_star_is_special_in_a_pattern(pattern: str, shown: list[int]) -> None:
    latest = make_latest(many_keys(3), [1.0] * 3, [0.0] * 3)
    scope = SeriesScope([pattern], strangest_count=0)
    assert scope.choose(latest).tolist() == shown
    assert scope.choose(latest).tolist() == shown


def test_label_cache_forgets_what_is_no_longer_shown() -> None:
    cache = LabelCache()
    for generation in range(20):
        keys = [
            SeriesKey("s", "edge", f"{generation}/{number}", "traffic") for number in range(400)
        ]
        labels = cache.of(keys)
        assert labels[7] == f'{{service="s",route="{generation}/7",stage="edge",signal="traffic"}}'
        cache.trim(keys, labels)
        assert len(cache) <= 2 * 400 + 500


def test_labels_that_are_not_text_can_still_be_sent() -> None:
    (labels,) = LabelCache().of([SeriesKey("a\udce9", "edge", 'b"\\\n', "traffic")])
    assert labels == '{service="a?",route="b\\"\\\\\\n",stage="edge",signal="traffic"}'


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0,*/*;q=0.1", True),
        ("application/openmetrics-text;version=1.0.0;q=0.1,text/plain;q=0.9", False),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=nan", False),
        ("application/openmetrics-text;q=0", False),
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;"
            "version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,*/*;q=0.1",
            True,
        ),
    ],
)
def test_the_format_is_the_one_preferred(accept: str, *, openmetrics: bool) -> None:
    assert wants_openmetrics(accept) is openmetrics


def with_durations() -> LatestVerdicts:
    """Three series; of the second a hundred calls took 10 ms, and of the third 90 took 10 ms and 10 a second."""
    keys = [SeriesKey("pay", "edge", f"GET /{at}", "latency") for at in range(3)]
    latest = make_latest(keys, [math.nan, 0.01, 1.0], [math.nan, 0.1, 2.0])
    bucket = log_linear.bucket_of(np.array([0.01, 0.01, 1.0]))
    histograms = HistogramBlock(
        row=np.array([1, 2], np.int32),
        offset=np.array([0, 1, 3], np.int32),
        bucket=bucket,
        count=np.array([100, 90, 10]),
    )
    return replace(latest, block=replace(latest.block, histograms=histograms))


def test_durations_are_known_where_there_were_calls() -> None:
    found = latency_quantiles(with_durations())
    assert list(found) == [0.5, 0.95, 0.99]
    assert all(np.isnan(column[0]) for column in found.values())
    assert found[0.5][1:] == pytest.approx([0.01, 0.01], rel=0.02)
    assert found[0.95][1:] == pytest.approx([0.01, 1.0], rel=0.02)
    without = make_latest([SeriesKey("pay", "edge", "GET /", "latency")], [1.0], [0.1])
    assert latency_quantiles(without) == {}


async def test_durations_stand_on_the_page_of_the_series_it_shows() -> None:
    latest = with_durations()
    labels = LabelCache().of([latest.keys[0], latest.keys[2]])
    lines = [piece async for piece in _latency_lines(latest, np.array([0, 2]), labels)]
    text = b"".join(lines).decode().splitlines()
    assert text[1] == "# TYPE sentinel_latency_seconds gauge"
    assert [line.partition(",quantile=")[2].split("} ")[0] for line in text[2:]] == [
        '"0.5"',
        '"0.95"',
        '"0.99"',
    ]
    assert all('route="GET /2"' in line for line in text[2:])
    assert float(text[-1].rpartition(" ")[2]) == pytest.approx(1.0, rel=0.02)
