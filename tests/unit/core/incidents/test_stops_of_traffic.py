"""Goal: zero traffic pages when it is unlikely at this hour, soon, and neither a usual pause nor a return does.

Method: windows of 10 s with what was expected of them written beside, the band as wide as counting makes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from sentinel.core.incidents import (
    IncidentSettings,
    Tracked,
    TrackerState,
    from_bytes,
    to_bytes,
    track,
)
from sentinel.core.model import (
    IncidentKind,
    SeriesKey,
    Transition,
    TransitionKind,
    VerdictBlock,
    WindowBlock,
)
from tests.support.incident_blocks import NAN, START_NS, STEP_NS, block_of

KEYS = {1: SeriesKey("pay", "edge", "POST /x", "traffic")}
SETTINGS = IncidentSettings()
SPREADS = 5.1
"""Of a band to each side: the cut of 4.25, 1.2 times for a single window."""


def verdicts_for(block: WindowBlock, expected: Sequence[float], *, wider: float) -> VerdictBlock:
    """A band of `wider` times what counting spreads; a score of 2 outside."""
    middle = np.array(expected, np.float64)[:, None]
    half = SPREADS * np.sqrt(middle * 10.0) / 10.0 * wider
    above = block.value > middle + half
    below = block.value < middle - half
    return VerdictBlock(
        start_ns=block.start_ns,
        step_ns=block.step_ns,
        series=block.series,
        value=block.value,
        weight=block.weight,
        score=np.where(np.isnan(middle), NAN, np.where(above | below, 2.0, 0.5)).astype(
            np.float32
        ),
        expected=middle.astype(np.float32),
        lower=(middle - half).astype(np.float32),
        upper=(middle + half).astype(np.float32),
        direction=np.where(block.value >= middle, 1, -1).astype(np.int8),
        reason=np.zeros(block.value.shape, np.int8),
    )


def told(
    values: Sequence[float],
    *,
    usual: Sequence[float] | float,
    expected: Sequence[float] | None = None,
    heard: Sequence[bool] | None = None,
    wider: float = 1.0,
    state: TrackerState | None = None,
    start_ns: int = START_NS,
) -> Tracked:
    """What windows of one route led to; `expected` is the profile's, where it is not given beside it."""
    profile = [usual] * len(values) if isinstance(usual, float) else list(usual)
    block = block_of(
        KEYS,
        [[value] for value in values],
        heard=None if heard is None else [[one] for one in heard],
        start_ns=start_ns,
    )
    verdicts = verdicts_for(block, profile if expected is None else expected, wider=wider)
    return track(
        TrackerState() if state is None else state,
        block,
        verdicts,
        KEYS,
        SETTINGS,
        usual=np.array(profile, np.float64)[:, None],
    )


def opened_after(tracked: Tracked) -> list[int]:
    """Windows from the beginning to the end of that which opened each incident."""
    return [
        (change.at_ns - START_NS) // STEP_NS
        for change in tracked.transitions
        if change.kind is TransitionKind.OPENED
    ]


def test_a_stop_that_the_band_cannot_see_pages_in_its_second_window() -> None:
    """Of 1.5 calls a second the band reaches below zero, so no zero was ever outside of it."""
    tracked = told([1.5] * 30 + [0.0] * 4, usual=1.5)
    assert opened_after(tracked) == [32]
    (page,) = tracked.pages
    assert tracked.transitions[0].incident.kind is IncidentKind.ANOMALY
    assert page.starts_ns == START_NS + 30 * STEP_NS
    assert "no calls at edge POST /x" in page.annotations["summary"]
    assert (
        "No call in 20 s where about 30 were expected, though the source is heard"
        in page.annotations["description"]
    )


@pytest.mark.parametrize("rate_per_s", [0.02, 0.1, 0.5])
def test_a_stop_below_the_static_rate_pages_once_it_cannot_be_chance(rate_per_s: float) -> None:
    tracked = told([rate_per_s] * 30 + [0.0] * 200, usual=rate_per_s)
    calls = (opened_after(tracked)[0] - 30) * 10 * rate_per_s
    assert 18.4 <= calls <= 19 + 10 * rate_per_s


def test_clumped_calls_leave_longer_gaps_by_chance() -> None:
    plain = told([0.5] * 30 + [0.0] * 200, usual=0.5)
    clumped = told([0.5] * 30 + [0.0] * 200, usual=0.5, wider=2.0)
    assert opened_after(plain)[0] < opened_after(clumped)[0] < 100


def test_a_usual_zero_is_no_stop_however_busy_it_was_before() -> None:
    """The hourly job: 1016 pages in six weeks, for the zero that follows it each hour."""
    assert told([5.0] * 60 + [0.0] * 300, usual=[5.0] * 60 + [0.0] * 300).pages == ()
    # Nor is it where what was expected had followed the job, and comes down after it.
    follows = [0.0] * 10 + [5.0] * 60 + [2.5] * 5 + [0.0] * 60
    ends = told([5.0] * 70 + [0.0] * 65, usual=[0.0] * 135, expected=follows)
    assert [
        change.at_ns for change in ends.transitions if change.at_ns > START_NS + 70 * STEP_NS
    ] == []


def test_today_is_quieter_than_usual_and_its_pauses_are_no_stop() -> None:
    """On a holiday a tenth of the usual calls come; three windows without any are nothing then."""
    tracked = told([0.2] * 30 + [0.0] * 5 + [0.2], usual=2.0, expected=[0.2] * 36)
    assert tracked.pages == ()


def test_pauses_that_come_again_and_again_are_usual_before_there_is_a_baseline() -> None:
    hour = [5.0] * 60 + [0.0] * 300
    tracked = told(hour * 8, usual=NAN, expected=[NAN] * len(hour) * 8)
    # One incident over two pauses; the third is usual, and in it the incident resolves.
    assert [at // 360 for at in opened_after(tracked)] == [0]
    assert tracked.state.entries == ()
    longer = told([*(hour * 4), *[5.0] * 60, *[0.0] * 460], usual=NAN, expected=[NAN] * 1960)
    assert opened_after(longer)[-1] == 4 * 360 + 60 + 451


def test_three_outages_do_not_hide_a_fourth_that_is_longer() -> None:
    outage = [2.0] * 400 + [0.0] * 30
    tracked = told([*(outage * 3), *[2.0] * 400, *[0.0] * 60], usual=2.0)
    assert [at - 430 * n - 400 for n, at in enumerate(opened_after(tracked))] == [2, 2, 2, 46]


def test_a_burst_of_what_could_not_come_is_no_news_and_one_that_goes_on_is() -> None:
    stop = [5.0] * 60 + [0.0] * 60
    settled = told([*stop, *[15.0] * 40, *[5.0] * 300], usual=5.0)
    assert [page.reason.value for page in settled.pages] == ["opened", "resolved"]
    goes_on = told([*stop, *[15.0] * 90], usual=5.0)
    members = goes_on.state.entries[0].members
    # 10 minutes of 5 a second, half as many again, at 10 more a second than usual: 450 s.
    assert members[1].last_ns == START_NS + (120 + 89) * STEP_NS
    before = told([*stop, *[15.0] * 45], usual=5.0)
    assert before.state.entries[0].members[1].last_ns == START_NS + 119 * STEP_NS


def test_what_is_owed_is_forgotten_after_as_long_as_the_stop_was() -> None:
    values = [5.0] * 60 + [0.0] * 60 + [5.0] * 61
    calm = told(values, usual=5.0)
    later = told([15.0], usual=5.0, state=calm.state, start_ns=START_NS + len(values) * STEP_NS)
    assert later.state.entries[0].members[1].last_ns == START_NS + len(values) * STEP_NS


def test_a_backlog_after_a_blind_stretch_is_no_news_either() -> None:
    values = [5.0] * 60 + [NAN] * 60 + [15.0] * 30 + [5.0] * 60
    heard = [not math.isnan(value) for value in values]
    tracked = told(values, usual=5.0, heard=heard)
    assert [page.labels["alertname"] for page in tracked.pages] == ["SentinelBlind"] * 2


def test_the_way_back_to_what_is_usual_is_no_news() -> None:
    """A level that had been adopted, and a slow day that ends: the band had followed, and the end of it paged."""
    up = told([12.0] * 10 + [20.0] * 10, usual=20.0, expected=[12.0] * 20)
    assert up.pages == ()
    beyond = told([12.0] * 10 + [31.0] * 10, usual=20.0, expected=[12.0] * 20)
    assert len(beyond.pages) == 1
    down = told([30.0] * 10 + [20.0] * 10, usual=20.0, expected=[30.0] * 20)
    assert down.pages == ()
    stopped = told([30.0] * 10 + [0.0] * 10, usual=20.0, expected=[30.0] * 20)
    assert len(stopped.pages) == 1


def test_the_state_survives_as_bytes_and_any_split_gives_the_same() -> None:
    values = ([0.5] * 37 + [0.0] * 50 + [2.0] * 10) * 3
    whole = told(values, usual=0.5)
    state = TrackerState()
    transitions: list[Transition] = []
    for first in range(0, len(values), 13):
        piece = told(
            values[first : first + 13],
            usual=0.5,
            state=from_bytes(to_bytes(state)),
            start_ns=START_NS + first * STEP_NS,
        )
        state = piece.state
        transitions += piece.transitions
    assert to_bytes(state) == to_bytes(whole.state)
    assert transitions == list(whole.transitions)
