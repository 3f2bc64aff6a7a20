"""Findings as sentences for people: what statsmodels sees that our expectation does not, with its size and its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

_WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
_LEFT_MIN = 0.2
"""A correlation that is worth a sentence."""
_BIAS_MIN = 0.05
_FOLLOW_MIN_DAYS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """Hours that ours expects wrong: of one weekday (0 is Monday), or of all when None; how far what is usual lies off, as a share of ours."""

    weekday: int | None
    begin_hour: int
    end_hour: int
    ratio: float

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "ratio": round(self.ratio, 4)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A change of level, as a share of the level before; how many days ours took to follow, None when it has not or was not asked.

    `at_ns` is what the wall clock showed; `is_asked` whether ours was asked for that day at all.
    """

    at_ns: int
    ratio: float
    followed_days: float | None
    is_asked: bool = True

    def document(self, zone: str) -> dict[str, Any]:
        """As JSON, the instant with its offset."""
        shown = _instant(self.at_ns).replace(tzinfo=UTC if zone == "UTC" else ZoneInfo(zone))
        return {
            "at": shown.isoformat(timespec="minutes"),
            "ratio": round(self.ratio, 4),
            "followed_days": self.followed_days,
            "asked": self.is_asked,
        }


def sentences(
    found: dict[str, Any], *, misses: Sequence[Miss], moved: Sequence[Moved], zone: str = "UTC"
) -> list[str]:
    """Where ours and statsmodels disagree; empty when they do not."""
    told = [_of_miss(miss, found["strength"], zone) for miss in misses]
    told += [_of_change(one, zone) for one in moved if _is_worth_telling(one)]
    ours, theirs = found["left_over"]["ours"], found["left_over"]["mstl"]
    if ours and theirs and ours["after_a_day"] - max(theirs["after_a_day"], 0) >= _LEFT_MIN:
        told.append(
            "what ours leaves over comes again a day later: correlation"
            f" {ours['after_a_day']:.2f}, of MSTL's rest {theirs['after_a_day']:.2f}"
        )
    bias = found["bias_ratio"]
    if bias and abs(bias["share"]) >= _BIAS_MIN:
        side = "above" if bias["share"] > 0 else "below"
        told.append(f"what comes lies {_percent(bias['share'])} {side} ours, robustly averaged")
    return told


def _of_miss(miss: Miss, strength: dict[str, Any], zone: str) -> str:
    side = "above" if miss.ratio > 0 else "below"
    if miss.weekday is None:
        name, value, days = "daily", strength["day"], "every day"
    else:
        name, value, days = "weekly", strength["week"], f"on {_WEEKDAYS[miss.weekday]}"
    known = "" if value is None else f" (strength {value:.2f})"
    all_day = (miss.begin_hour, miss.end_hour) == (0, 24)
    hours = ", all day" if all_day else f" {miss.begin_hour:02}:00-{miss.end_hour:02}:00 {zone}"
    return (
        f"{name} season{known}: ours misses it {days}{hours};"
        f" what is usual lies {_percent(miss.ratio)} {side} ours"
    )


def _of_change(one: Moved, zone: str) -> str:
    when = _instant(one.at_ns)
    told = f"level change of {_signed(one.ratio)} on {when.day} {when:%B} {when:%H:%M} {zone}"
    if one.followed_days is None:
        return f"{told} that ours has not followed yet"
    days = f"{one.followed_days:g}"
    return f"{told} that ours took {days} day{'' if days == '1' else 's'} to follow"


def _is_worth_telling(one: Moved) -> bool:
    if not one.is_asked:
        return False  # nobody knows whether ours followed; what came later says nothing of it
    return one.followed_days is None or one.followed_days >= _FOLLOW_MIN_DAYS


def _instant(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / 1e9, tz=UTC)


def _percent(share: float) -> str:
    return f"{abs(share) * 100:.0f} %"


def _signed(share: float) -> str:
    return f"{share * 100:+.0f} %"
