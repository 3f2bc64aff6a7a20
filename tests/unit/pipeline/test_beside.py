"""Goal: pages and firings of rules are laid beside each other by time, each firing once at most as alone.

Method: pages and firings as values on a line of minutes.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.cli.preview.beside import beside_document, beside_table
from sentinel.core.model import IncidentKind, PageReason, Severity
from sentinel.pipeline.beside import Firing, beside, firings_of
from sentinel.pipeline.replay import ReplayedPage

MINUTE_S = 60.0


def page(
    start: float,
    end: float,
    *,
    severity: Severity = Severity.PAGE,
    reason: PageReason = PageReason.OPENED,
    series: str = "shop edge /pay errors",
) -> ReplayedPage:
    return ReplayedPage(
        series=series,
        start_s=start * MINUTE_S,
        end_s=end * MINUTE_S,
        score=9.0,
        direction=1,
        expected=0.0,
        value=0.5,
        severity=severity,
        reason=reason,
        kind=IncidentKind.ANOMALY,
    )


def firing(rule: str, start: float, end: float) -> Firing:
    return Firing(rule=rule, start_s=start * MINUTE_S, end_s=end * MINUTE_S)


def test_what_overlaps_or_nearly_does_is_one_incident() -> None:
    [one] = beside([page(100, 120)], [firing("Late", 125, 140), firing("Early", 97, 99)])
    assert one.page is not None
    assert [two.rule for two in one.firings] == ["Early", "Late"]
    assert one.lead_s == -3 * MINUTE_S
    assert one.start_s == 97 * MINUTE_S


def test_more_than_ten_minutes_apart_are_two() -> None:
    found = beside([page(100, 120)], [firing("After", 131, 140), firing("Before", 60, 89)])
    assert [(one.page is None, [two.rule for two in one.firings]) for one in found] == [
        (True, ["Before"]),
        (False, []),
        (True, ["After"]),
    ]
    assert [one.lead_s for one in found] == [None, None, None]


def test_tickets_reminders_and_escalations_are_no_page_of_their_own() -> None:
    found = beside(
        [
            page(100, 120, severity=Severity.TICKET),
            page(200, 220),
            page(205, 220, reason=PageReason.WORSENED),
        ],
        [],
    )
    assert [one.start_s for one in found] == [200 * MINUTE_S]


def test_a_firing_in_the_time_of_two_pages_is_of_both_and_alone_of_none() -> None:
    found = beside([page(100, 120), page(110, 130)], [firing("High", 112, 113)])
    assert [len(one.firings) for one in found] == [1, 1]


@pytest.mark.parametrize(
    ("minutes", "spans"),
    [
        ([], []),
        ([5], [(5, 5)]),
        ([1, 2, 3], [(1, 3)]),
        ([1, 3, 6], [(1, 3), (6, 6)]),
    ],
)
def test_instants_are_joined_over_one_that_is_missing(
    minutes: list[int], spans: list[tuple[int, int]]
) -> None:
    times = np.array(minutes, np.int64) * 60 * 10**9
    found = firings_of("A", times, step_ns=60 * 10**9)
    assert [(one.start_s / 60, one.end_s / 60) for one in found] == spans


def test_the_table_counts_each_kind_and_keeps_to_its_width() -> None:
    rules = [
        firing(f"Rule{number % 3}", 1000 + 100 * number, 1005 + 100 * number)
        for number in range(30)
    ]
    found = beside(
        [page(100, 120, series="a long name " * 9), page(400, 420)],
        [firing("High\x1b", 104, 119), *rules],
    )
    lines = beside_table(found, columns=80)
    text = "\n".join(lines)
    assert "1 told of by both, 30 by rules alone, 1 by Sentinel alone" in text
    assert "Sentinel first in 1, a rule first in 0" in text
    assert "+4 min" in text
    assert "and 10 more" in text
    assert "   10  Rule1" in text
    assert "\x1b" not in text
    assert max(map(len, lines)) <= 80
    kinds = [beside_document(one)["beside"] for one in found]
    assert kinds[:2] == ["both", "sentinel"]
    assert kinds[2:] == ["rules"] * 30


def test_where_no_rule_fired_it_says_so_and_counts_nothing() -> None:
    text = "\n".join(beside_table(beside([page(100, 120)], []), columns=80))
    assert "none of them fired" in text
    assert "by Sentinel alone" not in text
