"""A preview beside the rules that there are: what both would have told of, what one of them alone, and who was first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sentinel.cli.preview.clock import ShownClock
from sentinel.cli.preview.table import named_beside
from sentinel.cli.wrapping import wrapped
from sentinel.pipeline.beside import SLACK_S, Beside
from sentinel.runtime.printable import printable

_ROWS_MAX = 20
_RULES_MAX = 3
_MINUTE_S = 60.0


def beside_table(
    found: Sequence[Beside], *, columns: int | None, clock: ShownClock | None = None
) -> list[str]:
    """The lines for people: how many of each kind, then each kind's incidents, the oldest first.

    `columns` is the width to keep to, or None to cut no name; `clock` is the one that instants are shown by, or None for UTC.
    """
    clock = clock or ShownClock()
    if not any(one.firings for one in found):
        return [
            "",
            *wrapped(
                "beside the rules: none of them fired in that time, by the selector of --beside",
                columns,
            ),
        ]
    both = [one for one in found if one.page is not None and one.firings]
    rules = [one for one in found if one.page is None]
    alone = [one for one in found if one.page is not None and not one.firings]
    lines = [
        "",
        f"beside the rules, by time ({SLACK_S / _MINUTE_S:.0f} minutes apart are one incident):",
        f"{len(both)} told of by both, {len(rules)} by rules alone, {len(alone)} by Sentinel alone",
    ]
    for head, kind in (
        (f"told of by both{_first_said(both)}:", both),
        ("by rules alone:", rules),
        ("by Sentinel alone:", alone),
    ):
        if not kind:
            continue
        lines += ["", head]
        lines += [_row(one, clock, columns) for one in kind[:_ROWS_MAX]]
        if len(kind) > _ROWS_MAX:
            lines.append(f"  and {len(kind) - _ROWS_MAX} more; -o ndjson has all")
    counts = Counter(one.firings[0].rule for one in rules)
    if len(rules) > _ROWS_MAX:
        lines += ["", "by rules alone, rule by rule:"]
        lines += [
            f"  {count:5d}  {printable(rule)}" for rule, count in counts.most_common(_ROWS_MAX)
        ]
    return lines


def beside_document(one: Beside) -> dict[str, object]:
    """The same for programs."""
    return {
        "beside": "rules" if one.page is None else "both" if one.firings else "sentinel",
        "start": one.start_s,
        "series": None if one.page is None else one.page.series,
        "rules": [
            {"rule": firing.rule, "start": firing.start_s, "end": firing.end_s}
            for firing in one.firings
        ],
        "lead_s": one.lead_s,
    }


def _first_said(both: Sequence[Beside]) -> str:
    sooner = sum((one.lead_s or 0.0) > 0 for one in both)
    later = sum((one.lead_s or 0.0) < 0 for one in both)
    return f", Sentinel first in {sooner}, a rule first in {later}" if sooner or later else ""


def _row(one: Beside, clock: ShownClock, columns: int | None) -> str:
    if one.page is None:
        [firing] = one.firings
        lasted = f"{(firing.end_s - firing.start_s) / _MINUTE_S:.0f} min"
        return named_beside(
            f"  {clock.minute(firing.start_s)}  {lasted:>8}", printable(firing.rule), columns
        )
    name = printable(one.page.series)
    lead_s = one.lead_s
    if lead_s is not None:
        rules = list(dict.fromkeys(printable(firing.rule) for firing in one.firings))
        name += f", {', '.join(rules[:_RULES_MAX])}"
        name += f" and {len(rules) - _RULES_MAX} more" if len(rules) > _RULES_MAX else ""
    return named_beside(
        f"  {clock.minute(one.page.start_s)}  {_lead_said(lead_s):>8}", name, columns
    )


def _lead_said(lead_s: float | None) -> str:
    """How much sooner Sentinel was.

    >>> [_lead_said(one) for one in (None, 180.0, -60.0, 0.0)]
    ['', '+3 min', '-1 min', 'at once']
    """
    if lead_s is None:
        return ""
    minutes = round(lead_s / _MINUTE_S)
    return f"{minutes:+d} min" if minutes else "at once"
