"""When what an open incident shows is the new normal: a person says so, or it has been so for long enough.

    said by a person      at once, whatever is broken; a static limit it broke holds again once values were below it
    lasts                 when something of it is strange still after `adopt_after_ns`, and no static limit on errors
                          or latency is broken: that half of all calls fail is no level to get used to

Nobody can get used to a source that is not heard: blind tickets end when it is. What has drifted is expected already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from math import isnan

import numpy as np
from numpy.typing import NDArray

from sentinel.core.incidents.grouping import OpenIncident
from sentinel.core.incidents.guards import STATIC, GuardState
from sentinel.core.incidents.rendering import primary
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.incidents.stops import accepted as stops_accepted
from sentinel.core.incidents.text import quantity
from sentinel.core.model import (
    BESIDE_KINDS,
    SIGNAL_TRAFFIC,
    Acceptance,
    Member,
    Resolution,
)

_ACCEPTED_RUN = -(2**40)
"""Windows at or over a limit that are still to come before they are a run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """An incident whose level is the new normal.

    Attributes:
        resolution: by a person's word or by its age.
        by: who said it, "" for its age.
        told: where the level went.
        series: ids of its members.
    """

    resolution: Resolution
    by: str
    told: str
    series: tuple[int, ...]


def settled(
    entries: Sequence[OpenIncident],
    accepted: Iterable[Acceptance],
    *,
    active: Set[str],
    value_of: Callable[[int], float],
    start_ns: int,
    end_ns: int,
    settings: IncidentSettings,
) -> dict[str, Settled]:
    """The open incidents that settle in this window, by id.

    Args:
        entries: with this window's sightings.
        accepted: what people said.
        active: ids of those of which something is strange in this window.
        value_of: a series' value in it, NaN where there is none.
        start_ns: start of the window.
        end_ns: its end.
        settings: see there.
    """
    said = {one.incident_id: one for one in accepted if one.at_ns <= end_ns}
    found: dict[str, Settled] = {}
    for entry in entries:
        incident_id = entry.incident.incident_id
        if entry.incident.kind in BESIDE_KINDS:
            continue
        word = said.get(incident_id)
        lasts = (
            incident_id in active
            and end_ns - entry.incident.opened_ns >= settings.adopt_after_ns
            and not _broken(entry, start_ns)
        )
        if word is not None or lasts:
            found[incident_id] = Settled(
                resolution=Resolution.ADOPTED if word is None else Resolution.ACCEPTED,
                by="" if word is None else word.by,
                told=_told(entry, value_of),
                series=tuple(entry.members),
            )
    return found


def released(
    guards: GuardState, series: NDArray[np.int64], found: Iterable[Settled]
) -> GuardState:
    """The guards, for which what settled is no stop any more, nor a broken limit where a person said so."""
    for one in found:
        columns = np.flatnonzero(np.isin(series, np.array(one.series, np.int64)))
        guards = replace(guards, stops=stops_accepted(guards.stops, columns))
        if one.resolution is Resolution.ACCEPTED:
            over_count = guards.over_count.copy()
            over_count[columns] = np.where(over_count[columns] > 0, _ACCEPTED_RUN, 0)
            guards = replace(guards, over_count=over_count)
    return guards


def broke_limit(member: Member) -> bool:
    """Whether a series broke a static limit on errors or latency, at which nothing is to get used to."""
    return member.why.startswith(STATIC) and member.key.signal != SIGNAL_TRAFFIC


def _broken(entry: OpenIncident, start_ns: int) -> bool:
    return any(
        broke_limit(member) and member.last_ns >= start_ns for member in entry.members.values()
    )


def _told(entry: OpenIncident, value_of: Callable[[int], float]) -> str:
    member = primary(replace(entry.incident, members=tuple(entry.members.values())))
    if member is None:
        return ""
    now = value_of(member.series_id)
    now_told = quantity(member.value if isnan(now) else now, member.key)
    if isnan(member.expected):
        return now_told
    return f"{quantity(member.expected, member.key)} -> {now_told}"
