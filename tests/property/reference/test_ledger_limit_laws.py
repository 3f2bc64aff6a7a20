"""Goal: a limit holds over every window, and who is told to wait is told exactly how long.

Method: any limit, any arrivals, any elevations; every conforming pair is looked at, and a refused request
is tried again at the moment it was told, and one nanosecond before.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain.limits import (
    BURST_MAX,
    RPS_MAX,
    SECOND_NS,
    Allowance,
    Allowed,
    Elevation,
    Limit,
    Refused,
    take,
)

limits = st.builds(
    Limit, rps=st.integers(1, RPS_MAX) | st.integers(1, 200), burst=st.integers(1, 20)
)
gaps_ns = st.lists(
    st.integers(0, 2 * SECOND_NS) | st.integers(0, 50_000_000), min_size=1, max_size=80
)
spans_ns = st.tuples(st.integers(0, 4 * SECOND_NS), st.integers(1, 4 * SECOND_NS))
EPOCH_NS = 1_700_000_000 * SECOND_NS


@st.composite
def allowances(draw: st.DrawFn) -> Allowance:
    """A limit with up to three elevations, which may overlap."""
    elevations = tuple(
        Elevation(
            starts_ns=EPOCH_NS + begin, ends_ns=EPOCH_NS + begin + length, limit=draw(limits)
        )
        for begin, length in draw(st.lists(spans_ns, max_size=3))
    )
    return Allowance(limit=draw(limits), elevations=elevations)


def arrivals(gaps: list[int]) -> list[int]:
    moments, now = [], 0
    for gap in gaps:
        now += gap
        moments.append(now)
    return moments


@given(limit=limits, gaps=gaps_ns, edges_count=st.integers(1, 4))
def test_no_window_holds_more_than_the_rate_and_the_burst(
    limit: Limit, gaps: list[int], edges_count: int
) -> None:
    tat, passed = 0, []
    allowance = Allowance(limit=limit)
    for now in arrivals(gaps):
        tat, decision = take(
            tat, steady_ns=now, now_ns=EPOCH_NS, allowance=allowance, edges_count=edges_count
        )
        if isinstance(decision, Allowed):
            passed.append(now)
    assert passed
    burst = max(limit.burst // edges_count, 1)
    for place, first in enumerate(passed):
        for count, last in enumerate(passed[place:], start=1):
            # Whole requests that the rate gives in the window, and the burst that was saved before it.
            assert count <= burst + (last - first) * limit.rps // (SECOND_NS * edges_count)


@given(allowance=allowances(), gaps=gaps_ns)
def test_who_waits_as_told_passes_and_a_nanosecond_earlier_does_not(
    allowance: Allowance, gaps: list[int]
) -> None:
    tat = 0
    for now in arrivals(gaps):
        before = tat
        tat, decision = take(tat, steady_ns=now, now_ns=EPOCH_NS + now, allowance=allowance)
        if isinstance(decision, Refused):
            assert tat == before
            assert decision.retry_after_ns > 0
            then = now + decision.retry_after_ns
            for moment, kind in ((then, Allowed), (then - 1, Refused)):
                _, told = take(
                    tat, steady_ns=moment, now_ns=EPOCH_NS + moment, allowance=allowance
                )
                assert isinstance(told, kind)


@given(limit=limits, gaps=gaps_ns)
def test_what_is_said_to_remain_passes_at_once_and_no_more(limit: Limit, gaps: list[int]) -> None:
    tat = 0
    allowance = Allowance(limit=limit)
    for now in arrivals(gaps):
        tat, decision = take(tat, steady_ns=now, now_ns=EPOCH_NS, allowance=allowance)
        left = decision.remaining_count if isinstance(decision, Allowed) else 0
        trial = tat
        for _ in range(left):
            trial, told = take(trial, steady_ns=now, now_ns=EPOCH_NS, allowance=allowance)
            assert isinstance(told, Allowed)
        _, told = take(trial, steady_ns=now, now_ns=EPOCH_NS, allowance=allowance)
        assert isinstance(told, Refused)


@given(limit=limits, gaps=gaps_ns)
def test_after_the_reset_the_whole_burst_is_there(limit: Limit, gaps: list[int]) -> None:
    tat, now, reset = 0, 0, 0
    allowance = Allowance(limit=limit)
    for now in arrivals(gaps):
        tat, decision = take(tat, steady_ns=now, now_ns=EPOCH_NS, allowance=allowance)
        reset = decision.reset_ns
    _, decision = take(tat, steady_ns=now + reset, now_ns=EPOCH_NS, allowance=allowance)
    assert isinstance(decision, Allowed)
    assert decision.remaining_count == limit.burst - 1


@given(rps=st.integers(1, RPS_MAX), burst=st.integers(1, BURST_MAX))
def test_a_steady_client_at_its_rate_is_never_refused(rps: int, burst: int) -> None:
    tat, now = 0, 0
    allowance = Allowance(limit=Limit(rps=rps, burst=burst))
    for _ in range(50):
        tat, decision = take(tat, steady_ns=now, now_ns=EPOCH_NS, allowance=allowance)
        assert isinstance(decision, Allowed)
        now += -(-SECOND_NS // rps)


@given(allowance=allowances(), now=st.integers(0, 9 * SECOND_NS))
def test_an_elevation_only_raises_the_limit_and_only_in_its_time(
    allowance: Allowance, now: int
) -> None:
    limit = allowance.at(EPOCH_NS + now)
    running = [
        one.limit for one in allowance.elevations if one.starts_ns <= EPOCH_NS + now < one.ends_ns
    ]
    assert limit.rps == max([allowance.limit.rps, *(one.rps for one in running)])
    assert limit.burst == max([allowance.limit.burst, *(one.burst for one in running)])


@given(own=limits, raised=limits)
def test_while_an_elevation_runs_whoever_passed_before_passes_still(
    own: Limit, raised: Limit
) -> None:
    """One of a higher rate and a smaller burst once lowered the burst; one of a higher burst alone was ignored."""
    span = Elevation(starts_ns=EPOCH_NS, ends_ns=EPOCH_NS + SECOND_NS, limit=raised)
    passed = []
    for allowance in (Allowance(limit=own), Allowance(limit=own, elevations=(span,))):
        tat, count = 0, 0
        while True:
            tat, decision = take(tat, steady_ns=0, now_ns=EPOCH_NS, allowance=allowance)
            if isinstance(decision, Refused):
                break
            count += 1
        passed.append(count)
    assert passed == [own.burst, max(own.burst, raised.burst)]
