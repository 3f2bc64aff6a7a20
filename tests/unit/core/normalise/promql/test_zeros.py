"""Goal: an absent series is 0 where a query says so and something else of its server was told, and nowhere else.

Method: rows made by hand, one property each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sentinel.core.model import SeriesKey
from sentinel.core.normalise.promql.rows import QueryRows, rows_of, with_traffic_calls
from sentinel.core.normalise.promql.rules import Places, QueryRule
from sentinel.core.normalise.promql.zeros import KNOWN_FOR_NS, last_told, with_zeros
from tests.unit.core.normalise.promql.test_query_rows import STEP_NS, answer, cells

CART, PAY = {"service": "shop", "route": "/cart"}, {"service": "shop", "route": "/pay"}


def rule(name: str, signal: str, **more: Any) -> QueryRule:
    return QueryRule(name=name, signal=signal, query=name, **{"absent_is_zero": True, **more})


def rows(rule: QueryRule, *series: tuple[dict[str, str], dict[int, float]]) -> QueryRows:
    return rows_of(Places(rule), answer(*series), step_ns=STEP_NS)


def zeroed(*pairs: tuple[QueryRule, QueryRows], **more: Any) -> list[QueryRows]:
    told = with_traffic_calls([one for _, one in pairs])
    return list(with_zeros(told, [rule for rule, _ in pairs], **more))


def test_a_share_is_zero_at_each_place_and_time_with_calls() -> None:
    traffic = rule("traffic", "traffic", absent_is_zero=False)
    errors = rule("errors", "errors")
    _, found = zeroed(
        (traffic, rows(traffic, (CART, {1: 2.0, 2: 2.0}), (PAY, {1: 1.0, 2: 0.0}))),
        (errors, rows(errors, (CART, {1: 0.5}))),
    )
    assert cells(found) == {
        ("shop edge /cart errors", 0): (0.5, 120.0),
        ("shop edge /cart errors", 1): (0.0, 120.0),
        ("shop edge /pay errors", 0): (0.0, 60.0),
    }


def test_calls_of_a_querys_own_come_before_those_of_others() -> None:
    traffic = rule("traffic", "traffic", absent_is_zero=False)
    errors = rule("errors", "errors", calls="c")
    own = rows(replace(errors, signal="traffic"), (PAY, {1: 3.0}))
    _, found = zeroed(
        (traffic, rows(traffic, (CART, {1: 2.0}))),
        (errors, rows(errors)),
        calls={"errors": own},
    )
    assert cells(found) == {("shop edge /pay errors", 0): (0.0, 180.0)}


def test_what_another_query_tells_or_a_fixed_name_rules_out_is_not_made_up() -> None:
    traffic = rule("traffic", "traffic", absent_is_zero=False)
    fixed = rule("kong", "errors", service="kong")
    other = rule("errors", "errors")
    _, of_kong, of_others = zeroed(
        (traffic, rows(traffic, (CART, {1: 2.0}), (PAY, {1: 2.0}))),
        (fixed, rows(fixed)),
        (other, rows(other, (CART, {1: 0.1}))),
    )
    assert cells(of_kong) == {}
    assert sorted(cells(of_others)) == [
        ("shop edge /cart errors", 0),
        ("shop edge /pay errors", 0),
    ]


def test_an_amount_is_zero_while_it_is_known_and_anything_is_told() -> None:
    refused = rule("refused", "refused_per_s")
    traffic = rule("traffic", "traffic", absent_is_zero=False)
    found, _ = zeroed(
        (refused, rows(refused, (CART, {3: 7.0}))),
        (traffic, rows(traffic, (PAY, {2: 1.0, 3: 1.0, 5: 1.0}))),
    )
    name = "shop metrics /cart refused_per_s"
    # Not before it was known, and not at a time at which the server told of nothing.
    assert cells(found).keys() == {(name, 2), (name, 4)}
    assert cells(found)[name, 4] == (0.0, 1.0)


def test_what_was_known_before_is_zero_for_a_day() -> None:
    refused = rule("refused", "refused_per_s")
    traffic = rule("traffic", "traffic", absent_is_zero=False)
    key = SeriesKey("shop", "metrics", "/cart", "refused_per_s")
    minutes = KNOWN_FOR_NS // STEP_NS
    told = rows(traffic, (PAY, {minutes: 1.0, minutes + 5: 1.0}))
    found, _ = zeroed(
        (refused, rows(refused)), (traffic, told), known={"refused": {key: 2 * STEP_NS}}
    )
    assert [at for _, at in cells(found)] == [minutes - 1]


def test_without_the_setting_absent_stays_absent() -> None:
    traffic = rule("traffic", "traffic", absent_is_zero=False)
    errors = rule("errors", "errors", absent_is_zero=False)
    told = rows(errors, (CART, {1: 0.5}))
    _, found = zeroed((traffic, rows(traffic, (CART, {1: 2.0, 2: 2.0}))), (errors, told))
    assert len(cells(found)) == 1
    assert last_told([told]) == {SeriesKey("shop", "edge", "/cart", "errors"): 0}
