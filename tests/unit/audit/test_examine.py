"""Goal: the audit says where ours and statsmodels disagree, and does not when they agree.

Method: five weeks of a made-up series with what the profile cannot know put in; the sentences are read.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.app.audit_ours import FitBasis, Ours
from sentinel.audit.examine import examine
from sentinel.audit.shifts import Shift, quarters_of, shifts_of
from sentinel.audit.words import Miss, Moved, sentences
from sentinel.core.baseline import BIN_NS, Model, ModelRule
from sentinel.core.model import Kind, SeriesKey, WindowBlock
from sentinel.pipeline.models import ModelSettings
from sentinel.storage.memory import MemoryStore

pytestmark = pytest.mark.timeout(120)  # loading statsmodels alone takes seconds on a busy machine

DAY_NS = 86_400_000_000_000
PER_DAY = DAY_NS // BIN_NS
MONDAY_NS = 1_789_948_800_000_000_000
DAYS = 35
BINS = np.arange(DAYS * PER_DAY)
HOUR = BINS % PER_DAY // 12
Floats = NDArray[np.float64]


def found_in(
    value: Floats,
    *,
    model: Model = Model.PROFILE,
    noise: float = 0.05,
    expected: Floats | None = None,
) -> dict[str, Any]:
    """What is found where ours is fitted by `model`, or expected so in the last three weeks."""
    rng = np.random.default_rng(3)
    seen = (value * (1 + noise * rng.standard_normal(len(value)))).astype(np.float32)[:, None]
    block = WindowBlock(
        start_ns=MONDAY_NS,
        step_ns=BIN_NS,
        series=np.array([1]),
        kind=np.full(1, int(Kind.TRAFFIC), np.int8),
        value=seen,
        weight=np.ones(seen.shape, np.float32),
        heard=np.ones(seen.shape, np.bool_),
    )
    if expected is not None:
        asked = np.where(BINS >= 14 * PER_DAY, expected, np.nan).astype(np.float32)
        return examined(seen[:, 0], asked)
    ours = Ours(
        MemoryStore(),
        {1: SeriesKey("ledger", "edge", "GET /", "traffic")},
        (),
        asked=block.series,
        end_ns=block.end_ns,
        basis=FitBasis(models=ModelSettings(rules=(ModelRule(model=model),))),
    )
    return examined(seen[:, 0], ours.expected(block, limit_s=60.0).value)


def examined(seen: NDArray[np.float32], expected: NDArray[np.float32]) -> dict[str, Any]:
    found = examine(seen, expected=expected, per_day=PER_DAY, start_ns=MONDAY_NS)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    return found


def daily() -> Floats:
    result: Floats = 200 * (1 + 0.5 * np.sin(2 * np.pi * BINS / PER_DAY))
    return result


def test_where_both_agree_nothing_is_told() -> None:
    found = found_in(daily())
    assert found["disagreements"] == []
    assert found["strength"]["day"] > 0.9
    assert found["strength"]["week"] < 0.3
    assert found["level_changes"] == []
    assert found["left_over"]["ours"]["p_value"] > 0.001
    assert abs(found["trend_per_week"]["share"]) < 0.01
    assert abs(found["bias_ratio"]["share"]) < 0.01


def test_hours_of_a_weekday_are_named_with_their_size() -> None:
    value = daily()
    saturday = (BINS // PER_DAY % 7 == 5) & (HOUR >= 2) & (HOUR < 5)
    value[saturday] *= 1.6
    (told,) = found_in(value, expected=daily())["disagreements"]
    assert told.startswith("weekly season (strength 0.")
    assert "ours misses it on Saturdays 02:00-05:00 UTC" in told
    share = int(told.split("what is usual lies ")[1].split(" %")[0])
    assert told.endswith("% above ours")
    assert 50 <= share <= 70


def test_a_change_of_level_is_dated_and_how_long_ours_took_is_told() -> None:
    value = daily()
    value[24 * PER_DAY + PER_DAY // 2 :] *= 1.4
    found = found_in(value)
    (change,) = found["level_changes"]
    assert change["at"].startswith("2026-10-15T12:00")
    assert change["ratio"] == pytest.approx(0.4, abs=0.05)
    assert 2 <= change["followed_days"] <= 8
    assert found["disagreements"][0].startswith("level change of +")
    assert "on 15 October 12:00 UTC that ours took" in found["disagreements"][0]
    # While it follows all hours are off; none of them is told as a season.
    assert not any("season" in one for one in found["disagreements"])


def test_a_new_level_of_two_days_ago_is_not_followed_yet() -> None:
    value = daily()
    value[32 * PER_DAY + PER_DAY // 2 :] *= 0.6
    told = found_in(value)["disagreements"]
    assert any(one.endswith("that ours has not followed yet") for one in told)


def test_a_new_level_that_ours_was_not_asked_for_is_no_disagreement() -> None:
    """Each change of level from before the last 21 days was told as one "that ours has not followed yet"."""
    value = daily()
    value[8 * PER_DAY :] *= 1.4
    found = found_in(value, expected=value)
    (change,) = found["level_changes"]
    assert (change["followed_days"], change["asked"]) == (None, False)
    assert found["disagreements"] == []


def test_an_incident_is_no_change_of_level() -> None:
    value = daily()
    value[20 * PER_DAY : 20 * PER_DAY + 100] *= 5
    assert found_in(value)["level_changes"] == []


def test_growth_is_measured_robustly() -> None:
    value = daily() * 1.03 ** (BINS / PER_DAY / 7)
    value[5000:5200] *= 9
    assert found_in(value)["trend_per_week"]["share"] == pytest.approx(0.03, abs=0.005)


def test_weekends_are_told_where_they_are_missed_and_are_missed_by_neither_model() -> None:
    value = daily() * np.where(BINS // PER_DAY % 7 >= 5, 0.6, 1.0)
    missed = found_in(value, expected=daily())["disagreements"]
    assert any("on Saturdays, all day" in one for one in missed)
    for model in (Model.PROFILE, Model.FOURIER):
        assert found_in(value, model=model)["disagreements"] == []


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_series_that_never_move_and_series_of_almost_nothing(level: float) -> None:
    found = found_in(np.full(len(BINS), level), noise=0.0)
    assert found["disagreements"] == []
    value = np.where(BINS % 97 == 0, 1.0, 0.0)
    assert isinstance(found_in(value, noise=0.0)["disagreements"], list)


def test_changes_are_found_exactly_and_short_ones_are_none() -> None:
    rng = np.random.default_rng(1)
    value = np.concatenate([np.full(40, 1.0), np.full(30, 2.0), np.full(42, 1.5)])
    value += 0.05 * rng.standard_normal(len(value))
    value[10:13] += 4
    found = shifts_of(value, size_min=0.1)
    assert [one.quarter for one in found] == [40, 70]
    assert found[0].size == pytest.approx(1.0, abs=0.05)
    assert shifts_of(np.full(50, 3.0), size_min=0.1) == []
    assert shifts_of(np.full(50, np.nan), size_min=0.1) == []
    gap = np.array([1.0] * 10 + [np.nan] * 6 + [3.0] * 10)
    (one,) = shifts_of(gap, size_min=0.1)
    assert isinstance(one, Shift)
    assert 10 <= one.quarter <= 16


def test_quarters_end_with_the_series() -> None:
    value = np.arange(10.0)
    value[8:] = np.nan
    np.testing.assert_array_equal(quarters_of(value, per_day=8), [0.5, 2.5, 4.5, 6.5, np.nan])


def test_times_are_told_by_the_clock_of_the_zone() -> None:
    moved = Moved(at_ns=MONDAY_NS + DAY_NS // 2, ratio=0.4, followed_days=None)
    miss = Miss(weekday=0, begin_hour=9, end_hour=11, ratio=0.5)
    found = {
        "strength": {"day": 1.0, "week": 1.0},
        "left_over": {"ours": None, "mstl": None},
        "bias_ratio": None,
    }
    told = sentences(found, misses=[miss], moved=[moved], zone="Asia/Kolkata")
    assert "on Mondays 09:00-11:00 Asia/Kolkata;" in told[0]
    assert "on 21 September 12:00 Asia/Kolkata that" in told[1]
    assert moved.document("Asia/Kolkata")["at"] == "2026-09-21T12:00+05:30"
    assert moved.document("UTC")["at"] == "2026-09-21T12:00+00:00"
