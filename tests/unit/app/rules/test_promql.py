"""Goal: the names an expression asks for are known, whatever stands around them. Method: expressions, values in and out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.app.rules.promql import selectors, words


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ("up", ["up"]),
        ("sum by (job) (rate(a_total[5m])) > 2 * b", ["a_total", "b"]),
        ("a and on (x) b unless ignoring (y) c or d", ["a", "b", "c", "d"]),
        ("a / on (x) group_left (y) b", ["a", "b"]),
        ("topk(3, max without (z) (level:a:sum{x='y'}))", ["level:a:sum"]),
        ('histogram_quantile(0.9, sum(a{le!="1"}) by (le))', ["a"]),
        ("a offset 5m @ 1e3 # b\n> bool 3", ["a"]),
        ("absent_over_time(a[1h30m:5m])", ["a"]),
        ("-a ^ 2 % .5 >= Inf", ["a"]),
        ("sum(a) by (b)", ["a"]),
        ("vector(1)", []),
    ],
)
def test_metrics_are_found_and_labels_and_functions_are_not(
    expression: str, metrics: list[str]
) -> None:
    assert [one.metric for one in selectors(words(expression))] == metrics


def test_matchers_are_read_with_what_is_in_their_quotes() -> None:
    [one] = selectors(words('a{b=~"x|}y", c!="", d!~`z,`, e=\'\\\'\',}'))
    assert one.matchers == (
        ("b", "=~", "x|}y"),
        ("c", "!=", ""),
        ("d", "!~", "z,"),
        ("e", "=", "\\'"),
    )


@pytest.mark.parametrize("expression", ["a[5m", "a)", "a}", '"', "a ; b", "(a]"])
def test_what_is_no_promql_is_said(expression: str) -> None:
    with pytest.raises(ValueError, match=r"no PromQL|closes|closed"):
        words(expression)


@given(st.text(alphabet="abc_:{}[]()=~!<>\"'`\\ \n#5m.+-*/^%@,", max_size=60))
def test_any_text_is_cut_into_what_it_is_made_of_or_refused(text: str) -> None:
    try:
        found = words(text)
    except ValueError:
        return
    list(selectors(found))
    assert all(text[word.start : word.end] == word.text for word in found)
    assert all(one.end <= two.start for one, two in itertools.pairwise(found))
