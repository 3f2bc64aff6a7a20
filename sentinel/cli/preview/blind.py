"""What a preview could not have seen, in words: how far each series may move from what is expected."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

from sentinel.cli.preview.clock import ShownClock
from sentinel.core.incidents.text import cut_middle
from sentinel.core.model import Reason
from sentinel.pipeline.blind_spots import BlindSpot
from sentinel.runtime.printable import printable

_ROWS_MAX = 20
_NAMES_MAX = 3
_NAME_CHARACTERS_MIN = 20
_LOOSER_RATIO = 1.25
_RATIO_MAX = 10.0
"""Beyond it little is expected, as of a share of errors or a rare caller: "below x4,800" tells nobody which value is meant."""
_WORST_RATIO_MAX = 100.0
_WHY_NOT = {
    Reason.NO_HISTORY: "too little of the past was known to expect anything",
    Reason.MISSING: "there was no value, though the source was heard",
    Reason.BLIND: "the source was not heard",
    Reason.TOO_FEW: "there were too few calls to mean something",
    Reason.NO_SCALE: "the usual spread was not known yet",
    Reason.LATE: "data came too late to be counted",
    Reason.SHED: "telemetry was turned away under overload",
    Reason.PARTIAL: "a collecting sidecar was silent",
}


def blind_table(
    spots: Mapping[str, BlindSpot], *, columns: int | None, clock: ShownClock | None = None
) -> list[str]:
    """A line for each series that was judged, the blindest first; which were not is said elsewhere."""
    judged = [name for name, spot in spots.items() if spot.why_not is None]
    if not judged:
        return []
    lines = ["", "what would not have been seen, by the newest band of each hour of the week:"]
    ranked = sorted(judged, key=lambda name: (-_blindness(spots[name]), name))
    lines += _rows(
        [(printable(name), blind_words(spots[name], clock)) for name in ranked[:_ROWS_MAX]],
        columns,
    )
    left_out = len(ranked) - _ROWS_MAX
    if left_out > 0:
        lines.append(f"  and {left_out} more series, each seeing more")
    return lines


def unjudged_said(spots: Mapping[str, BlindSpot]) -> list[str]:
    """A sentence for each reason why series were never judged, with the first few of them.

    A place that is judged by its slow calls is judged: its quantile is not among them.
    """
    by_reason: dict[Reason, list[str]] = {}
    for name, spot in sorted(spots.items()):
        if spot.why_not not in (None, Reason.YIELDED):
            by_reason.setdefault(spot.why_not, []).append(name)
    said = []
    for reason, names in sorted(by_reason.items()):
        more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
        named = ", ".join(names[:_NAMES_MAX]) + more
        said.append(
            f"{len(names)} series never judged, mostly because {_WHY_NOT[reason]}: {named}"
        )
    return said


def blind_words(spot: BlindSpot, clock: ShownClock | None = None) -> str:
    """What cannot be seen of a series; hours are those of the clock, or of UTC.

    >>> blind_words(BlindSpot(series_id=1, judged_count=9, rise_ratio=1.8, fall_ratio=0.5, worst_rise_ratio=2.6,
    ...     worst_rise_hour=3, worst_fall_ratio=0.1, worst_fall_hour=147, rise=180.0, fall=50.0))
    'cannot see a rise below x1.8 (x2.6 on Mon at 03 h UTC) nor a fall above x0.5 (x0.1 on Sun at 03 h UTC)'
    """
    if spot.why_not is Reason.YIELDED:
        return "is read by people alone: its place is judged by its slow calls"
    if spot.judged_count == 0:
        why = "" if spot.why_not is None else f"; mostly because {_WHY_NOT[spot.why_not]}"
        return f"cannot see anything: no window was judged{why}"
    clock = clock or ShownClock()
    return f"cannot see {_rise_words(spot, clock)} nor {_fall_words(spot, clock)}"


def blind_document(name: str, spot: BlindSpot) -> dict[str, object]:
    """The same for programs."""
    return {
        "series": name,
        "cannot_see": blind_words(spot),
        "rise_ratio": _finite(spot.rise_ratio),
        "fall_ratio": _finite(spot.fall_ratio),
        "worst_rise_ratio": _finite(spot.worst_rise_ratio),
        "worst_rise_hour": None if spot.worst_rise_hour < 0 else spot.worst_rise_hour,
        "worst_fall_ratio": _finite(spot.worst_fall_ratio),
        "worst_fall_hour": None if spot.worst_fall_hour < 0 else spot.worst_fall_hour,
        "rise": _finite(spot.rise),
        "fall": _finite(spot.fall),
        "windows_judged": spot.judged_count,
        "why_not": None if spot.why_not is None else spot.why_not.name.lower(),
    }


def _rows(told: list[tuple[str, str]], columns: int | None) -> list[str]:
    """Words and name on one line where all of them fit; else the name above its words, so that none is cut beyond knowing."""
    beside = [f"  {words}:  {name}" for name, words in told]
    if columns is None or max(map(len, beside)) <= columns:
        return beside
    rows = []
    for name, words in told:
        rows.append(f"  {cut_middle(name, max(columns - 2, _NAME_CHARACTERS_MIN))}")
        rows += textwrap.wrap(
            words,
            max(columns, _NAME_CHARACTERS_MIN),
            initial_indent="    ",
            subsequent_indent="      ",
        )
    return rows


def _rise_words(spot: BlindSpot, clock: ShownClock) -> str:
    if math.isinf(spot.rise_ratio):
        return "any rise"
    if not spot.rise_ratio <= _RATIO_MAX:
        return "any rise" if math.isinf(spot.rise) else f"a rise to less than {spot.rise:.3g}"
    words, worst = f"a rise below x{spot.rise_ratio:.2g}", spot.worst_rise_ratio
    if worst > _LOOSER_RATIO * spot.rise_ratio:
        loosest = "any" if math.isinf(worst) else f"x{worst:.2g}"
        if _WORST_RATIO_MAX <= worst < math.inf:
            loosest = f"more than x{_WORST_RATIO_MAX:.0f}"
        words += f" ({loosest} on {clock.week_hour(spot.worst_rise_hour)})"
    return words


def _fall_words(spot: BlindSpot, clock: ShownClock) -> str:
    if math.isinf(spot.fall_ratio):
        return "any fall"
    if math.isnan(spot.fall_ratio):
        return "any fall" if math.isinf(spot.fall) else f"a fall to more than {spot.fall:.3g}"
    worst = spot.worst_fall_ratio
    # At 0 not even nothing at all is outside the band.
    words = f"a fall above x{spot.fall_ratio:.2g}" if spot.fall_ratio > 0 else "a fall to nothing"
    if spot.fall_ratio > 0 and spot.fall_ratio > _LOOSER_RATIO * worst:
        lowest = f"x{worst:.2g}" if worst > 0 else "one to nothing"
        lowest = "any" if math.isinf(worst) else lowest
        words += f" ({lowest} on {clock.week_hour(spot.worst_fall_hour)})"
    return words


def _blindness(spot: BlindSpot) -> float:
    if math.isnan(spot.rise_ratio):
        return 0.0
    if math.isfinite(spot.rise_ratio):
        return spot.rise_ratio
    # By a rule only falls count; where not even nothing is one, it sees nothing at all.
    return 1 / spot.fall_ratio if spot.fall_ratio > 0 else math.inf


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
