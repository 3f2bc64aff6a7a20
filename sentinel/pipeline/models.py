"""Series that are not expected by the profile: which, by what, and what it cost; the fitting child's part.

MSTL takes half a second a series, so each is decomposed once a day, far enough ahead that the fits of a day can use it;
what it said is stored with the fit. A series that its model cannot say anything about keeps the profile, and is counted.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import (
    HORIZON_NS,
    Model,
    ModelRule,
    Profile,
    fit_fourier,
    fit_profile,
    laid_over,
    models_of,
    selected,
    without_habits,
)
from sentinel.core.baseline.profile import DAY_NS
from sentinel.core.model import SeriesKey, WindowBlock
from sentinel.core.stats.packing import pack_arrays, unpack_arrays
from sentinel.errors import SentinelError
from sentinel.pipeline.drift_fit import DRIFT_RATIO
from sentinel.runtime.settings import Duration, setting

AHEAD_NS = HORIZON_NS + DAY_NS
"""How far MSTL looks ahead: as far as a fit reaches that is made a day later."""
_RENEW_NS = DAY_NS - 1_800_000_000_000
"""Half an hour short of a day, so that fits of every hour renew it at the same hour."""
_FORMAT = 1

Foretell = Callable[..., NDArray[np.float32]]
"""`(value, *, per_day, bin_count, limit_s)` to what is expected next; `ModelFailedError` when it cannot say."""


class ModelFailedError(SentinelError):
    """A model says nothing about a series; carries the reason it is counted by."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """The model of some series."""

    model: Model = setting(Model.PROFILE, help="What these series are expected by.")
    service: str = setting(
        "*", help="Services, as a pattern: `*`, `?` and `[...]` as in a shell, or the name itself."
    )
    stage: str = setting("*", help="Stages, as a pattern.")
    route: str = setting("*", help="Routes, as a pattern.")
    signal: str = setting("*", help="Signals, as a pattern: `traffic`, `errors`, a gauge's name.")

    def __post_init__(self) -> None:
        if not all((self.service, self.stage, self.route, self.signal)):
            msg = "a pattern must not be empty; `*` matches everything"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineConfig:
    """What series are expected by."""

    models: tuple[ModelConfig, ...] = setting(
        (),
        help="The first entry that matches a series says its model; without one it is `profile`.",
    )
    mstl_series_max: int = setting(
        100, help="Most series that statsmodels decomposes; the others keep the profile."
    )
    mstl_timeout: Duration = setting(
        Duration(20.0), help="A series that takes longer keeps the profile until the next day."
    )
    mstl_total: Duration = setting(
        Duration(240.0),
        help="All of a fit's decompositions, at most half of `fit.timeout`; what is not reached is done by the next fit.",
    )
    drift_ratio: float = setting(
        DRIFT_RATIO,
        help="A level that came week by week to so many times, or so little, of what it was 28 days ago gets a ticket; "
        "0 for none.",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.mstl_series_max <= 1000:
            msg = "mstl_series_max must be between 0 and 1000"
            raise ValueError(msg)
        if self.mstl_timeout <= 0 or self.mstl_total <= 0:
            msg = "mstl_timeout and mstl_total must be above 0"
            raise ValueError(msg)
        if self.drift_ratio != 0 and not 1.05 <= self.drift_ratio <= 100:
            msg = "drift_ratio must be 0, or between 1.05 and 100"
            raise ValueError(msg)

    def settings(self, *, fit_timeout_s: float = math.inf) -> ModelSettings:
        """As the child takes it; MSTL never takes more than half of what a fit may."""
        return ModelSettings(
            rules=tuple(
                ModelRule(
                    model=entry.model,
                    service=entry.service,
                    stage=entry.stage,
                    route=entry.route,
                    signal=entry.signal,
                )
                for entry in self.models
            ),
            series_max=self.mstl_series_max,
            limit_s=self.mstl_timeout,
            total_s=min(self.mstl_total, fit_timeout_s / 2),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Which series are expected by what, and the limits of MSTL."""

    rules: tuple[ModelRule, ...] = ()
    series_max: int = 100
    limit_s: float = 20.0
    total_s: float = 240.0

    def has(self, model: Model) -> bool:
        """Whether any series may be expected by the model."""
        return any(rule.model is model for rule in self.rules)

    def to_plain(self) -> dict[str, Any]:
        """As JSON can carry it to the child."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> ModelSettings:
        """What `to_plain` wrote.

        >>> settings = ModelSettings(rules=(ModelRule(model=Model.MSTL, stage="edge"),))
        >>> ModelSettings.from_plain(settings.to_plain()) == settings
        True
        """
        rules = tuple(
            ModelRule(**{**rule, "model": Model(rule["model"])}) for rule in plain["rules"]
        )
        return cls(**{**plain, "rules": rules})


@dataclass(slots=True, kw_only=True)
class _Kept:
    """What MSTL said of a series: float32[N] from a bin's start on; all NaN when it could say nothing, with the reason."""

    at_ns: int
    start_ns: int
    ahead: NDArray[np.float32]


class Models:
    """The models of one fit: laid over profiles tile by tile."""

    def __init__(
        self,
        settings: ModelSettings,
        keys: Mapping[int, SeriesKey],
        *,
        now_ns: int,
        kept: bytes | memoryview | None = None,
        foretell: Foretell | None = None,
        changed_ns: Mapping[int, int] | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Choose the model of each series.

        Args:
            settings: rules and limits.
            keys: names by id.
            now_ns: up to where the past is known.
            kept: what MSTL said before, from `kept_bytes`; what cannot be read counts as nothing.
            foretell: asks statsmodels; None where it is not installed.
            changed_ns: when series went to another level, by id; what MSTL said of them before is of no use.
            monotonic_s: measures what MSTL takes in all.
        """
        self._settings = settings
        self._now_ns = now_ns
        self._foretell = foretell
        self._monotonic_s = monotonic_s
        self._spent_s = 0.0
        chosen = dict(zip(keys, models_of(settings.rules, keys.values()), strict=True))
        decomposed = [one for one, model in sorted(chosen.items()) if model is Model.MSTL]
        self._decomposed = frozenset(decomposed[: settings.series_max])
        self._chosen = chosen
        said = _read_kept(kept, now_ns=now_ns) if decomposed else {}
        changed_ns = changed_ns or {}
        self._kept = {one: row for one, row in said.items() if row.at_ns >= changed_ns.get(one, 0)}
        self.used: Counter[str] = Counter()
        self.fallbacks: Counter[str] = Counter()

    def chosen(self, series: NDArray[np.int64], model: Model) -> NDArray[np.bool_]:
        """Whether each series is to be expected by the model."""
        return np.array([self._chosen.get(one) is model for one in series.tolist()], np.bool_)

    def fit(
        self,
        history: WindowBlock,
        *,
        at_ns: int,
        version: int,
        horizon_ns: int = HORIZON_NS,
        left_out: NDArray[np.bool_] | None = None,
    ) -> Profile:
        """As `fit_profile`, each series by its model."""
        profile = fit_profile(
            history, at_ns=at_ns, version=version, horizon_ns=horizon_ns, left_out=left_out
        )
        return self.over(profile, self._learnt(history, left_out))

    def over(self, profile: Profile, history: WindowBlock) -> Profile:
        """The profile of the history's series, those of other models replaced by what these say."""
        known = np.isfinite(profile.grid).any(axis=0)
        curved = self.chosen(profile.series, Model.FOURIER)
        if curved.any():
            profile = self._curves(profile, history, curved)
        decomposed = self.chosen(profile.series, Model.MSTL)
        if decomposed.any():
            profile = self._decompositions(profile, history, np.flatnonzero(decomposed & known))
        self.used[Model.PROFILE] += int(np.count_nonzero(known & ~curved & ~decomposed))
        return profile

    def _learnt(self, history: WindowBlock, left_out: NDArray[np.bool_] | None) -> WindowBlock:
        """What the other models learn from: their series without what was an incident's and does not come again."""
        wanted = self.chosen(history.series, Model.FOURIER)
        wanted |= self.chosen(history.series, Model.MSTL)
        if left_out is None or not left_out[:, wanted].any():
            return history
        out = without_habits(left_out & wanted, start_ns=history.start_ns, step_ns=history.step_ns)
        return replace(history, value=np.where(out, np.float32(np.nan), history.value))

    def kept_bytes(self) -> bytes | None:
        """What MSTL said, for the fits of the next day; None when nothing."""
        kept = {one: row for one, row in sorted(self._kept.items()) if one in self._decomposed}
        if not kept:
            return None
        rows = list(kept.values())
        arrays: dict[str, NDArray[np.generic]] = {
            "series": np.array(list(kept), np.int64),
            "at_ns": np.array([row.at_ns for row in rows], np.int64),
            "start_ns": np.array([row.start_ns for row in rows], np.int64),
            "ahead": np.stack([row.ahead for row in rows]),
        }
        return pack_arrays(arrays, {"format": _FORMAT})

    def _curves(
        self, profile: Profile, history: WindowBlock, wanted: NDArray[np.bool_]
    ) -> Profile:
        at_ns = profile.start_ns
        horizon_ns = profile.end_ns - at_ns
        curve = fit_fourier(
            history.select(wanted), at_ns=at_ns, version=profile.version, horizon_ns=horizon_ns
        )
        said = np.isfinite(curve.grid).any(axis=0)
        self.used[Model.FOURIER] += int(said.sum())
        below = np.isfinite(profile.grid[:, wanted]).any(axis=0)
        self._fell_back("history", int(np.count_nonzero(~said & below)))
        return laid_over(profile, curve)

    def _decompositions(
        self, profile: Profile, history: WindowBlock, places: NDArray[np.intp]
    ) -> Profile:
        wanted = np.zeros(len(profile.series), np.bool_)
        wanted[places] = True
        above = selected(profile, wanted)
        grid = np.full_like(above.grid, np.nan)
        for at, place in enumerate(places):
            one = int(profile.series[place])
            try:
                row = self._said_of(one, history, int(place))
            except ModelFailedError as error:
                self._fell_back(error.reason, 1)
                continue
            first = (profile.start_ns - row.start_ns) // profile.step_ns
            part = row.ahead[first : first + len(grid)]
            grid[: len(part), at] = part
            # Of a decomposition that could not be renewed the end is missing.
            grid[len(part) :, at] = above.grid[len(part) :, at]
            self.used[Model.MSTL] += 1
        return laid_over(
            profile,
            Profile(
                version=profile.version,
                start_ns=profile.start_ns,
                step_ns=profile.step_ns,
                series=above.series,
                grid=grid,
            ),
        )

    def _said_of(self, one: int, history: WindowBlock, column: int) -> _Kept:
        """What MSTL says of a series, renewed when it is a day old."""
        if one not in self._decomposed:
            reason, told = "too_many", f"only {self._settings.series_max} series are decomposed"
            raise ModelFailedError(reason, told)
        kept = self._kept.get(one)
        if kept is None or self._now_ns - kept.at_ns >= _RENEW_NS:
            try:
                kept = self._renewed(history, column)
            except ModelFailedError as error:
                if error.reason in {"time_limit", "failed"}:
                    # Not tried again before tomorrow: every hour it would take as long.
                    nothing = np.full(AHEAD_NS // history.step_ns, np.nan, np.float32)
                    self._kept[one] = _Kept(at_ns=self._now_ns, start_ns=0, ahead=nothing)
                    raise
                if kept is None:
                    raise
            self._kept[one] = kept
        if np.isnan(kept.ahead).all():
            reason, told = "failed_today", "it failed less than a day ago"
            raise ModelFailedError(reason, told)
        return kept

    def _renewed(self, history: WindowBlock, column: int) -> _Kept:
        if self._foretell is None:
            reason, told = "not_installed", "statsmodels is not installed"
            raise ModelFailedError(reason, told)
        left_s = min(self._settings.limit_s, self._settings.total_s - self._spent_s)
        if left_s <= 0:
            reason, told = "not_reached", "the time of all decompositions is used up"
            raise ModelFailedError(reason, told)
        step_ns = history.step_ns
        if DAY_NS % step_ns:
            reason, told = "history", "a day is not a whole number of windows"
            raise ModelFailedError(reason, told)
        per_day = DAY_NS // step_ns
        start_ns = self._now_ns - self._now_ns % step_ns
        known = int(np.clip((start_ns - history.start_ns) // step_ns, 0, history.window_count))
        value = history.value[max(0, known - 28 * per_day) : known, column]
        there = np.flatnonzero(np.isfinite(value))
        value = value[there[0] :] if len(there) else value[:0]
        # What ended before the fit's begin is carried on from where it ended.
        late_count = (start_ns - history.start_ns) // step_ns - known
        started_s = self._monotonic_s()
        try:
            ahead = self._foretell(
                np.ascontiguousarray(value),
                per_day=per_day,
                bin_count=late_count + AHEAD_NS // step_ns,
                limit_s=left_s,
            )
        finally:
            self._spent_s += self._monotonic_s() - started_s
        return _Kept(
            at_ns=self._now_ns,
            start_ns=start_ns,
            ahead=ahead[late_count:].astype(np.float32, copy=False),
        )

    def _fell_back(self, reason: str, count: int) -> None:
        if count:
            self.fallbacks[reason] += count
            self.used[Model.PROFILE] += count


def _read_kept(data: bytes | memoryview | None, *, now_ns: int) -> dict[int, _Kept]:
    if data is None:
        return {}
    try:
        arrays, facts = unpack_arrays(data)
        if facts.get("format") != _FORMAT:
            return {}
        columns: Sequence[list[int]] = [
            arrays[name].tolist() for name in ("series", "at_ns", "start_ns")
        ]
        rows = zip(*columns, arrays["ahead"].astype(np.float32), strict=True)
        return {
            one: _Kept(at_ns=at_ns, start_ns=start_ns, ahead=ahead)
            for one, at_ns, start_ns, ahead in rows
            # Of a clock that ran ahead, or so old that it reaches nowhere any more.
            if 0 <= now_ns - at_ns < HORIZON_NS
        }
    except (ValueError, KeyError):
        return {}
