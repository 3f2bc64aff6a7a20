"""Goal: time moves forward only, and neither clock can push it where the other says it is not.

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


def test_it_never_moves_back() -> None:
    mark = Watermark(lateness_ns=5 * S)
    mark.advance(T)
    assert mark.advance(T - 3600 * S) == T - 5 * S


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
