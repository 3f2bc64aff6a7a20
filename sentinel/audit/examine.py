"""What statsmodels finds in one series, and where it and our expectation disagree.

All is measured on bent values, where a distance is about a share. MSTL sees the whole history and looks both ways; ours never looked ahead. So
MSTL is the hindsight that ours is held against, not a rival of equal chances.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import statsmodels.api as sm  # type: ignore[import-untyped]
from numpy.typing import NDArray
from statsmodels.stats.diagnostic import acorr_ljungbox  # type: ignore[import-untyped]

from sentinel.audit.mstl import Parts, decompose
from sentinel.audit.shifts import Shift, quarters_of, shifts_of
from sentinel.audit.words import Miss, Moved, sentences
from sentinel.core.baseline.bending import unbent

DAY_NS = 86_400_000_000_000
MISS_MIN = 0.1
"""An hour that ours expects wrong by less, of the value, is not told."""
SHIFT_MIN = 0.05
_MISS_NOISE = 1.5
"""A miss is told when it is that many times the usual rest."""
_DAYS_SEEN_MIN = 2
_BLOCKS_TOLD = 5
_FOLLOW_DAYS_MAX = 14.0
_MAD_OF_NORMAL = 0.6745

Floats = NDArray[np.float64]


def examine(
    value: NDArray[np.float32],
    *,
    expected: NDArray[np.float32],
    per_day: int,
    start_ns: int,
    zone: str = "UTC",
) -> dict[str, Any]:
    """All that is found, as JSON can carry it; sentences under `disagreements`.

    Args:
        value: float32[T], NaN where missing or left out, beginning with a value.
        expected: float32[T], what ours expected before it came; NaN where it was not asked.
        per_day: values a day.
        start_ns: of the first, on the wall clock of `zone`.
        zone: an IANA name, for the words.

    Raises:
        TooLittleError: see `sentinel.audit.mstl.decompose`.
    """
    parts = decompose(value, per_day=per_day)
    ours = np.arcsinh(expected.astype(np.float64) / float(parts.unit[0]))
    seen = np.where(parts.filled, np.nan, parts.value)
    both = np.isfinite(seen) & np.isfinite(ours)
    season = parts.trend + parts.day + parts.week
    rest = np.where(parts.filled, np.nan, parts.rest)
    spread = _spread(rest)
    level = seen - parts.day - parts.week
    moved = _moved(level, seen - ours, parts, per_day=per_day, start_ns=start_ns)
    # While ours follows a change of level every hour is off, which says nothing of its seasons.
    settled = np.where(_following(moved, start_ns, len(seen), per_day=per_day), np.nan, seen)
    misses = _misses(settled, ours, season, spread=spread, per_day=per_day, start_ns=start_ns)
    trend = _trend(quarters_of(level, per_day=per_day))
    bias = _bias((seen - ours)[both])
    found: dict[str, Any] = {
        "strength": {
            "trend": _strength(parts.trend, rest),
            "day": _strength(parts.day, rest),
            "week": _strength(parts.week, rest) if parts.has_week else None,
        },
        "miss_ratio": {
            "ours": _ratio(np.abs(seen - ours)[both]),
            "mstl": _ratio(np.abs(rest)[both]),
        },
        "bias_ratio": bias,
        "trend_per_week": trend,
        "left_over": {
            "ours": _left_over((seen - ours)[_last_run(both)], per_day=per_day),
            "mstl": _left_over(rest[_last_run(both)], per_day=per_day),
        },
        "level_changes": [one.document(zone) for one in moved],
        "misses": [one.document() for one in misses],
    }
    found["disagreements"] = sentences(found, misses=misses, moved=moved, zone=zone)
    return found


def _spread(rest: Floats) -> float:
    known = rest[np.isfinite(rest)]
    return float(np.median(np.abs(known)) / _MAD_OF_NORMAL) if len(known) else 0.0


def _strength(part: Floats, rest: Floats) -> float:
    """F of Hyndman and Athanasopoulos (Forecasting, 3rd ed., 4.3): 0 none, 1 nothing but this part."""
    known = np.isfinite(rest)
    whole = float(np.var(part[known] + rest[known]))
    return round(max(0.0, 1 - float(np.var(rest[known])) / whole), 3) if whole > 1e-12 else 0.0


def _ratio(distance: Floats) -> float | None:
    """The median distance as a share of the value."""
    return round(float(np.expm1(np.median(distance))), 4) if len(distance) else None


def _bias(error: Floats) -> dict[str, float] | None:
    """The robust mean of our misses as a share: RLM on nothing but a constant, with Huber's norm."""
    if len(error) < 10 or np.ptp(error) < 1e-9:
        return None
    fit = sm.RLM(error, np.ones((len(error), 1)), M=sm.robust.norms.HuberT()).fit()
    return {"share": round(float(np.expm1(fit.params[0])), 4)}


def _trend(quarters: Floats) -> dict[str, float] | None:
    """Growth a week as a share, and its standard error: RLM of the deseasonalised level on time."""
    known = np.flatnonzero(np.isfinite(quarters))
    if len(known) < 28 or np.ptp(quarters[known]) < 1e-9:
        return None
    design = sm.add_constant(known / 28.0)
    fit = sm.RLM(quarters[known], design, M=sm.robust.norms.HuberT()).fit()
    return {
        "share": round(float(np.expm1(fit.params[1])), 4),
        "standard_error": round(float(fit.bse[1]), 4),
    }


def _last_run(both: NDArray[np.bool_]) -> slice:
    """From the first instant at which ours was asked to the end."""
    first = int(np.argmax(both)) if both.any() else len(both)
    return slice(first, len(both))


def _left_over(error: Floats, *, per_day: int) -> dict[str, float] | None:
    """Whether what is left is noise: Ljung-Box over a day of lags, and the correlation an hour and a day later.

    Of thousands of values Ljung-Box calls the least correlation significant; how much there is, the correlations say.
    """
    known = np.isfinite(error)
    if known.sum() < 2 * per_day or float(np.nanstd(error)) < 1e-9:
        return None
    # A gap is of no correlation: it is filled with the mean. Single giants would be all that is seen.
    middle = float(np.median(error[known]))
    limit = 4 * float(np.median(np.abs(error[known] - middle))) / _MAD_OF_NORMAL
    held = np.clip(error, middle - limit, middle + limit) if limit > 0 else error
    series = np.where(known, held - np.mean(held[known]), 0.0)
    box = acorr_ljungbox(series, lags=[per_day])
    power = float(np.dot(series, series))
    hour = max(1, per_day // 24)

    def correlation(lag: int) -> float:
        return round(float(np.dot(series[lag:], series[:-lag])) / power, 3)

    return {
        "ljung_box": round(float(box["lb_stat"].iloc[0]), 1),
        "p_value": float(box["lb_pvalue"].iloc[0]),
        "after_an_hour": correlation(hour),
        "after_a_day": correlation(per_day),
    }


def _misses(
    seen: Floats,
    ours: Floats,
    season: Floats,
    *,
    spread: float,
    per_day: int,
    start_ns: int,
) -> list[Miss]:
    """Hours of day, or of one weekday, that MSTL knows and ours expects otherwise; the largest first."""
    step_ns = DAY_NS // per_day
    instant = start_ns // step_ns + np.arange(len(seen))
    hour = instant % per_day * 24 // per_day
    weekday = (instant // per_day + 3) % 7
    gap = season - ours
    counted = np.isfinite(seen) & np.isfinite(gap)
    table = np.full((7, 24), np.nan)
    for day in range(7):
        for at in range(24):
            here = counted & (weekday == day) & (hour == at)
            days = len(np.unique(instant[here] // per_day))
            # MSTL is right where what came was nearer to it.
            if days >= _DAYS_SEEN_MIN and np.median(np.abs(seen - season)[here]) < np.median(
                np.abs(seen - ours)[here]
            ):
                table[day, at] = np.median(gap[here])
    limit = max(np.log1p(MISS_MIN), _MISS_NOISE * spread)
    wrong = np.abs(np.nan_to_num(table)) >= limit
    told: list[Miss] = []
    everyday = (wrong.sum(axis=0) >= 6) & (np.abs(np.sign(np.nan_to_num(table)).sum(axis=0)) >= 6)
    told += _blocks(np.nanmedian(np.where(everyday, table, 0.0), axis=0), everyday, weekday=None)
    for day in range(7):
        told += _blocks(np.nan_to_num(table[day]), wrong[day] & ~everyday, weekday=day)
    told.sort(key=lambda one: -abs(np.log1p(one.ratio)) * (one.end_hour - one.begin_hour))
    return told[:_BLOCKS_TOLD]


def _following(
    moved: list[Moved], start_ns: int, count: int, *, per_day: int
) -> NDArray[np.bool_]:
    """Where ours is on its way to a new level, two weeks at most."""
    found = np.zeros(count, np.bool_)
    for one in moved:
        first = (one.at_ns - start_ns) * per_day // DAY_NS
        days = _FOLLOW_DAYS_MAX if one.followed_days is None else one.followed_days
        found[max(0, first - per_day // 4) : first + round((days + 0.25) * per_day)] = True
    return found


def _blocks(gap: Floats, wrong: NDArray[np.bool_], *, weekday: int | None) -> list[Miss]:
    """Runs of wrong hours on the same side."""
    found: list[Miss] = []
    side = np.where(wrong, np.sign(gap), 0)
    begin = 0
    for at in range(1, 25):
        if at == 24 or side[at] != side[begin]:
            if side[begin]:
                ratio = float(np.expm1(np.median(gap[begin:at])))
                found.append(Miss(weekday=weekday, begin_hour=begin, end_hour=at, ratio=ratio))
            begin = at
    return found


def _moved(
    level: Floats, error: Floats, parts: Parts, *, per_day: int, start_ns: int
) -> list[Moved]:
    """Changes of level, and how long ours took to follow each."""
    quarters, behind = quarters_of(level, per_day=per_day), quarters_of(error, per_day=per_day)
    width = max(1, per_day // 4)
    offset = len(level) - len(quarters) * width
    step_ns = DAY_NS // per_day
    found = []
    for shift in shifts_of(quarters, size_min=float(np.log1p(SHIFT_MIN))):
        at_ns = start_ns + (offset + shift.quarter * width) * step_ns
        found.append(
            Moved(
                at_ns=at_ns,
                ratio=_as_share(shift, quarters, parts),
                followed_days=_followed_days(behind, shift),
                is_asked=bool(np.isfinite(behind[shift.quarter])),
            )
        )
    return found


def _as_share(shift: Shift, quarters: Floats, parts: Parts) -> float:
    """The change as a share of the value before it."""
    before = float(np.nanmedian(quarters[max(0, shift.quarter - 28) : shift.quarter]))
    pair = np.array([[before], [before + shift.size]], np.float32)
    old, new = unbent(pair, parts.unit)[:, 0].tolist()
    return (new - old) / abs(old) if old else float(np.expm1(shift.size))


def _followed_days(behind: Floats, shift: Shift) -> float | None:
    """Days until ours is nearer to the new level than to the old for a whole day; None when it never was, or was not asked."""
    after = behind[shift.quarter :]
    if not len(after) or not np.isfinite(after[0]):
        return None
    near = np.abs(after) < abs(shift.size) / 2
    for at in range(len(near)):
        if near[at : at + 4].all() and np.isfinite(after[at : at + 4]).all():
            return at / 4
    return None
