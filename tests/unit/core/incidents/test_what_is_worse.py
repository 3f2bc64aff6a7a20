"""Goal: an incident is told as worse when it is worse now, in units that can be compared, and at its end the worst there was.

Method: windows and means of longer horizons with scores that are given; guards are left out. Such a mean has the narrower
band, so the same fault has the higher score in it, and it is strange for a while when the fault is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.incidents import (
    GuardSettings,
    IncidentSettings,
    Tracked,
    TrackerState,
    from_bytes,
    to_bytes,
    track,
)
from sentinel.core.model import HORIZONS_S, SeriesKey, TransitionKind
from tests.support.incident_blocks import START_NS, STEP_NS, block_of, verdicts_of

EDGE = SeriesKey("pay", "edge", "POST /x", "errors")
DATABASE = SeriesKey("pay", "database", "UPDATE a", "errors")
SETTINGS = IncidentSettings(
    hold_ns=0, hold_window_count=3, worsen_gap_ns=0, guards=GuardSettings(enabled=False)
)
WINDOW, MINUTE, FIVE, HALF_HOUR = 0, 60, 300, 1800
ORDINARY = (WINDOW, 0.2)


def told(
    seen: Sequence[Sequence[tuple[int, float]]],
    *,
    lasting: bool | Sequence[bool],
    keys: Mapping[int, SeriesKey] | None = None,
    settings: IncidentSettings = SETTINGS,
    value: Sequence[float] = (),
) -> Tracked:
    """Windows of which each series has (length of the horizon, score), tracked one by one through bytes.

    `lasting` says whether means go on, of all windows or window by window.
    """
    keys = keys or {1: EDGE}
    horizon_s = np.array([[length_s for length_s, _ in row] for row in seen], np.int16)
    scores = [[score for _, score in row] for row in seen]
    values = value or [2.0] * len(seen)
    block = block_of(keys, [[one] * len(keys) for one in values])
    goes_on = np.broadcast_to(np.array(lasting), len(seen))[:, None]
    lasts = [
        np.where((horizon_s == length_s) & goes_on, scores, np.nan) for length_s in HORIZONS_S
    ]
    verdicts = replace(
        verdicts_of(block, scores), horizon_s=horizon_s, lasting=np.array(lasts, np.float32)
    )
    state = TrackerState()
    parts: list[Tracked] = []
    for at in range(len(seen)):
        one = track(state, block.windows(at, at + 1), verdicts.windows(at, at + 1), keys, settings)
        state = from_bytes(to_bytes(one.state))
        parts.append(one)
    return replace(
        parts[-1],
        transitions=tuple(change for part in parts for change in part.transitions),
        pages=tuple(page for part in parts for page in part.pages),
    )


def reasons(tracked: Tracked) -> list[str]:
    return [page.reason.value for page in tracked.pages]


@pytest.mark.parametrize("lasting", [False, True])
def test_the_mean_of_a_longer_horizon_never_tops_the_windows_that_made_it(
    *, lasting: bool
) -> None:
    """After a lock of twelve minutes, told at a score of 8, "worse" went out: its mean of five minutes had 38 by a narrower band.

    The resolve told of 40 % at worst, which was that mean; half of the calls had been slow for all of the time.
    """
    seen = [[(WINDOW, 8.0)]] * 4 + [[(MINUTE, 20.0)], [(FIVE, 38.0)], [(HALF_HOUR, 50.0)]]
    value = [0.5] * 4 + [0.45, 0.4, 0.2] + [0.01] * 3
    tracked = told(seen + [[ORDINARY]] * 3, lasting=lasting, value=value)
    assert reasons(tracked) == ["opened", "resolved"]
    assert ": 50 % at worst, expected" in tracked.pages[1].annotations["summary"]
    (member,) = tracked.transitions[-1].incident.members
    assert (member.horizon_s, member.peak_score) == (WINDOW, 8.0)
    assert member.last_ns == START_NS + 6 * STEP_NS


@pytest.mark.parametrize(
    ("first", "then", "is_worse"),
    [
        ((WINDOW, 1.2), (WINDOW, 2.3), False),
        ((WINDOW, 1.2), (WINDOW, 2.4), True),
        ((FIVE, 1.2), (FIVE, 2.3), False),
        ((FIVE, 1.2), (FIVE, 2.4), True),
        ((FIVE, 1.2), (MINUTE, 2.4), True),
        ((FIVE, 1.2), (WINDOW, 2.4), True),
        ((FIVE, 1.2), (HALF_HOUR, 9.0), False),
        ((WINDOW, 1.2), (MINUTE, 9.0), False),
    ],
)
def test_twice_the_score_is_worse_by_the_same_band_or_a_wider_one(
    first: tuple[int, float],
    then: tuple[int, float],
    *,
    is_worse: bool,
) -> None:
    assert reasons(told([[first], [then]], lasting=True)) == ["opened", *["worsened"] * is_worse]


def test_a_mean_that_doubles_is_worse_while_it_goes_on_and_not_when_it_is_over() -> None:
    seen = [[(FIVE, 1.2)]] * 3 + [[(FIVE, 2.4)]] * 3
    later = told(seen, lasting=[True, True, True, False, True, True])
    assert reasons(later) == ["opened", "worsened"]
    assert later.transitions[-1].at_ns == START_NS + 5 * STEP_NS
    assert reasons(told(seen, lasting=[True] * 3 + [False] * 3)) == ["opened"]


def test_what_windows_begin_to_show_is_still_held_against_the_mean_that_was_told() -> None:
    """A single window barely out of its wide band would hide that the mean has doubled since the page."""
    block = block_of({1: EDGE}, [[2.0], [2.0]])
    lasting = np.full((3, 2, 1), np.nan, np.float32)
    lasting[1] = [[1.2], [2.5]]
    verdicts = replace(
        verdicts_of(block, [[1.2], [1.05]]),
        horizon_s=np.array([[FIVE], [WINDOW]], np.int16),
        lasting=lasting,
    )
    tracked = track(TrackerState(), block, verdicts, {1: EDGE}, SETTINGS)
    assert reasons(tracked) == ["opened", "worsened"]


@pytest.mark.parametrize("lasting", [False, True])
def test_a_stage_that_only_a_mean_shows_is_told_only_while_it_goes_on(*, lasting: bool) -> None:
    seen = [[(WINDOW, 5.0), ORDINARY]] * 2 + [[ORDINARY, (FIVE, 1.5)]] * 2
    tracked = told(seen, lasting=lasting, keys={1: EDGE, 2: DATABASE})
    assert reasons(tracked) == ["opened", *["worsened"] * lasting]
    kind = tracked.transitions[1].kind
    assert kind is (TransitionKind.WORSENED if lasting else TransitionKind.JOINED)


def test_what_got_worse_within_the_gap_and_is_over_at_its_end_is_told_by_the_resolve() -> None:
    """Of four minutes, the first window of which was seen in part, "worse" went out a minute after their end."""
    settings = replace(SETTINGS, worsen_gap_ns=4 * STEP_NS)
    short = [[(WINDOW, 1.5)], [(WINDOW, 8.0)], [(WINDOW, 8.0)], *[[(FIVE, 9.0)]] * 4]
    value = [0.1, 0.5, 0.5, *[0.4] * 4, *[0.01] * 3]
    tracked = told([*short, *[[ORDINARY]] * 3], lasting=False, settings=settings, value=value)
    assert reasons(tracked) == ["opened", "resolved"]
    assert ": 50 % at worst, expected" in tracked.pages[1].annotations["summary"]
    longer = told([[(WINDOW, 1.5)], *[[(WINDOW, 8.0)]] * 6], lasting=False, settings=settings)
    assert reasons(longer) == ["opened", "worsened"]
    assert longer.transitions[-1].at_ns == START_NS + 5 * STEP_NS


def test_no_reminder_goes_out_when_the_values_are_back() -> None:
    settings = replace(SETTINGS, reminder_window_count=4, reminder_ns=0)
    seen = [[(WINDOW, 5.0)]] * 3 + [[(HALF_HOUR, 9.0)]] * 9
    assert reasons(told(seen, lasting=False, settings=settings)) == ["opened"]
    assert reasons(told(seen, lasting=True, settings=settings)) == ["opened", "reminder"]


def test_what_windows_show_stands_before_what_only_means_show() -> None:
    tracked = told([[(HALF_HOUR, 30.0), (WINDOW, 1.3)]], lasting=True, keys={1: EDGE, 2: DATABASE})
    (opened,) = tracked.transitions
    assert [member.series_id for member in opened.incident.members] == [2, 1]
