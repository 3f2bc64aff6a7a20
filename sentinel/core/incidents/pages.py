"""Why an incident pages now, if it does.

never paged yet                                   OPENED      at once, or as soon as the cap allows
strange now, and a guard broke that no page       WORSENED    at once; there are three kinds of guards
  has told of
strange now, and a new stage or a much higher     WORSENED    at most once per `worsen_gap_ns`
  score than the last page told
strange now, and a reminder is due                REMINDER    then after `reminder_growth` times the wait
a drift's ticket has a series more to tell        WORSENED    once a day; it has no reminders
resolved, and it had paged                        RESOLVED    always; it relieves
"""

from __future__ import annotations

from dataclasses import replace

from sentinel.core.incidents.drifting import NEWS_GAP_NS
from sentinel.core.incidents.grouping import OpenIncident
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.model import IncidentKind, PageReason


def reason_to_page(
    entry: OpenIncident, *, end_ns: int, strange_now: bool, settings: IncidentSettings
) -> PageReason | None:
    """Why an open incident pages at the end of this window, or None."""
    if entry.sequence == 0:
        return PageReason.OPENED
    if entry.incident.kind is IncidentKind.DRIFT:
        has_news = bool(entry.whys - entry.paged_whys)
        is_due = end_ns - entry.last_page_ns >= NEWS_GAP_NS
        return PageReason.WORSENED if has_news and is_due else None
    if not strange_now:
        return None
    if entry.whys - entry.paged_whys:
        return PageReason.WORSENED
    if _worsened(entry, settings) and end_ns - entry.last_page_ns >= settings.worsen_gap_ns:
        return PageReason.WORSENED
    if end_ns >= entry.next_reminder_ns:
        return PageReason.REMINDER
    return None


def after_page(
    entry: OpenIncident,
    reason: PageReason,
    *,
    end_ns: int,
    step_ns: int,
    settings: IncidentSettings,
) -> OpenIncident:
    """The incident after it paged for this reason."""
    gap_ns, next_ns = entry.reminder_gap_ns, entry.next_reminder_ns
    if reason is PageReason.OPENED:
        gap_ns = settings.first_reminder_of(step_ns)
        next_ns = end_ns + gap_ns
    elif reason is PageReason.REMINDER:
        gap_ns *= settings.reminder_growth
        next_ns = end_ns + gap_ns
    return replace(
        entry,
        sequence=entry.sequence + 1,
        last_page_ns=end_ns,
        paged_peak_score=entry.peak_score,
        paged_stages=entry.stages,
        paged_whys=entry.whys,
        next_reminder_ns=next_ns,
        reminder_gap_ns=gap_ns,
    )


def _worsened(entry: OpenIncident, settings: IncidentSettings) -> bool:
    ratio = settings.worsen_score_ratio
    if ratio > 0 and entry.peak_score >= ratio * entry.paged_peak_score:
        return True
    return settings.worsen_stages and bool(entry.stages - entry.paged_stages)
