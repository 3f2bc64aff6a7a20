"""Goal: what was seen in an incident leaves no trace in what is expected, unless it is a habit or a person said it is normal.

Method: days of 5-minute windows with the shape of a day, an outage in one of them, and the profile of the day after.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.baseline import (
    Calendar,
    Profile,
    fit_fourier_or_profile,
    fit_on_wall_clock,
    fit_profile,
    nothing_special,
    quarantined,
)
from sentinel.core.baseline.profile import BIN_NS, DAY_NS
from sentinel.core.model import (
    Incident,
    IncidentKind,
    IncidentState,
    Member,
    SeriesKey,
    Severity,
    WindowBlock,
    kind_of_signal,
)

PER_DAY = DAY_NS // BIN_NS
START_NS = 20_000 * DAY_NS
HOUR_NS = 3_600_000_000_000
KEYS = {
    1: SeriesKey("pay", "edge", "POST /x", "traffic"),
    2: SeriesKey("pay", "edge", "POST /x", "errors"),
    3: SeriesKey("pool", "db", "", "connections"),
}


def days(count: int, *, outages: dict[int, float] | None = None) -> WindowBlock:
    """Days of three series; in those of `outages` all have that share of their value from 6 to 12 o'clock."""
    shape = 100 + 50 * np.sin(np.arange(PER_DAY) / PER_DAY * 2 * np.pi)
    value = np.tile(shape, count)[:, None].repeat(3, axis=1)
    for day, share in (outages or {}).items():
        value[day * PER_DAY + PER_DAY // 4 : day * PER_DAY + PER_DAY // 2] *= share
    return WindowBlock(
        start_ns=START_NS,
        step_ns=BIN_NS,
        series=np.array([1, 2, 3]),
        kind=np.array([kind_of_signal(key.signal) for key in KEYS.values()], np.int8),
        value=value.astype(np.float32),
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def incident(day: int, *, series: tuple[int, ...] = (1, 2, 3)) -> Incident:
    """From 6 to 12 o'clock of a day, resolved half an hour later."""
    first_ns = START_NS + day * DAY_NS + 6 * HOUR_NS
    last_ns = first_ns + 6 * HOUR_NS - 10 * 10**9
    members = tuple(
        Member(
            series_id=one,
            key=KEYS[one],
            direction=-1,
            first_ns=first_ns,
            last_ns=last_ns,
            peak_score=3.0,
            value=0.0,
            expected=100.0,
            lower=50.0,
            upper=150.0,
        )
        for one in series
    )
    return Incident(
        incident_id=f"inc-{day}",
        group="pay",
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.RESOLVED,
        opened_ns=first_ns,
        paged_ns=first_ns,
        resolved_ns=last_ns + HOUR_NS // 2,
        members=members,
    )


def mask(history: WindowBlock, *told: Incident, at_ns: int = 2**62) -> NDArray[np.bool_]:
    found = quarantined(told, history, KEYS, at_ns=at_ns)
    return np.zeros(history.value.shape, np.bool_) if found is None else found


def next_day(history: WindowBlock, *told: Incident) -> Profile:
    return fit_profile(
        history,
        at_ns=history.end_ns,
        version=1,
        horizon_ns=DAY_NS,
        left_out=quarantined(told, history, KEYS, at_ns=history.end_ns),
    )


def test_the_windows_of_members_are_left_out_save_of_gauges() -> None:
    history = days(2)
    found = mask(history, incident(1))
    expected = np.zeros((2 * PER_DAY, 3), np.bool_)
    expected[PER_DAY + PER_DAY // 4 : PER_DAY + PER_DAY // 2, :2] = True
    assert np.array_equal(found, expected)
    assert not mask(history, incident(1, series=(2,)))[:, 0].any()


def test_an_open_incident_lasts_until_now() -> None:
    history = days(2)
    open_now = replace(incident(1), state=IncidentState.OPEN, resolved_ns=None)
    now_ns = START_NS + DAY_NS + 20 * HOUR_NS
    assert np.flatnonzero(mask(history, open_now, at_ns=now_ns)[:, 0])[-1] == PER_DAY + 20 * 12 - 1


@pytest.mark.parametrize(
    "told",
    [
        replace(incident(1), accepted_ns=START_NS + 2 * DAY_NS, accepted_by="alice"),
        replace(incident(1), kind=IncidentKind.BLIND),
        incident(40),
    ],
    ids=["accepted", "blind", "later"],
)
def test_what_was_accepted_or_is_no_outage_is_learnt(told: Incident) -> None:
    assert quarantined([told], days(2), KEYS, at_ns=2**62) is None


def test_a_pause_before_anything_was_expected_is_learnt() -> None:
    """A nightly job's day without calls paged on its first two days; left out, its cut was too high for seven weeks."""
    early = incident(1, series=(1, 2))
    members = tuple(replace(member, expected=float("nan")) for member in early.members)
    found = mask(days(2), replace(early, members=members))
    assert found.any(axis=0).tolist() == [False, True, False]


def test_an_incident_of_more_series_than_it_lists_is_its_whole_services() -> None:
    member = incident(1, series=(2,)).members[0]
    many = tuple(replace(member, series_id=number) for number in range(100, 150))
    found = mask(days(2), replace(incident(1), members=many))
    assert found[:, :2].any(axis=0).all()
    assert not found[:, 2].any()


@pytest.mark.parametrize("count", [3, 5, 10, 29])
@pytest.mark.parametrize("share", [0.0, 3.0])
def test_an_outage_leaves_no_dent(count: int, share: float) -> None:
    """Of three days of history the one with the outage moved the median of the hours it had."""
    told = incident(count - 1)
    clean = next_day(days(count))
    seen = next_day(days(count, outages={count - 1: share}), told)
    assert np.allclose(seen.grid[:, :2], clean.grid[:, :2], rtol=1e-6)
    if count == 3:
        poisoned = next_day(days(count, outages={count - 1: share, count - 2: share}), told)
        assert not np.allclose(poisoned.grid[:, 0], clean.grid[:, 0], rtol=0.1)


def test_of_a_single_day_with_an_outage_nothing_is_known_of_its_hours() -> None:
    """Expecting the outage would be worse than expecting nothing."""
    seen = next_day(days(1, outages={0: 0.0}), incident(0))
    assert np.isnan(seen.grid[PER_DAY // 4 : PER_DAY // 2, 0]).all()
    assert np.isfinite(seen.grid[: PER_DAY // 4 - 1, 0]).all()


def test_what_comes_again_is_a_habit() -> None:
    """A batch that pages on its first days is expected after some, as it was before anything was left out."""
    outages = dict.fromkeys(range(5, 10), 3.0)
    told = [incident(day) for day in outages]
    history = days(10, outages=outages)
    assert np.array_equal(next_day(history, *told).grid, next_day(history).grid)
    two = {8: 3.0, 9: 3.0}
    clean = next_day(days(10))
    seen = next_day(days(10, outages=two), incident(8), incident(9))
    assert np.allclose(seen.grid[:, 0], clean.grid[:, 0], rtol=1e-6)


def test_the_curve_leaves_it_out_too() -> None:
    history = days(21, outages={18: 0.0, 19: 0.0, 20: 0.0})
    told = [incident(day) for day in (18, 19, 20)]
    left_out = quarantined(told, history, KEYS, at_ns=history.end_ns)
    clean = days(21)
    fits = [
        fit_fourier_or_profile(
            block, at_ns=block.end_ns, version=1, horizon_ns=DAY_NS, left_out=out
        ).grid[:, 0]
        for block, out in ((clean, None), (history, left_out), (history, None))
    ]
    assert np.abs(fits[1] / fits[0] - 1).max() < 0.02 < np.abs(fits[2] / fits[0] - 1).max()


def test_it_is_left_out_on_the_wall_clock_of_a_zone_too() -> None:
    """Two hours east of UTC, with the clock moved within the history: the hours of the outage move with the values."""
    moved_ns = START_NS + 2 * DAY_NS + HOUR_NS
    calendar = Calendar(
        zone="somewhere", offsets=((0, 3600), (moved_ns, 7200)), digest="somewhere"
    )
    grids = []
    for history, told in ((days(5), []), (days(5, outages={4: 0.0}), [incident(4)])):
        profile = fit_on_wall_clock(
            history,
            at_ns=history.end_ns,
            version=1,
            horizon_ns=DAY_NS,
            special=nothing_special(calendar),
            left_out=quarantined(told, history, KEYS, at_ns=history.end_ns),
        )
        grids.append(profile.grid[:, 0])
    # Of four days of which one is left out the median lies elsewhere between two hours, no lower than any of them.
    assert np.nanmax(np.abs(grids[1] / grids[0] - 1)) < 0.15
