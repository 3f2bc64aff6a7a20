"""What our baseline expected of weeks that are over: fitted anew at each midnight, as the live fit would have been then."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, Calendar, Model, SpecialDays, models_of
from sentinel.core.baseline.calendar import DAY_NS
from sentinel.core.model import AdoptedLevels, Incident, SeriesKey, WindowBlock
from sentinel.core.scoring import adopted_levels
from sentinel.pipeline.fit_history import HistoryReader, newest_state
from sentinel.pipeline.fitting import fit_seasons, models_at
from sentinel.pipeline.models import Foretell, ModelFailedError, Models, ModelSettings
from sentinel.pipeline.seasons import SeasonsThen

ASKED_DAYS = 21
"""Of the history, on which ours is asked what it expected: three of each weekday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitBasis:
    """What a fit goes by besides the store.

    Attributes:
        calendar: the wall clock that seasons follow, and days that are not like others.
        models: which series are expected by what.
    """

    calendar: Calendar = field(default_factory=Calendar)
    models: ModelSettings = field(default_factory=ModelSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What ours expected of one series.

    Attributes:
        value: float32[T], of the windows of its history; NaN where it was not asked, or knew nothing.
        fits: how many fits knew something.
        fallbacks: for how many of them the profile stood in for the series' model, by reason.
    """

    value: NDArray[np.float32]
    fits: int
    fallbacks: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Midnight:
    """A fit that is over: from when to when it is asked, and what was known."""

    at_ns: int
    end_ns: int
    special: SpecialDays
    models: Models
    incidents: list[Incident]
    levels: AdoptedLevels | None


class Ours:
    """Our baseline at each midnight of the last `ASKED_DAYS`."""

    def __init__(
        self,
        reader: HistoryReader,
        keys: Mapping[int, SeriesKey],
        incidents: Iterable[Incident],
        *,
        asked: NDArray[np.int64],
        end_ns: int,
        basis: FitBasis,
        foretell: Foretell | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read what special days differ by, once for all series.

        Args:
            reader: the store.
            keys: names of all series by id.
            incidents: as they were last told of.
            asked: ids of the series that will be asked for, ascending.
            end_ns: end of the history.
            basis: what a fit goes by.
            foretell: asks statsmodels.
            monotonic_s: measures what it takes.
        """
        self._keys = keys
        self._basis = basis
        self._foretell = foretell
        self._monotonic_s = monotonic_s
        self._deadline_s = 0.0
        told = list(incidents)
        instants_ns = midnights(end_ns, basis.calendar)
        ids = np.array(sorted(keys), np.int64)
        state = newest_state(reader)
        levels = None if state is None else adopted_levels(state.detector, state.parked)
        del state
        seasons = SeasonsThen(reader, ids, calendar=basis.calendar, instants_ns=instants_ns[:-1])
        self._midnights = [
            _Midnight(
                at_ns=at_ns,
                end_ns=after_ns,
                special=seasons.at(at_ns).selected(asked),
                models=models_at(
                    basis.models,
                    keys,
                    now_ns=at_ns,
                    calendar=basis.calendar,
                    foretell=None if foretell is None else self._foretold,
                ),
                incidents=[one for one in (known_then(it, at_ns) for it in told) if one],
                levels=None if levels is None else levels.known_at(at_ns),
            )
            for at_ns, after_ns in pairwise(instants_ns)
        ]

    def model_of(self, series_id: int) -> Model:
        """By what a series is to be expected."""
        return models_of(self._basis.models.rules, [self._keys[series_id]])[0]

    def expected(self, own: WindowBlock, *, limit_s: float) -> Expected:
        """What each fit expected until the next.

        Args:
            own: the history of one series.
            limit_s: for the decompositions; where it is used up the profile stands in.
        """
        self._deadline_s = self._monotonic_s() + limit_s
        value = np.full(own.window_count, np.nan, np.float32)
        fits = 0
        fallbacks: Counter[str] = Counter()
        for one in self._midnights:
            if one.at_ns < own.start_ns:
                continue
            before = one.models.fallbacks.copy()
            profile, _ = fit_seasons(
                own,
                one.incidents,
                self._keys,
                now_ns=one.at_ns,
                version=0,
                special=one.special,
                models=one.models,
                levels=one.levels,
            )
            first = (one.at_ns - own.start_ns) // own.step_ns
            part = value[first : first + (one.end_ns - one.at_ns) // own.step_ns]
            part[:] = profile.grid[: len(part), 0]
            fits += bool(np.isfinite(part).any())
            fallbacks += one.models.fallbacks - before
        return Expected(value=value, fits=fits, fallbacks=dict(fallbacks))

    def _foretold(self, value: NDArray[np.float32], **asked: Any) -> NDArray[np.float32]:
        left_s = min(float(asked.pop("limit_s")), self._deadline_s - self._monotonic_s())
        if left_s <= 0:
            reason, told = "not_reached", "the time of this series is used up"
            raise ModelFailedError(reason, told)
        assert self._foretell is not None
        return self._foretell(value, **asked, limit_s=left_s)


def midnights(end_ns: int, calendar: Calendar) -> list[int]:
    """Instants at which the last local days began, and at which the one after them does."""
    last_day = calendar.local_day(end_ns - 1)
    return [_began_ns(day, calendar) for day in range(last_day - ASKED_DAYS + 1, last_day + 2)]


def _began_ns(day: int, calendar: Calendar) -> int:
    """When a local day began, on the grid of stored windows; beside it where the clock was moved at that instant."""
    local_ns = day * DAY_NS
    near_ns = local_ns - calendar.offset_at(local_ns)
    at_ns = local_ns - calendar.offset_at(near_ns)
    return at_ns - at_ns % BIN_NS


def known_then(incident: Incident, at_ns: int) -> Incident | None:
    """An incident as it was known at an instant; None before it was opened."""
    if incident.opened_ns >= at_ns:
        return None
    changes: dict[str, Any] = {}
    if incident.resolved_ns is not None and incident.resolved_ns > at_ns:
        changes["resolved_ns"] = None
    if incident.accepted_ns is not None and incident.accepted_ns > at_ns:
        changes["accepted_ns"] = None
    return replace(incident, **changes) if changes else incident
