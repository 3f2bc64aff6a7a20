"""Falls of traffic are believed only when it is known that their source lives and was there all the time.

    the fall is seen                               and counts
    in a window that follows one that was heard    when its source is heard in the next window too: otherwise the
                                                   source died inside the window, and is blind and not low
    in the first window after a silence            when it is seen in several windows: a source that comes back was there
                                                   for a part of its first windows only, and those look like a fall
    of a series of an open incident                at once
    by a guard                                     at once

A silence between neither confirms nor ends what waits after a silence, up to a bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sentinel.core.incidents.hysteresis import Sighting
from sentinel.core.incidents.settings import MINUTE_NS

_WAITS_MAX_NS = 5 * MINUTE_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Fall:
    """A fall of traffic that waits.

    Attributes:
        sighting: in the first window it was seen in.
        seen_count: windows it was seen in.
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
    is_heard: Callable[[str], bool],
    was_silent: Callable[[str], bool],
    after_silence_count: int,
) -> tuple[list[Sighting], tuple[Fall, ...]]:
    """Which falls count now, and which wait.

    Args:
        waiting: as the window before left them.
        seen: falls in this window, of series that are in no open incident.
        start_ns: start of this window.
        is_heard: whether a service is heard in this window.
        was_silent: whether it was not heard in the window before.
        after_silence_count: in how many windows a fall after a silence is to be seen.
    """
    counted: list[Sighting] = []
    still: dict[int, Fall] = {}
    low = {sighting.series_id: sighting for sighting in seen}
    for fall in waiting:
        series_id, service = fall.sighting.series_id, fall.sighting.key.service
        now = low.get(series_id)
        if not fall.after_silence:
            believed, waits = is_heard(service), False
        elif now is not None:
            fall = replace(fall, seen_count=fall.seen_count + 1)
            believed = fall.seen_count >= after_silence_count
            waits = True
        else:
            believed = False
            waits = not is_heard(service) and start_ns - fall.sighting.start_ns < _WAITS_MAX_NS
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
