"""Who is silent, in words: for health, and for the page that says so."""

from __future__ import annotations

from dataclasses import replace

from sentinel.core.model import Page, PageStatus
from sentinel.core.series.collected.merging import SERVICE_COLLECTORS
from sentinel.core.series.collected.roster import Attendance

_NAMED_MAX = 5
_NAME_CHARS_MAX = 60


def roll_call(attendance: Attendance) -> str:
    """One sentence on who told of a window, and who did not.

    >>> roll_call(Attendance(parts=(), expected_count=3, silent={"pay-2": 0}, partly_told=frozenset(), let_go=()))
    'blind 1/3: pay-2 is not heard'
    """
    count, silent = (
        attendance.expected_count,
        sorted(attendance.silent.keys() - attendance.doubled),
    )
    if attendance.doubled:
        name = min(attendance.doubled)[:_NAME_CHARS_MAX]
        twice = f"several collectors have the name {name}, and windows of theirs are lost: each needs its own `collect.name`"
        others = replace(attendance, doubled=frozenset(), silent=dict.fromkeys(silent, 0))
        return f"{twice}; {roll_call(others)}" if silent else twice
    if not silent:
        return f"{count} collector{'s' if count > 1 else ''}, all heard"
    named = ", ".join(name[:_NAME_CHARS_MAX] for name in silent[:_NAMED_MAX])
    more = f" and {len(silent) - _NAMED_MAX} more" if len(silent) > _NAMED_MAX else ""
    verb = "is" if len(silent) == 1 else "are"
    return f"blind {len(silent)}/{max(count, len(silent))}: {named}{more} {verb} not heard"


def blind_page(page: Page, attendance: Attendance) -> Page:
    """A page about collectors that are not heard, with how many of how many and which; any other page as it is."""
    if page.labels.get("service") != SERVICE_COLLECTORS:
        return page
    annotations = dict(page.annotations)
    if page.status is PageStatus.RESOLVED:
        annotations["summary"] = f"collectors: {roll_call(attendance)} again"
        return replace(page, annotations=annotations)
    told = roll_call(attendance)
    services = sorted(attendance.partly_told)
    named = ", ".join(name[:_NAME_CHARS_MAX] for name in services[:_NAMED_MAX])
    more = f" and {len(services) - _NAMED_MAX} more" if len(services) > _NAMED_MAX else ""
    of_what = f" of {named}{more}" if services else ""
    annotations["summary"] = f"collectors: {told}"
    annotations["description"] = (
        f"Windows of a collecting sidecar are missing: {told}. How much traffic there is{of_what} is not known meanwhile, and is"
        " not paged as a fall; shares of errors and durations are judged by what the others hear. Does its pod run, and does it"
        " reach the scorer? Scaled down for good without a goodbye, it is let go after `merge.gone_after`."
    )
    return replace(page, annotations=annotations)
