"""What a run's lines amount to: by fault how soon and how often each side told of it, and how often for nothing.

A fault's time is from its start to Alertmanager's 200 for the first page that began after it and is about what the fault was to
move (`matching.py`), two minutes at most. Pages about it from then until both sides are quiet again are of that incident; others
meanwhile are unrelated, and told of in a column of their own. Pages in the quiet before the next fault are false.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.pages.matching import Expected, concerns
from benchmarks.pages.told import Side, Told
from sentinel.reference.ledger.operate.faults.weights import Weight

Line = Mapping[str, Any]

IN_TIME_S: Final = 120.0
HARD_P95_S: Final = 30.0
# False pages: one where static thresholds have so many.
FEWER_TIMES: Final = 10
# The thresholds' own limits, without their patience: beyond them a quiet stretch was none, and its pages may be right.
WELL_FAILED_RATIO: Final = 0.05
WELL_P99_S: Final = 0.5
# Sentinel as a team gets it: with the rules that come with it.
OURS: Final = "ours"
SIDES: Final = (*(side.value for side in Side), OURS)
_OF: Final = {
    OURS: (Side.SENTINEL.value, Side.RULES.value),
    **{one.value: (one.value,) for one in Side},
}
_NAMES_MAX: Final = 12


def of_span(
    told: Iterable[Told],
    notices: Iterable[tuple[float, Side]],
    *,
    since_s: float,
    until_s: float,
    expected: Sequence[Expected] | None = None,
) -> dict[str, dict[str, Any]]:
    """What each side told between two moments, as a line of the results keeps it.

    Args:
        told: all that was told, whenever.
        notices: when a person was told, by whom.
        since_s: the first moment (Unix).
        until_s: the second one, exclusive.
        expected: what the fault that was held then was to move; None when none was, and all that is told counts.
    """
    within = [one for one in told if since_s <= one.at_s < until_s]
    heard = [side for at_s, side in notices if since_s <= at_s < until_s]
    found: dict[str, dict[str, Any]] = {}
    for side in Side:
        all_own = [one for one in within if one.side is side]
        own = [one for one in all_own if expected is None or concerns(one, expected)]
        others = [one for one in all_own if one not in own]
        pages = [one for one in own if one.severity == "page"]
        tickets = [one for one in own if one.severity != "page"]
        found[side.value] = {
            "page_s": _first_s(pages, since_s),
            "ticket_s": _first_s(tickets, since_s),
            "pages": len(pages),
            "tickets": len(tickets),
            "notices": heard.count(side),
            "names": _names(own),
            "unrelated_pages": sum(one.severity == "page" for one in others),
            "unrelated_tickets": sum(one.severity != "page" for one in others),
            "unrelated_names": _names(others),
        }
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How soon one side told of some incidents.

    Attributes:
        count: incidents.
        found: those told of in time.
        median_s, p95_s: of all of them, infinite where too few were told of.
        slowest_s: of those told of in time; None for none.
    """

    count: int
    found: int
    median_s: float
    p95_s: float
    slowest_s: float | None


def times(lines: Sequence[Line], side: str, *, with_tickets: bool = False) -> Times:
    """How soon a side paged, or told at all, of these incidents.

    >>> line = {"sides": {"static": {"page_s": 20.0, "ticket_s": None}}}
    >>> times([line, line], "static").p95_s
    20.0
    """
    all_s = sorted(told_s(line, side, with_tickets=with_tickets) for line in lines)
    found_s = [one for one in all_s if one <= IN_TIME_S]
    return Times(
        count=len(all_s),
        found=len(found_s),
        median_s=_percentile(all_s, 50),
        p95_s=_percentile(all_s, 95),
        slowest_s=found_s[-1] if found_s else None,
    )


def told_s(line: Line, side: str, *, with_tickets: bool = False) -> float:
    """Seconds from a fault's start until a side told of it; infinite beyond two minutes."""
    kinds = ("page_s", "ticket_s") if with_tickets else ("page_s",)
    all_s = [line["sides"][one][kind] for one in _OF[side] for kind in kinds]
    first_s = min((float(one) for one in all_s if one is not None), default=math.inf)
    return first_s if first_s <= IN_TIME_S else math.inf


def counted(lines: Iterable[Line], side: str, what: str) -> int:
    """How many `pages`, `tickets`, `notices` or `unrelated_pages` of a side these lines have together."""
    return sum(int(line["sides"][one].get(what, 0)) for line in lines for one in _OF[side])


def faults(lines: Iterable[Line]) -> dict[str, list[Line]]:
    """Lines of faults that were held, by the fault."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line["kind"] == "fault":
            found.setdefault(line["fault"], []).append(line)
    return found


def quiet(lines: Iterable[Line]) -> list[Line]:
    """Lines of stretches in which nothing was broken."""
    return [line for line in lines if line["kind"] == "quiet"]


def was_well(line: Line) -> bool:
    """Whether nothing went wrong by itself in a quiet stretch: nearly all requests worked, and soon.

    >>> was_well({"felt": {"failed_ratio": 0.2, "p99_s": 0.1}}), was_well({"felt": {"failed_ratio": 0.0, "p99_s": 0.1}})
    (False, True)
    """
    felt = line.get("felt") or {}
    return (felt.get("failed_ratio") or 0.0) <= WELL_FAILED_RATIO and (
        felt.get("p99_s") or 0.0
    ) <= WELL_P99_S


def summary(lines: Sequence[Line]) -> dict[str, Any]:
    """All that is told of a run, as JSON can hold it: an infinite time is None."""
    by_fault = faults(lines)
    calm = quiet(lines)
    held = [line for some in by_fault.values() for line in some]
    hard = [line for line in held if line["weight"] == Weight.HARD]
    return {
        "faults": {
            name: {
                "weight": some[0]["weight"],
                "count": len(some),
                **{side: _of_fault(some, side) for side in SIDES},
            }
            for name, some in sorted(by_fault.items())
        },
        "failed": sorted(line["fault"] for line in lines if line["kind"] == "failed"),
        "hard": {side: _as_json(times(hard, side)) for side in SIDES},
        "all": {side: _as_json(times(held, side)) for side in SIDES},
        "all_with_tickets": {
            side: _as_json(times(held, side, with_tickets=True)) for side in SIDES
        },
        "quiet_s": round(sum(line["seconds"] for line in calm)),
        "false_pages": {side: counted(calm, side, "pages") for side in SIDES},
        "unwell_s": round(sum(line["seconds"] for line in calm if not was_well(line))),
        "false_pages_while_well": {
            side: counted([line for line in calm if was_well(line)], side, "pages")
            for side in SIDES
        },
        "false_tickets": {side: counted(calm, side, "tickets") for side in SIDES},
        "pages_an_incident": {
            side: round(counted(held, side, "pages") / len(held), 2) if held else None
            for side in SIDES
        },
        "unrelated_pages": {side: counted(held, side, "unrelated_pages") for side in SIDES},
        "unrelated_tickets": {side: counted(held, side, "unrelated_tickets") for side in SIDES},
        "goals": goals(lines),
    }


def goals(lines: Sequence[Line]) -> dict[str, bool | None]:
    """Which of the goals the sidecar's own pages reach; None where these lines cannot say."""
    held = [line for some in faults(lines).values() for line in some]
    hard = [line for line in held if line["weight"] == Weight.HARD]
    calm = quiet(lines)
    ours, static = counted(calm, "sentinel", "pages"), counted(calm, "static", "pages")
    in_time = times(held, OURS)
    return {
        "hard faults paged with p95 of 30 s by the sidecar": (
            times(hard, "sentinel").p95_s <= HARD_P95_S if hard else None
        ),
        "every fault paged within 2 minutes, by the sidecar or the rules": (
            in_time.found == in_time.count if held else None
        ),
        "a tenth of the static thresholds' false pages": (
            FEWER_TIMES * ours <= static if static or ours else None
        ),
    }


def _of_fault(some: Sequence[Line], side: str) -> dict[str, Any]:
    return {
        **_as_json(times(some, side)),
        "told": _as_json(times(some, side, with_tickets=True)),
        "pages_an_incident": round(counted(some, side, "pages") / len(some), 2),
        "notices_an_incident": round(counted(some, side, "notices") / len(some), 2),
        "unrelated_pages": counted(some, side, "unrelated_pages"),
    }


def _as_json(found: Times) -> dict[str, Any]:
    return {
        "count": found.count,
        "found": found.found,
        "median_s": _finite(found.median_s),
        "p95_s": _finite(found.p95_s),
        "slowest_s": None if found.slowest_s is None else round(found.slowest_s, 1),
    }


def _names(told: Sequence[Told]) -> list[str]:
    return [f"{one.severity} {one.name} {one.of}".strip() for one in told][:_NAMES_MAX]


def _finite(seconds: float) -> float | None:
    return round(seconds, 1) if math.isfinite(seconds) else None


def _first_s(told: Sequence[Told], since_s: float) -> float | None:
    return round(min(one.at_s for one in told) - since_s, 2) if told else None


def _percentile(sorted_s: Sequence[float], percent: float) -> float:
    # Never between two: half of infinite is no time.
    if not sorted_s:
        return math.inf
    return float(np.percentile(np.array(sorted_s), percent, method="higher"))
