"""Levels that moved over weeks, looked for in the history that a fit reads; a part of the fitting child's work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import Calendar, SettledLevel, drifts_of
from sentinel.core.model import (
    BESIDE_KINDS,
    Drift,
    Incident,
    Resolution,
    SeriesKey,
    WindowBlock,
)
from sentinel.core.scoring import ScoringSettings, demands_of

DRIFT_RATIO = 1.2
"""As many times as much, or as little, as four weeks ago: a hundredth a day is there after three weeks and a half."""
DRIFTS_MAX = 200
"""More are hardly news of single series; the farthest are kept, the others counted."""
_SETTLED = (Resolution.ADOPTED, Resolution.ACCEPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDrifts:
    """What a fit found.

    Attributes:
        told: the series, farthest first.
        dropped_count: how many there were more than are told.
    """

    told: tuple[Drift, ...] = ()
    dropped_count: int = 0

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """As they are stored with a fit, or with a record of it; nothing where there are none."""
        if not self.told:
            return {}
        levels = [(one.before, *one.weeks) for one in self.told]
        return {
            "drift_series": np.array([one.series_id for one in self.told], np.int64),
            "drift_levels": np.array(levels, np.float64),
        }


def drifts_in(arrays: Mapping[str, NDArray[np.generic]]) -> tuple[Drift, ...]:
    """What `arrays` wrote; ValueError when it is damaged."""
    if "drift_series" not in arrays:
        return ()
    series, levels = arrays["drift_series"].tolist(), arrays["drift_levels"].tolist()
    return tuple(
        Drift(series_id=series_id, before=before, weeks=tuple(weeks))
        for series_id, (before, *weeks) in zip(series, levels, strict=True)
    )


class DriftSearch:
    """Looks through the history of all series, some hundred at a time."""

    def __init__(
        self,
        incidents: Sequence[Incident],
        keys: Mapping[int, SeriesKey],
        *,
        ratio: float,
        settings: ScoringSettings,
        calendar: Calendar,
    ) -> None:
        """For one fit.

        Args:
            incidents: as they are known; a level that they ended with was told.
            keys: names by series id.
            ratio: see `drifts_of`; 0 finds nothing.
            settings: say on which side a value can be bad.
            calendar: its special days are left out.
        """
        self._settled = list(_settled_levels(incidents)) if ratio else []
        self._keys = keys
        self._ratio = ratio
        self._settings = settings
        self._calendar = calendar
        self._found: list[Drift] = []

    def look(self, history: WindowBlock, left_out: NDArray[np.bool_] | None) -> None:
        """Look at some series; `left_out` are windows that are not to be learnt."""
        if not self._ratio:
            return
        above, below = self._sides(history)
        self._found += drifts_of(
            history,
            ratio=self._ratio,
            calendar=self._calendar,
            left_out=left_out,
            settled=self._settled,
            above=above,
            below=below,
        )

    def found(self) -> FoundDrifts:
        """What was found until now."""
        ranked = sorted(self._found, key=lambda one: (-one.strength, one.series_id))
        return FoundDrifts(
            told=tuple(ranked[:DRIFTS_MAX]), dropped_count=max(0, len(ranked) - DRIFTS_MAX)
        )

    def _sides(self, history: WindowBlock) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        high_only = [kind for kind, rule in self._settings.rules.items() if rule.high_only]
        below = ~np.isin(history.kind, np.array(high_only, np.int8))
        above = np.ones(history.series_count, np.bool_)
        own = demands_of(None, history.series, self._keys, self._settings.series_rules)
        if own is None:
            return above, below
        return (
            own.over("above", above.astype(np.float32)) > 0,
            own.over("below", below.astype(np.float32)) > 0,
        )


def _settled_levels(incidents: Iterable[Incident]) -> Iterable[SettledLevel]:
    for incident in incidents:
        is_settled = incident.resolution in _SETTLED or incident.accepted_ns is not None
        if incident.kind in BESIDE_KINDS or incident.resolved_ns is None or not is_settled:
            continue
        for member in incident.members:
            yield SettledLevel(member.series_id, incident.opened_ns, incident.resolved_ns)
