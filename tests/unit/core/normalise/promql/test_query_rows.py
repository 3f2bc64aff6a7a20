"""Goal: an answer becomes rows of the right places, with the calls behind them; what cannot be taken is counted, never made up.

Method: answers made by hand, one property each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from sentinel.core.normalise.promql.answer import Answer, AnswerSeries
from sentinel.core.normalise.promql.rows import QueryRows, Skip, rows_of, with_traffic_calls
from sentinel.core.normalise.promql.rules import Places, QueryRule

STEP_NS = 60_000_000_000


def rule(signal: str = "traffic", **more: Any) -> QueryRule:
    return QueryRule(name="q", signal=signal, query="q", **{"default_service": "main", **more})


def placed(signal: str = "traffic", **more: Any) -> Places:
    return Places(rule(signal, **more))


def answer(*series: tuple[dict[str, str], dict[int, float]]) -> Answer:
    """Series by their labels, with values by the minute they end at."""
    return Answer(
        series=tuple(
            AnswerSeries(
                labels=labels,
                time_ns=np.array([STEP_NS * at for at in values], np.int64),
                value=np.array(list(values.values()), np.float64),
            )
            for labels, values in series
        )
    )


def cells(rows: QueryRows) -> dict[tuple[str, int], tuple[float, float]]:
    return {
        (str(rows.keys[key]), time_ns // STEP_NS): (value, weight)
        for key, time_ns, value, weight in zip(
            rows.key_index.tolist(),
            rows.time_ns.tolist(),
            rows.value.tolist(),
            rows.weight.tolist(),
            strict=True,
        )
    }


@pytest.mark.parametrize(
    ("given", "labels", "key"),
    [
        (rule(), {}, ("main", "edge", "all", "traffic")),
        (rule("depth"), {}, ("main", "metrics", "all", "depth")),
        (
            rule(),
            {"job": "pay", "route": "/a", "stage": "db", "__name__": "x", "pod": "p1"},
            ("pay", "db", "/a", "traffic"),
        ),
        (
            rule(),
            {"service": "pay", "job": "j", "method": "GET", "route": "/a"},
            ("pay", "edge", "/a,job=j,method=GET", "traffic"),
        ),
        (
            rule(service="fixed", stage="s", route_labels=("method", "path")),
            {"job": "j", "path": "/a", "method": "GET", "stage": "other"},
            ("fixed", "s", "GET /a", "traffic"),
        ),
        (rule(route="r"), {"route": "x"}, ("main", "edge", "r", "traffic")),
        (
            rule(),
            {"route": "/a\x1b[31m", "service": "Bearer abcdefghijklmnop1234567890"},
            ("Bearer [SECRET]", "edge", "/a [31m", "traffic"),
        ),
    ],
)
def test_labels_name_the_place(
    given: QueryRule, labels: dict[str, str], key: tuple[str, ...]
) -> None:
    found = given.key_of(labels)
    if "Bearer" in labels.get("service", ""):
        assert "abcdefghijklmnop" not in found.service
        assert found[1:] == key[1:]
    else:
        assert found == key


def test_a_value_is_of_the_step_that_ends_there_and_gaps_stay_gaps() -> None:
    rows = rows_of(
        placed(), answer(({"route": "/a"}, {1: 2.0, 3: math.nan, 4: 0.0})), step_ns=STEP_NS
    )
    assert set(cells(rows)) == {("main edge /a traffic", at) for at in (0, 2, 3)}
    assert cells(rows)["main edge /a traffic", 0] == (2.0, 120.0)
    assert math.isnan(cells(rows)["main edge /a traffic", 2][0])
    assert cells(rows)["main edge /a traffic", 3] == (0.0, 0.0)


def test_what_cannot_be_is_left_out_and_counted() -> None:
    values = {1: math.inf, 2: -math.inf, 3: -1.0, 4: 1.5, 5: 1.0000001, 6: 0.5, 7: 1e39}
    rows = rows_of(placed("errors"), answer(({}, values)), step_ns=STEP_NS)
    assert rows.value.tolist() == [1.0, 0.5]
    assert rows.skipped == {Skip.NOT_FINITE: 2, Skip.OUT_OF_BOUNDS: 3}
    gauge = rows_of(placed("depth"), answer(({}, values)), step_ns=STEP_NS)
    assert gauge.skipped == {Skip.NOT_FINITE: 2, Skip.OUT_OF_BOUNDS: 1}


def test_what_was_not_asked_for_is_left_out() -> None:
    rows = rows_of(
        placed(),
        answer(({}, {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0})),
        step_ns=STEP_NS,
        start_ns=STEP_NS,
        end_ns=3 * STEP_NS,
    )
    assert (rows.time_ns // STEP_NS).tolist() == [1, 2]
    assert rows.skipped == {Skip.OUTSIDE: 2}


def test_of_two_series_of_one_place_the_first_is_taken_and_a_person_told() -> None:
    rows = rows_of(
        placed(),
        answer(({"pod": "b"}, {1: 2.0}), ({"pod": "a"}, {1: 1.0, 2: 1.0})),
        step_ns=STEP_NS,
    )
    assert rows.value.tolist() == [1.0, 1.0]
    assert rows.skipped == {Skip.SAME_PLACE: 1}
    assert "differ in pod" in rows.notes[0]
    assert "sum by" in rows.notes[0]


def test_series_over_the_bound_are_left_out() -> None:
    given = answer(*(({"route": f"/{at}"}, {1: 1.0, 2: 1.0}) for at in range(5)))
    rows = rows_of(placed(series_count_max=3), given, step_ns=STEP_NS)
    assert [key.route for key in rows.keys] == ["/0", "/1", "/2"]
    assert rows.skipped == {Skip.SERIES_LIMIT: 4}
    assert "series_max" in rows.notes[0]


def test_calls_of_its_own_query_are_the_weight() -> None:
    rows = rows_of(
        placed("latency", scale=0.001),
        answer(({"route": "/a"}, {1: 200.0, 2: 300.0, 3: 400.0})),
        answer(({"route": "/a"}, {1: 2.0, 3: math.nan}), ({"route": "/b"}, {1: 9.0})),
        step_ns=STEP_NS,
    )
    assert rows.value.tolist() == pytest.approx([0.2, 0.3, 0.4])
    np.testing.assert_equal(rows.weight, [120.0, math.nan, math.nan])


def test_calls_that_are_not_known_are_those_of_the_places_traffic() -> None:
    traffic = rows_of(placed(), answer(({"route": "/a"}, {1: 2.0, 2: 3.0})), step_ns=STEP_NS)
    errors = rows_of(
        placed("errors"),
        answer(({"route": "/a"}, {1: 0.1, 2: math.nan, 3: 0.2}), ({"route": "/b"}, {1: 0.5})),
        step_ns=STEP_NS,
    )
    gauge = rows_of(placed("depth"), answer(({"route": "/a"}, {1: 7.0})), step_ns=STEP_NS)
    found = with_traffic_calls([errors, traffic, gauge])
    np.testing.assert_equal(found[0].weight, [120.0, 180.0, math.nan, math.nan])
    assert found[1] is traffic
    assert found[2] is gauge
    assert with_traffic_calls([errors])[0] is errors


def test_nothing_is_no_rows() -> None:
    rows = rows_of(placed(), Answer(histogram_count=3), step_ns=STEP_NS)
    assert (rows.keys, rows.value.size, rows.skipped) == ((), 0, {Skip.HISTOGRAM: 3})
