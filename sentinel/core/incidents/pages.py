"""Why an incident pages now, if it does.

never paged yet                                   OPENED      at once, or as soon as the cap allows
it goes on, and a guard broke that no page        WORSENED    at once; each guard counts once
  has told of
a new stage goes on, or something with a much     WORSENED    at most once per `worsen_gap_ns`
  higher score than the last page told
it goes on, and a reminder is due                 REMINDER    then after `reminder_growth` times the wait
a drift's ticket has a series more to tell        WORSENED    once a day; it has no reminders
resolved, and it had paged                        RESOLVED    always; it relieves

What goes on is strange in this window: by itself, or in the mean of a longer horizon that the values have not left again.
Such a mean is strange for up to half an hour after a fault, and in narrower bands it has higher scores than the windows
that made it. So what was told of windows, or of a shorter horizon, is never topped by the mean of a longer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sentinel.core.incidents.drifting import NEWS_GAP_NS
from sentinel.core.incidents.grouping import OpenIncident
from sentinel.core.incidents.hysteresis import Sighting
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.model import IncidentKind, PageReason


def reason_to_page(
    entry: OpenIncident, *, end_ns: int, going_on: Sequence[Sighting], settings: IncidentSettings
) -> PageReason | None:
    """Why an open incident pages at the end of this window, or None; `going_on` is what of it goes on in this window."""
    if entry.sequence == 0:
        return PageReason.OPENED
    if entry.incident.kind is IncidentKind.DRIFT:
        has_news = bool(entry.whys - entry.paged_whys)
        is_due = end_ns - entry.last_page_ns >= NEWS_GAP_NS
        return PageReason.WORSENED if has_news and is_due else None
    if not going_on:
        return None
    if entry.whys - entry.paged_whys:
        return PageReason.WORSENED
    waited = end_ns - entry.last_page_ns >= settings.worsen_gap_ns
    if waited and any(_is_worse(entry, one, settings) for one in going_on):
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
    strangest = entry.strangest
    return replace(
        entry,
        sequence=entry.sequence + 1,
        last_page_ns=end_ns,
        paged_peak_score=0.0 if strangest is None else strangest.peak_score,
        paged_horizon_s=0 if strangest is None else strangest.horizon_s,
        paged_stages=entry.stages,
        paged_whys=entry.whys,
        next_reminder_ns=next_ns,
        reminder_gap_ns=gap_ns,
    )


def _is_worse(entry: OpenIncident, sighting: Sighting, settings: IncidentSettings) -> bool:
    # A shorter horizon has the wider band: so many times the score is more than so many times as far off.
    least = settings.worsen_score_ratio * entry.paged_peak_score
    scores = (s for length_s, s in sighting.present if length_s <= entry.paged_horizon_s)
    if settings.worsen_score_ratio > 0 and any(score >= least for score in scores):
        return True
    return settings.worsen_stages and sighting.key.stage not in entry.paged_stages
