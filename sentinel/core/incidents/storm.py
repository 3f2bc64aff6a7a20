"""The cap on pages a minute: what it holds back is listed on one summary page, never silent.

    calm    -> storm   the first page that the cap holds back; the summary page opens
    storm   -> storm   once a minute while what is held has changed; the summary page is renewed
    storm   -> calm    nothing is held any more; the summary page resolves

Held incidents page one by one as the cap allows, oldest first. One that resolves before its turn sends no
page of its own: the summary has told of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sentinel.core.incidents.identity import (
    STORM_ALERT_NAME,
    STORM_SERVICE,
    incident_id_of,
    labels_of,
    page_id_of,
)
from sentinel.core.incidents.rendering import bounded, runbook_url
from sentinel.core.incidents.settings import MINUTE_NS, IncidentSettings
from sentinel.core.incidents.text import clock_time, one_line
from sentinel.core.model import Incident, Page, PageReason, PageStatus, Severity

_LISTED_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """What the cap remembers.

    Attributes:
        recent_ns: when pages went out within the last minute, ascending.
        opened_ns: end of the window in which the storm began, or None in calm.
        sequence: of the next summary page.
        told_ns: when the summary page last went out.
        told: the incidents it has told of.
    """

    recent_ns: tuple[int, ...] = ()
    opened_ns: int | None = None
    sequence: int = 0
    told_ns: int = 0
    told: frozenset[str] = frozenset()

    @property
    def raging(self) -> bool:
        """Whether a summary page is open."""
        return self.opened_ns is not None


def storm_id(storm: Storm) -> str:
    """The name that the summary pages of a storm that is raging are about, as pages are about an incident."""
    return incident_id_of(
        group=STORM_SERVICE, kind="storm", severity=Severity.PAGE, at_ns=storm.opened_ns or 0
    )


def forget_old(storm: Storm, *, end_ns: int) -> Storm:
    """The storm without the pages that went out more than a minute ago."""
    recent = tuple(at_ns for at_ns in storm.recent_ns if end_ns - at_ns < MINUTE_NS)
    return storm if recent == storm.recent_ns else replace(storm, recent_ns=recent)


def may_page(storm: Storm, settings: IncidentSettings, *, can_wait: bool = False) -> bool:
    """Whether the cap has room for one more page now; what can wait leaves half of it to others, and makes no storm."""
    cap = settings.page_count_max_per_minute
    return len(storm.recent_ns) < (max(1, cap // 2) if can_wait else cap)


def paged(storm: Storm, *, end_ns: int) -> Storm:
    """The storm after one more page."""
    return replace(storm, recent_ns=(*storm.recent_ns, end_ns))


def summarise(
    storm: Storm, held: Sequence[Incident], *, end_ns: int, settings: IncidentSettings
) -> tuple[Storm, Page | None]:
    """Open, renew or resolve the summary page for the incidents that are held now, oldest first."""
    if storm.opened_ns is None:
        if not held:
            return storm, None
        storm = replace(storm, opened_ns=end_ns)
        return _told(storm, held, PageReason.OPENED, end_ns=end_ns, settings=settings)
    if not held:
        return _told(storm, held, PageReason.RESOLVED, end_ns=end_ns, settings=settings)
    news = any(incident.incident_id not in storm.told for incident in held)
    if news and end_ns - storm.told_ns >= MINUTE_NS:
        return _told(storm, held, PageReason.WORSENED, end_ns=end_ns, settings=settings)
    return storm, None


def _told(
    storm: Storm,
    held: Sequence[Incident],
    reason: PageReason,
    *,
    end_ns: int,
    settings: IncidentSettings,
) -> tuple[Storm, Page]:
    opened_ns = storm.opened_ns if storm.opened_ns is not None else end_ns
    resolved = reason is PageReason.RESOLVED
    incident_id = storm_id(storm)
    told = storm.told | {incident.incident_id for incident in held}
    since = clock_time(opened_ns, zone_name=settings.zone_name, zone_offsets=settings.zone_offsets)
    listed = [
        one_line(f"{incident.group} ({incident.kind}, {incident.severity})", characters_max=120)
        for incident in held[:_LISTED_MAX]
    ]
    if len(held) > len(listed):
        listed.append(f"and {len(held) - len(listed)} more")
    cap = settings.page_count_max_per_minute
    if resolved:
        summary = f"No page is held back any more; {len(told)} were, since {since}"
    else:
        summary = f"{len(held)} incidents opened faster than {cap} pages a minute; held back since {since}"
    page = Page(
        page_id=page_id_of(incident_id, storm.sequence),
        incident_id=incident_id,
        sequence=storm.sequence,
        reason=reason,
        status=PageStatus.RESOLVED if resolved else PageStatus.FIRING,
        labels=labels_of(
            alert_name=STORM_ALERT_NAME, service=STORM_SERVICE, severity=Severity.PAGE
        ),
        annotations=bounded(
            {
                "summary": summary,
                "description": "\n".join(listed),
                "reason": reason.value,
                "incident": incident_id,
                "since": since,
                "runbook_url": runbook_url(STORM_ALERT_NAME, settings),
                "next": "\n".join(step for step in settings.next_steps if "{" not in step),
            }
        ),
        # Its name holds when it opened; after the clock was put back that may lie ahead.
        starts_ns=min(opened_ns, end_ns),
        ends_ns=end_ns if resolved else None,
    )
    if resolved:
        return Storm(recent_ns=storm.recent_ns), page
    storm = replace(storm, sequence=storm.sequence + 1, told_ns=end_ns, told=told)
    return storm, page
