"""How much special days differ from ordinary ones: learned by series, and over series where repeats are few.

Of every day the logarithm of each hour's mean is compared with ordinary days of the same weekday one and two weeks before
and one after: `log((x + a) / (y + a))` with `a` a tenth of the series' median size. A class of days is a level for the
whole day and a shape by hour; both begin as the median over series of one kind, and move to the series' own with the number
of repeats, as far as series are seen to differ. How much ordinary days differ from one another is the noise it is all
held against: a class whose days look like any others comes out as nothing, and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline.calendar import DAY_NS, Calendar
from sentinel.core.baseline.hours import HOURS, HourMeans
from sentinel.core.baseline.profile import Profile
from sentinel.core.model import Kind, WindowBlock

COMPARED_DAYS = (-7, 7, -14)
"""What a day is compared with, best first; the first two of them that are ordinary and known."""
COMPARED_MAX = 2
FEWEST_ORDINARY_DAYS = 10
"""Without so many ordinary days that could be compared, the noise is not known and nothing is learned."""

_KINDS = (Kind.TRAFFIC, Kind.LATENCY, Kind.GAUGE)
"""The share of errors has no size of its own: next to nothing on most days, on special ones too."""
_SIZE_SHARE = 0.1
_SIZE_STRIDE = 7
"""Hours that are looked at for the size; it shares no factor with the hours of a day, so that each is among them."""
_POOLED_SERIES_MAX = 512
_TILE_SERIES = 1024
_SWEEPS = 3
_NOISE_MIN = 0.02
_CLIP = 3.0
_SURE = 2.0
"""A median over series is believed as far as it is beyond so many standard errors."""
_MAD = 1.4826
_LOG_MAX = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialDays:
    """What was learned.

    Attributes:
        calendar: whose classes these are.
        series: int64[S], ids, ascending.
        size: float32[S], what is added to a value before its logarithm.
        effect: float32[K, 24, S], logarithm of special over ordinary at the middle of each local hour.
        repeats: int64[K], days of each class that it was learned from.
    """

    calendar: Calendar
    series: NDArray[np.int64]
    size: NDArray[np.float32]
    effect: NDArray[np.float32]
    repeats: NDArray[np.int64]

    @property
    def matters(self) -> bool:
        """Whether anything differs at all."""
        return bool(np.any(self.effect))

    def selected(self, series: NDArray[np.int64]) -> SpecialDays:
        """Those of some series, each of which it knows or for which nothing differs."""
        if np.array_equal(series, self.series):
            return self
        place = np.searchsorted(self.series, series)
        known = place < len(self.series)
        known[known] = self.series[place[known]] == series[known]
        size = np.ones(len(series), np.float32)
        effect = np.zeros((*self.effect.shape[:2], len(series)), np.float32)
        size[known] = self.size[place[known]]
        effect[:, :, known] = self.effect[:, :, place[known]]
        return replace(self, series=series, size=size, effect=effect)

    def taken_from(self, block: WindowBlock) -> WindowBlock:
        """A block on the wall clock as if all its days had been ordinary."""
        found = self._factors(block.start_ns, block.window_count, block.step_ns, block.series)
        if found is None:
            return block
        rows, factor, size = found
        value = block.value.copy()
        value[rows] = _multiplied(value[rows], np.float32(1) / factor, size)
        return replace(block, value=value, histograms=None)

    def put_on(self, profile: Profile) -> tuple[Profile, NDArray[np.float32] | None]:
        """A profile of ordinary days on the wall clock, with its special days as what they are.

        Beside it, how many times as far as on ordinary days values may be from it: what is twice as much is twice as
        unsteady. float32[B, S], at least 1; None for 1 everywhere.
        """
        found = self._factors(profile.start_ns, len(profile.grid), profile.step_ns, profile.series)
        if found is None:
            return profile, None
        rows, factor, size = found
        grid = profile.grid.copy()
        grid[rows] = _multiplied(grid[rows], factor, size)
        ease = np.ones(grid.shape, np.float32)
        ease[rows] = np.maximum(factor, 1)
        return replace(profile, grid=grid), ease

    def _factors(
        self, start_ns: int, count: int, step_ns: int, series: NDArray[np.int64]
    ) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]] | None:
        """Bins near special days, special over ordinary in each, (R, S), and the size of each series; None without any."""
        if not self.matters or not count:
            return None
        middle_ns = start_ns + np.arange(count, dtype=np.int64) * step_ns + step_ns // 2
        # Linear between the middles of hours, through midnight too: nobody's business jumps there.
        hour_ns = DAY_NS // HOURS
        left = (middle_ns - hour_ns // 2) // hour_ns
        share = ((middle_ns - hour_ns // 2) / hour_ns - left).astype(np.float32)
        first_hour = int(left[0])
        hours = np.arange(first_hour, int(left[-1]) + 2)
        member = self.calendar.membership(hours // HOURS).astype(np.float32)
        special: NDArray[np.bool_] = np.asarray(member.any(axis=1))
        rows = np.flatnonzero(special[left - first_hour] | special[left - first_hour + 1])
        if not rows.size:
            return None
        own = self.selected(series)
        log = np.zeros((len(hours), len(series)), np.float32)
        for at in np.flatnonzero(special).tolist():
            classes = np.flatnonzero(member[at])
            log[at] = own.effect[classes, hours[at] % HOURS].sum(axis=0)
        before = left[rows] - first_hour
        part = share[rows, None]
        return rows, np.exp(log[before] * (1 - part) + log[before + 1] * part), own.size


def _multiplied(
    value: NDArray[np.float32], factor: NDArray[np.float32], size: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Below nothing the logarithm says nothing; what is never negative does not become so, and no number none."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.maximum((value + size) * factor - size, 0)
    return np.where((value >= 0) & np.isfinite(result), result, value)


def nothing_special(calendar: Calendar) -> SpecialDays:
    """Of a calendar, before anything is known of its days."""
    return SpecialDays(
        calendar=calendar,
        series=np.zeros(0, np.int64),
        size=np.zeros(0, np.float32),
        effect=np.zeros((len(calendar.class_names), HOURS, 0), np.float32),
        repeats=np.zeros(len(calendar.class_names), np.int64),
    )


def days_to_read(
    calendar: Calendar, *, today: int, recent_days: int, repeats_max: int, oldest_day: int
) -> NDArray[np.int64]:
    """Local days before `today` that are worth reading: the recent ones, and older repeats with what they are compared with.

    Args:
        calendar: the days.
        today: local day that has not ended.
        recent_days: how many days before today are read in any case.
        repeats_max: how many days of a class are looked at.
        oldest_day: none before this one.
    """
    wanted = set(range(max(oldest_day, today - recent_days), today))
    special = calendar.special_days(oldest_day, today)
    member = calendar.membership(special)
    for of_class in member.T:
        for day in special[of_class][-repeats_max:].tolist():
            wanted.add(day)
            wanted.update(_compared(day, calendar))
    return np.array(sorted(day for day in wanted if oldest_day <= day < today), np.int64)


def learn_special_days(hours: HourMeans, calendar: Calendar) -> SpecialDays:
    """What the days say about the calendar's classes; nothing where they are too few."""
    size = _size(hours.mean)
    member = calendar.membership(hours.days)
    effect = np.zeros((member.shape[1], HOURS, len(hours.series)), np.float32)
    learned = SpecialDays(
        calendar=calendar,
        series=hours.series,
        size=size,
        effect=effect,
        repeats=member[np.isfinite(hours.mean).any(axis=(1, 2))].sum(axis=0),
    )
    if not member.any():
        return learned
    for kind in _KINDS:
        columns = np.flatnonzero(hours.kind == int(kind))
        pooled = columns[:: max(1, -(-len(columns) // _POOLED_SERIES_MAX))]
        for first in range(0, len(columns), _TILE_SERIES):
            tile = columns[first : first + _TILE_SERIES]
            # Those that all are drawn to stand before the tile's own.
            both = tile if len(columns) == len(pooled) else np.concatenate([pooled, tile])
            ratio, there = _ratios(hours, calendar, both, size)
            is_special = member.any(axis=1)
            ordinary, rows = there & ~is_special, np.flatnonzero(there & is_special)
            if np.count_nonzero(ordinary) < FEWEST_ORDINARY_DAYS or not len(rows):
                break
            found = _effects(ratio[rows], member[rows], ratio[ordinary], pooled=len(pooled))
            effect[:, :, tile] = found[:, :, len(both) - len(tile) :]
    return learned


def _size(mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """A tenth of the median size of each series; of the mean where it is mostly nothing, and 1 where it is all."""
    flat = np.abs(mean.reshape(-1, mean.shape[2])[::_SIZE_STRIDE])
    there = np.isfinite(flat)
    count = np.maximum(there.sum(axis=0), 1)
    ordered = np.sort(np.where(there, flat, np.inf), axis=0)
    median = ordered[(count - 1) // 2, np.arange(flat.shape[1])] if len(flat) else count * np.nan
    average = np.where(there, flat, 0).sum(axis=0, dtype=np.float64) / count
    size = np.where((median > 0) & np.isfinite(median), median, average)
    return np.where(size > 0, size * _SIZE_SHARE, 1.0).astype(np.float32)


def _compared(day: int, calendar: Calendar) -> list[int]:
    days = [day + lag for lag in COMPARED_DAYS]
    special = np.asarray(calendar.membership(np.array(days, np.int64)).any(axis=1))
    return [one for one, is_special in zip(days, special.tolist(), strict=True) if not is_special]


def _ratios(
    hours: HourMeans, calendar: Calendar, columns: NDArray[np.intp], size: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Logarithm of each day over what it is compared with, float32[D, 24, S]; and which days can be compared."""
    mean = hours.mean[:, :, columns]
    log = np.log(np.maximum(np.where(np.isfinite(mean), mean, np.nan), 0) + size[columns])
    ratio = np.full(log.shape, np.nan, np.float32)
    there = np.zeros(len(hours.days), np.bool_)
    row_of = {day: at for at, day in enumerate(hours.days.tolist())}
    for day, at in row_of.items():
        rows = [row_of[one] for one in _compared(day, calendar) if one in row_of][:COMPARED_MAX]
        if rows:
            against = log[rows[0]] if len(rows) == 1 else _nanmean(log[rows])
            ratio[at] = log[at] - against
            there[at] = True
    return ratio, there


def _effects(
    ratio: NDArray[np.float32],
    member: NDArray[np.bool_],
    ordinary: NDArray[np.float32],
    *,
    pooled: int,
) -> NDArray[np.float32]:
    """float32[K, 24, S] from the ratios of special days (D, 24, S), their classes (D, K), and those of ordinary days.

    The first `pooled` series are those that the others are drawn to.
    """
    # The hours of a day weigh by how steady they are in this series.
    noise = np.maximum(_spread(ordinary), np.float32(_NOISE_MIN))
    weight = np.asarray(1 / noise**2, np.float32)
    level, level_noise = _level(ratio, weight), _level(ordinary, weight)
    shape = ratio - level[:, None]
    shape_ordinary = np.asarray(ordinary - level_noise[:, None], np.float32)
    shape_noise = np.maximum(_spread(shape_ordinary), _NOISE_MIN)
    some = slice(0, pooled)
    level_spread = np.maximum(_spread(level_noise[:, None]), _NOISE_MIN)
    of_level = _shrunk(level[:, None], member, level_noise[:, None], level_spread, some)
    of_shape = _shrunk(shape, member, shape_ordinary, shape_noise, some)
    return np.asarray(np.clip(of_level + of_shape, -_LOG_MAX, _LOG_MAX), np.float32)


def _shrunk(
    ratio: NDArray[np.float32],
    member: NDArray[np.bool_],
    ordinary: NDArray[np.float32],
    spread: NDArray[np.float32],
    some: slice,
) -> NDArray[np.float32]:
    """(K, H, S): what classes add to a day's (D, H, S), of each series, drawn to what they add over `some` of them."""
    pooled_day = _median_over_series(ratio[:, :, some], spread[:, some])
    pooled_ordinary = _median_over_series(ordinary[:, :, some], spread[:, some])
    pooled_noise = np.maximum(
        _spread(pooled_ordinary[:, :, None].astype(np.float32))[:, 0], _NOISE_MIN
    )
    classes = range(member.shape[1])
    pooled = np.zeros((member.shape[1], ratio.shape[1]))
    own = np.zeros((member.shape[1], *ratio.shape[1:]), np.float32)
    count = member.sum(axis=0)
    weights = member.astype(np.float32)
    for _ in range(_SWEEPS):
        for one in classes:
            if count[one]:
                rest = pooled_day - weights @ pooled + pooled[one] * weights[:, one, None]
                raw = _middle(rest[member[:, one], :, None].astype(np.float32))[:, 0]
                error = (_SURE * pooled_noise) ** 2 / count[one]
                # All hours stand or fall together, as far as they are beyond their noise.
                sure = max(0.0, 1 - len(raw) / max(float(np.sum(raw**2 / error)), 1e-9))
                pooled[one] = raw * sure
    own[:] = pooled[:, :, None]
    for _ in range(_SWEEPS):
        for one in classes:
            if not count[one]:
                continue
            days = np.flatnonzero(member[:, one])
            rest = ratio[days].copy()
            for other in classes:
                if other != one:
                    for at in np.flatnonzero(member[days, other]).tolist():
                        rest[at] -= own[other]
            own[one] = _towards(rest, pooled[one][:, None], spread, some)
    return own


def _towards(
    rest: NDArray[np.float32],
    pooled: NDArray[np.float64],
    spread: NDArray[np.float32],
    some: slice,
) -> NDArray[np.float32]:
    """(H, S): the mean of a class's days (n, H, S) drawn to the pooled value, by what series are seen to differ."""
    there = np.isfinite(rest)
    number = there.sum(axis=0)
    mean = _middle(rest)
    away = np.where(number > 0, mean - pooled, 0)
    noise = spread**2 / np.maximum(number, 1)
    # What the series differ by beyond their noise, of all hours together.
    extra = (away**2 - noise)[:, some][number[:, some] > 0]
    if not extra.size:
        return np.broadcast_to(pooled, rest.shape[1:]).astype(np.float32)
    # A mean of clipped squares: one series with an outage on that day must not make all of them different.
    limit = np.float32(_LOG_MAX / 4) ** 2
    between = max(0.0, float(np.mean(np.clip(extra, -limit, limit))))
    trust = between / (between + noise)
    trust = np.where(number > 0, trust, 0)
    # Few repeats cannot outvote an outage on one of them: what is far from all series counts as far only.
    bound = _CLIP * np.sqrt(between + noise)
    return np.asarray(pooled + trust * np.clip(away, -bound, bound), np.float32)


def _level(ratio: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """(D, S): the mean of a day's hours (D, 24, S), by weight (24, S); NaN where none is known."""
    there = np.isfinite(ratio)
    total = (there * weight).sum(axis=1)
    mean = np.where(there, ratio * weight, 0).sum(axis=1) / np.maximum(total, 1e-12)
    return np.asarray(np.where(total > 0, mean, np.nan), np.float32)


def _spread(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, S): the robust standard deviation around 0 of (D, H, S); infinite where nothing is known."""
    size = np.abs(value)
    there = np.isfinite(size)
    count = there.sum(axis=0)
    ordered = np.sort(np.where(there, size, np.inf), axis=0)
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
    return np.asarray(np.where(count > 0, middle * _MAD, np.inf), np.float32)


def _median_over_series(
    value: NDArray[np.float32], spread: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(D, H): the median over series of (D, H, S), each weighing by how steady it is."""
    weight = np.where(np.isfinite(value), 1 / spread**2, 0)
    order = np.argsort(np.where(np.isfinite(value), value, np.inf), axis=2)
    heavy = np.cumsum(np.take_along_axis(weight, order, axis=2), axis=2)
    total = heavy[:, :, -1:]
    at = np.argmax(heavy >= total / 2, axis=2)
    found = np.take_along_axis(np.take_along_axis(value, order, axis=2), at[:, :, None], axis=2)
    return np.where(total[:, :, 0] > 0, found[:, :, 0], np.nan).astype(np.float64)


def _middle(rest: NDArray[np.float32]) -> NDArray[np.float32]:
    """The median of days (n, H, S) where there are three and more, their mean where fewer; 0 where none is."""
    there = np.isfinite(rest)
    count = there.sum(axis=0)
    ordered = np.sort(np.where(there, rest, np.inf), axis=0)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
    high = np.take_along_axis(
        ordered, np.minimum(count // 2, max(len(rest) - 1, 0))[None], axis=0
    )[0]
    return np.where(count > 0, (low + high) / 2, 0).astype(np.float32)


def _nanmean(value: NDArray[np.float32]) -> NDArray[np.float32]:
    there = np.isfinite(value)
    count = there.sum(axis=0)
    total = np.where(there, value, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
