"""What a preview could not have seen, in words: how far each series may move from what is expected."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sentinel.cli.preview_table import named_beside
from sentinel.pipeline.blind_spots import BlindSpot
from sentinel.runtime.config_text import printable

_ROWS_MAX = 20
_LOOSER_RATIO = 1.25


def blind_table(spots: Mapping[str, BlindSpot], *, columns: int | None) -> list[str]:
    """A line for each series that was judged, the blindest first; which were not is said elsewhere."""
    judged = [name for name, spot in spots.items() if spot.judged_count]
    if not judged:
        return []
    ranked = sorted(judged, key=lambda name: (-_blindness(spots[name]), name))
    lines = ["", "what would not have been seen, by the bands of the last day:"]
    lines += [
        named_beside(f"  {blind_words(spots[name])}:", printable(name), columns)
        for name in ranked[:_ROWS_MAX]
    ]
    left_out = len(ranked) - _ROWS_MAX
    if left_out > 0:
        lines.append(f"  and {left_out} more series, each seeing more")
    return lines


def blind_words(spot: BlindSpot) -> str:
    """What cannot be seen of a series.

    >>> blind_words(BlindSpot(series_id=1, judged_count=9, rise_ratio=1.8, fall_ratio=0.5, worst_rise_ratio=2.6,
    ...     worst_rise_hour=3, rise=180.0, fall=50.0))
    'cannot see a rise below x1.8 (x2.6 at 03 h UTC) nor a fall above x0.5'
    """
    if spot.judged_count == 0:
        return "cannot see anything: no window was judged"
    if math.isnan(spot.rise_ratio):
        parts = [
            "any rise" if math.isinf(spot.rise) else f"a rise to less than {spot.rise:.3g}",
            "any fall" if math.isinf(spot.fall) else f"a fall to more than {spot.fall:.3g}",
        ]
        return f"cannot see {parts[0]} nor {parts[1]}"
    rise = "any rise"
    if not math.isinf(spot.rise_ratio):
        rise = f"a rise below x{spot.rise_ratio:.2g}"
        worst = spot.worst_rise_ratio
        if worst > _LOOSER_RATIO * spot.rise_ratio and math.isfinite(worst):
            rise += f" (x{worst:.2g} at {spot.worst_rise_hour:02} h UTC)"
    if math.isinf(spot.fall_ratio):
        fall = "any fall"
    elif spot.fall_ratio <= 0:
        # Not even nothing at all is outside the band.
        fall = "a fall to nothing"
    else:
        fall = f"a fall above x{spot.fall_ratio:.2g}"
    return f"cannot see {rise} nor {fall}"


def blind_document(name: str, spot: BlindSpot) -> dict[str, object]:
    """The same for programs."""
    return {
        "series": name,
        "cannot_see": blind_words(spot),
        "rise_ratio": _finite(spot.rise_ratio),
        "fall_ratio": _finite(spot.fall_ratio),
        "worst_rise_ratio": _finite(spot.worst_rise_ratio),
        "worst_rise_hour": None if spot.worst_rise_hour < 0 else spot.worst_rise_hour,
        "rise": _finite(spot.rise),
        "fall": _finite(spot.fall),
        "windows_judged": spot.judged_count,
    }


def _blindness(spot: BlindSpot) -> float:
    if spot.judged_count == 0:
        return math.inf
    return spot.rise_ratio if math.isfinite(spot.rise_ratio) else 0.0


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
