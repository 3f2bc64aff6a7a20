"""Goal: all questions together take no more of the server than they may, and none waits for ever.

Method: a schedule under a clock of numbers, answers that take what the test says.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.scrapers.postgres.queries import ABSENT_EVERY_S, Query
from sentinel.scrapers.postgres.schedule import Due, Schedule

WAY_S = 0.01


def schedule(*every_s: float, cost_ratio_max: float = 0.01) -> Schedule:
    entries = [
        Due(Query(subject=f"q{at}", sql={150_000: "select"}, every_s=every), "app")
        for at, every in enumerate(every_s)
    ]
    return Schedule(interval_s=10.0, cost_ratio_max=cost_ratio_max, entries=entries)


def names(found: list[Due]) -> list[str]:
    return [one.query.subject for one in found]


def lived(made: Schedule, took_s: dict[str, float], *, polls: int) -> dict[str, list[float]]:
    """When each question was asked over so many polls, each answered as it says."""
    asked: dict[str, list[float]] = {name: [] for name in took_s}
    for poll in range(polls):
        now_s = 10.0 * poll
        for one in made.due(now_s):
            asked[one.query.subject].append(now_s)
            elapsed_s = WAY_S + took_s[one.query.subject]
            made.answered(one, now_s=now_s, elapsed_s=elapsed_s)
    return asked


def test_cheap_questions_keep_their_rhythm() -> None:
    asked = lived(schedule(0, 30, 60), {"q0": 0.0, "q1": 0.001, "q2": 0.002}, polls=13)
    assert [len(times) for times in asked.values()] == [13, 5, 3]


def test_a_dear_question_is_asked_less_often_and_the_cheap_ones_are_not() -> None:
    """One table view of a thousand tables took 200 ms every minute: more than the budget by itself."""
    made = schedule(0, 60)
    asked = lived(made, {"q0": 0.0, "q1": 2.0}, polls=100)
    assert len(asked["q0"]) == 100
    gaps = {b - a for a, b in zip(asked["q1"], asked["q1"][1:], strict=False)}
    assert gaps == {60.0, 200.0}
    assert asked["q1"][2] > 200.0
    assert made.cost_ratio() <= 0.01 + 1e-9


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 30, 60, 600]), st.floats(0, 3)), min_size=1, max_size=9
    ),
    st.sampled_from([0.001, 0.005, 0.05]),
)
def test_the_budget_is_kept_whatever_answers_take(
    asked: list[tuple[int, float]], budget: float
) -> None:
    made = schedule(0, *(every for every, _ in asked), cost_ratio_max=budget)
    took_s = {"q0": 0.0} | {f"q{at}": took for at, (_, took) in enumerate(asked, 1)}
    polls = 200
    asked_at = lived(made, took_s, polls=polls)
    # It takes two answers to know what a question takes; from then on the promise holds.
    spent = sum(took_s[name] * max(0, len(times) - 2) for name, times in asked_at.items())
    # What belongs to each poll may come to the budget once more, or to what asking it every five minutes takes.
    kept = max(budget, sum(took for every, took in asked if not every) / 300.0)
    assert spent <= (budget + kept) * polls * 10.0 + 1e-6
    assert made.cost_ratio() <= budget + kept + 1e-9
    assert len(asked_at["q0"]) == polls


@given(st.lists(st.floats(0.001, 0.02), min_size=2, max_size=7), st.floats(0.1, 3.0))
def test_the_others_are_cut_before_what_belongs_to_each_poll(
    first_s: list[float], other_s: float
) -> None:
    """On a busy machine each answer took longer, and the traffic of databases was asked for as seldom as the bloat of tables."""
    budget = 0.005
    made = schedule(0, *(0.0 for _ in first_s), 30, cost_ratio_max=budget)
    took_s = {f"q{at}": took for at, took in enumerate([0.0, *first_s, other_s])}
    asked = lived(made, took_s, polls=100)
    counts = [len(asked[f"q{at}"]) for at in range(1 + len(first_s))]
    is_cut = sum(first_s) / 10.0 > 0.8 * budget
    assert (min(counts) < 100) is is_cut
    assert (made.slowed_s > 0) is is_cut
    # 0.14 s for seven answers instead of the 0.04 that they may take: every fourth poll.
    assert made.slowed_s <= 40.0
    assert min(counts) >= 25


def test_what_belongs_to_each_poll_is_asked_once_a_minute_while_that_is_within_twice_the_budget() -> (
    None
):
    for took_s, gap_s in ((0.15, 20.0), (0.5, 50.0), (1.0, 100.0), (2.0, 200.0), (50.0, 300.0)):
        made = schedule(0, 0)
        asked = lived(made, {"q0": 0.0, "q1": took_s}, polls=100)
        gaps = {b - a for a, b in zip(asked["q1"], asked["q1"][1:], strict=False)}
        assert gaps == {10.0, gap_s}
        assert len(asked["q0"]) == 100
        assert made.slowed_s == gap_s


def test_that_something_was_asked_too_seldom_is_told_until_it_was_not_for_ten_minutes() -> None:
    made = schedule(0, 0)
    first, dear = made.entries
    for poll in range(200):
        now_s = 10.0 * poll
        for one in made.due(now_s):
            took_s = 0.3 if one is dear and poll < 30 else 0.0
            made.answered(one, now_s=now_s, elapsed_s=WAY_S + took_s)
        assert made.cut(now_s) == [one for one in [dear] if one.answered_s != now_s]
        assert first.answered_s == now_s
        if poll == 50:
            assert made.slowed_s == 30.0
    assert made.slowed_s == 0.0


def test_one_slow_answer_is_an_accident() -> None:
    """A process that was suspended for five seconds took its most important question for one that costs as much, and left it for a quarter of an hour."""
    made = schedule(0, 0)
    for poll, elapsed_s in enumerate((WAY_S, 5.0, WAY_S, WAY_S)):
        assert names(made.due(10.0 * poll)) == ["q0", "q1"]
        made.answered(made.entries[0], now_s=10.0 * poll, elapsed_s=WAY_S)
        made.answered(made.entries[1], now_s=10.0 * poll, elapsed_s=elapsed_s)


def test_what_did_not_fit_into_a_poll_comes_first_in_the_next() -> None:
    made = schedule(0, 0, 60)
    first = made.due(0.0)
    assert names(first) == ["q0", "q1", "q2"]
    made.answered(first[0], now_s=0.0, elapsed_s=WAY_S)
    assert names(made.due(10.0)) == ["q1", "q2", "q0"]


def test_a_poll_that_comes_a_little_early_asks_all_the_same() -> None:
    made = schedule(30)
    made.answered(made.due(0.0)[0], now_s=0.4, elapsed_s=WAY_S)
    assert names(made.due(29.9)) == ["q0"]
    assert names(made.due(20.0)) == []


def test_what_is_ended_for_its_length_waits_longer_each_time() -> None:
    made = schedule(60, 0, cost_ratio_max=0.1)
    one = made.entries[0]
    waits = []
    for _ in range(4):
        made.slow(one, now_s=0.0, elapsed_s=2.0, note="slow")
        waits.append(one.due_s)
    assert waits == [240.0, 960.0, 1800.0, 1800.0]
    assert one.note == "slow"
    made.answered(one, now_s=0.0, elapsed_s=WAY_S)
    assert (one.note, one.slow_count) == ("", 0)


def test_what_is_absent_is_asked_for_seldom() -> None:
    made = schedule(0)
    made.absent(made.entries[0], now_s=0.0, note="no right")
    assert names(made.due(ABSENT_EVERY_S - 20)) == []
    assert names(made.due(ABSENT_EVERY_S)) == ["q0"]
    made.failed(made.entries[0], now_s=0.0, note="broken")
    assert made.entries[0].due_s == 60.0


def test_the_way_to_the_server_is_no_cost_to_it() -> None:
    made = schedule(0, 0)
    for _ in range(5):
        for one in made.entries:
            made.answered(one, now_s=0.0, elapsed_s=0.2)
    assert made.cost_ratio() == pytest.approx(0.0)
