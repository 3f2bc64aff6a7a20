"""Goal: while names are held, new ones are counted on the overflow series, whichever way they come; known ones go on.

Method: an aggregator, fed a window at a time with what scrapers and receivers give it: pages, points, lines.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sentinel.core.model import (
    OVERFLOW,
    LogRecord,
    NumberPoint,
    PointStream,
    SampleBatch,
    Scope,
    Temporality,
)
from sentinel.core.series import Aggregator, ClosedWindow, SeriesSettings
from tests.support.batches import EDGE, START_NS, at, calls
from tests.support.scraped import TEXT, parser_of

Feed = Callable[[float, tuple[str, ...]], SampleBatch]


def page_of(kind: str) -> Feed:
    """A page of one metric with a label, of a target that is the same all the time."""
    parser = parser_of()
    lines = {
        "gauge": ["# TYPE depth gauge", 'depth{{topic="{name}"}} 7'],
        "counter": ["# TYPE jobs_total counter", 'jobs_total{{topic="{name}"}} {count}'],
        "calls": [
            "# TYPE http_request_duration_seconds histogram",
            'http_request_duration_seconds_bucket{{method="GET",handler="/{name}",le="+Inf"}} {count}',
        ],
    }[kind]

    def feed(time_s: float, names: tuple[str, ...]) -> SampleBatch:
        head, sample = lines
        text = [head, *(sample.format(name=name, count=int(1000 + time_s)) for name in names)]
        body = "\n".join([*text, ""]).encode()
        return parser.parse(body, content_type=TEXT, time_ns=at(time_s)).batch

    return feed


def points(time_s: float, names: tuple[str, ...]) -> SampleBatch:
    """What the scrapers of NATS and PostgreSQL give."""
    made = tuple(
        NumberPoint(
            stream=PointStream(("db", name)),
            scope=Scope("db", "database", name),
            signal="waits",
            temporality=Temporality.GAUGE,
            monotonic=False,
            start_ns=0,
            time_ns=at(time_s),
            value=3.0,
        )
        for name in names
    )
    return SampleBatch(numbers=made, services=frozenset({"db"}))


def lines(time_s: float, names: tuple[str, ...]) -> SampleBatch:
    made = tuple(
        LogRecord(service="shop", time_ns=at(time_s), severity=9, event=name, body="")
        for name in names
    )
    return SampleBatch(logs=made, services=frozenset({"shop"}))


def spans(time_s: float, names: tuple[str, ...]) -> SampleBatch:
    return calls([(EDGE._replace(route=name), time_s, 0.1, False) for name in names])


FEEDS: dict[str, Callable[[], Feed]] = {
    "gauges of pages": lambda: page_of("gauge"),
    "counters of pages": lambda: page_of("counter"),
    "calls of pages": lambda: page_of("calls"),
    "points of NATS and PostgreSQL": lambda: points,
    "lines": lambda: lines,
    "spans": lambda: spans,
}


def named(window: ClosedWindow, name: str) -> list[float]:
    """The values of the series whose names have this in them."""
    return [
        float(value)
        for key, value in zip(window.keys, window.value, strict=True)
        if any(name in part for part in key)
    ]


@pytest.mark.parametrize("kind", FEEDS)
def test_new_names_are_folded_and_known_ones_go_on(kind: str) -> None:
    aggregator, feed = Aggregator(SeriesSettings(), start_ns=START_NS), FEEDS[kind]()

    def window(number: int, *names: str, held: bool) -> ClosedWindow:
        aggregator.hold_names(held=held)
        aggregator.add(feed(10 * number + 3, names), at(10 * number + 4))
        (closed,) = aggregator.close(at(10 * number + 15)).windows
        return closed

    window(0, "known", held=False)
    before = window(1, "known", held=False)
    assert np.isfinite(named(before, "known")[0])
    count = aggregator.series_count
    for number in (2, 3):
        names = ("known", f"new{number}", "newer")
        during = window(number, *names, held=True)
        assert np.isfinite(named(during, "known")[0])
        assert named(during, "known")[0] == named(before, "known")[0]
        assert not named(during, "new")
        assert named(during, OVERFLOW)[0] > 0
    assert aggregator.take_counts().overflow > 0
    assert aggregator.series_count <= count + 3, "the overflow series alone"
    after = window(4, "known", "newer", held=False)
    # What counted meanwhile begins with what it gains now, not with all that it ever counted.
    assert named(after, "newer")[:1] == named(after, "known")[:1]
