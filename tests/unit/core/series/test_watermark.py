"""Goal: neither clock can push time where the other says it is not, and a wrong clock that was believed is got over.

Method: a sequence of clock readings and events; the watermark after each.
"""

from __future__ import annotations

from sentinel.core.series.watermark import Watermark

S = 10**9
T = 1_790_000_000 * S


def test_it_is_the_later_clock_less_the_lateness() -> None:
    mark = Watermark(lateness_ns=5 * S)
    assert mark.advance(T) == T - 5 * S
    assert mark.advance(T + S, event_ns=T + 3 * S) == T - 2 * S
    assert mark.advance(T + 2 * S, event_ns=T) == T - 2 * S


def test_an_event_counts_five_seconds_ahead_at_most() -> None:
    mark = Watermark(lateness_ns=5 * S)
    assert mark.advance(T, event_ns=T + 1000 * S) == T


def test_it_does_not_move_back_with_a_clock_that_comes_again() -> None:
    mark = Watermark(lateness_ns=5 * S)
    mark.advance(T)
    for second in range(0, 59, 3):
        assert mark.advance(T + (second - 3600) * S) == T - 5 * S
    assert mark.advance(T + 60 * S, event_ns=T + 60 * S) == T + 55 * S


def test_it_moves_back_when_the_clock_has_stayed_back_for_a_minute() -> None:
    """A clock that was ahead for minutes and was put right once left nothing judged until time had caught up."""
    mark = Watermark(lateness_ns=5 * S)
    mark.advance(T + 3600 * S)
    for second in range(60):
        assert mark.advance(T + second * S, event_ns=T + second * S) == T + 3595 * S
    assert mark.advance(T + 60 * S) == T + 55 * S
    assert mark.advance(T + 61 * S, event_ns=T + 62 * S) == T + 57 * S


def test_a_small_lead_is_waited_out() -> None:
    mark = Watermark(lateness_ns=5 * S)
    mark.advance(T + 60 * S)
    values = [mark.advance(T + second * S) for second in range(120)]
    assert values == sorted(values)


def test_a_clock_that_steps_again_must_stay_anew() -> None:
    mark = Watermark(lateness_ns=5 * S)
    mark.advance(T + 36_000 * S)
    for second in range(0, 180, 30):
        wavering = T + second * S - (3600 * S if second % 60 else 0)
        assert mark.advance(wavering) == T + 35_995 * S


def test_after_a_restart_it_begins_where_windows_were_closed() -> None:
    mark = Watermark(lateness_ns=5 * S, value_ns=T + 3600 * S)
    assert mark.advance(T) == T + 3600 * S
    for second in range(60):
        mark.advance(T + second * S)
    assert mark.advance(T + 60 * S) == T + 55 * S


def test_a_step_forward_is_believed_when_an_event_agrees() -> None:
    mark = Watermark(lateness_ns=5 * S)
    mark.advance(T)
    later = T + 600 * S
    assert mark.advance(later) == T - 5 * S
    assert mark.clock_distrusted
    assert mark.advance(later + S, event_ns=later) == later - 4 * S
    assert not mark.clock_distrusted


def test_a_step_forward_is_believed_when_it_stays() -> None:
    mark = Watermark(lateness_ns=5 * S)
    mark.advance(T)
    later = T + 600 * S
    for second in range(30):
        assert mark.advance(later + second * S) == T - 5 * S
    assert mark.advance(later + 30 * S) == later + 25 * S


def test_a_step_forth_and_back_leaves_no_trace() -> None:
    mark = Watermark(lateness_ns=5 * S)
    mark.advance(T)
    mark.advance(T + 86_400 * S)
    assert mark.advance(T + S) == T - 4 * S
    assert not mark.clock_distrusted
