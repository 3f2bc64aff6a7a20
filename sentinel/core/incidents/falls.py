"""Falls of traffic are believed only when it is known that their source lives and was there all the time.

    the fall is seen                               and counts
    in a window that follows one that was heard    when its source is heard in the next window too: otherwise the
                                                   source died inside the window, and is blind and not low
    in the first window after a silence            when it lasts for several windows: a source that comes back was there
                                                   for a part of its first windows only, and those look like a fall
    of a series of an open incident                at once
    by a guard                                     at once

It lasts as long as traffic stays below the band of the window it was seen in first; later bands have followed it. A window
without a value neither confirms nor ends it, up to a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isnan

from sentinel.core.incidents.hysteresis import Sighting
from sentinel.core.incidents.settings import MINUTE_NS

_WAITS_MAX_NS = 5 * MINUTE_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """A fall of traffic that waits.

    Attributes:
        sighting: in the first window it was seen in.
        seen_count: windows it has lasted for.
        after_silence: whether its source was not heard in the window before the first.
    """

    sighting: Sighting
    seen_count: int
    after_silence: bool


def sifted(
    waiting: Sequence[Fall],
    seen: Sequence[Sighting],
    *,
    start_ns: int,
    value_of: Callable[[int], float],
    is_heard: Callable[[str], bool],
    was_silent: Callable[[str], bool],
    after_silence_count: int,
) -> tuple[list[Sighting], tuple[Fall, ...]]:
    """Which falls count now, and which wait.

    Args:
        waiting: as the window before left them.
        seen: falls in this window, of series that are in no open incident.
        start_ns: start of this window.
        value_of: a series' value in this window, NaN where there is none.
        is_heard: whether a service is heard in this window.
        was_silent: whether it was not heard in the window before.
        after_silence_count: for how many windows a fall after a silence is to last.
    """
    counted: list[Sighting] = []
    still: dict[int, Fall] = {}
    low = {sighting.series_id: sighting for sighting in seen}
    for fall in waiting:
        series_id, service = fall.sighting.series_id, fall.sighting.key.service
        now = low.get(series_id)
        if not fall.after_silence:
            believed, waits = is_heard(service), False
        elif isnan(value := value_of(series_id)):
            believed, waits = False, start_ns - fall.sighting.start_ns < _WAITS_MAX_NS
        else:
            waits = now is not None or value < fall.sighting.lower
            fall = replace(fall, seen_count=fall.seen_count + 1)
            believed = waits and fall.seen_count >= after_silence_count
        if believed:
            counted.append(fall.sighting)
            if now is not None:
                counted.append(low.pop(series_id))
        elif waits:
            still[series_id] = fall
            low.pop(series_id, None)
    for series_id, sighting in low.items():
        still[series_id] = Fall(
            sighting=sighting, seen_count=1, after_silence=was_silent(sighting.key.service)
        )
    return counted, tuple(still[series_id] for series_id in sorted(still))
