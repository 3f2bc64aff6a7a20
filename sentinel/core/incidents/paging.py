"""The end of a window for every open incident: it resolves, pages, or is left, oldest first, under the cap on pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Protocol

from sentinel.core.incidents.drifting import HOLD_NS as DRIFT_HOLD_NS
from sentinel.core.incidents.grouping import OpenIncident, published
from sentinel.core.incidents.hysteresis import Sighting, is_quiet
from sentinel.core.incidents.pages import after_page, reason_to_page
from sentinel.core.incidents.rendering import page_of
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.incidents.settling import Settled
from sentinel.core.incidents.state import TrackerState
from sentinel.core.incidents.storm import forget_old, may_page, paged, summarise
from sentinel.core.model import (
    SOURCE_KINDS,
    Incident,
    IncidentKind,
    IncidentState,
    Page,
    PageReason,
    Resolution,
    Transition,
    TransitionKind,
)

_TRANSITION_OF = {
    PageReason.OPENED: TransitionKind.OPENED,
    PageReason.WORSENED: TransitionKind.WORSENED,
    PageReason.REMINDER: TransitionKind.REMINDED,
}


class Attach(Protocol):
    """Puts evidence on an incident that is about to page."""

    def __call__(
        self,
        incident: Incident,
        open_incidents: Sequence[Incident],
        /,
        *,
        at_ns: int,
        step_ns: int,
    ) -> Incident:
        """The incident with what is known at `at_ns`; `open_incidents` are all that are open, itself included."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a window did to the open incidents, by their ids.

    Attributes:
        opened: they are new.
        grown: a series joined them.
        active: something of them was strange.
        going_on: what of them is so now; of some that are active it is over.
    """

    opened: Set[str]
    grown: Set[str]
    active: Set[str]
    going_on: Mapping[str, Sequence[Sighting]]


def page_window(
    state: TrackerState,
    moved: Moved,
    settled: Mapping[str, Settled],
    *,
    end_ns: int,
    step_ns: int,
    settings: IncidentSettings,
    attach: Attach | None,
) -> tuple[TrackerState, list[Transition], list[Page]]:
    """The state after the window that ends at `end_ns`, what happened to incidents, and what is to be sent."""
    transitions: list[Transition] = []
    pages: list[Page] = []
    storm = forget_old(state.storm, end_ns=end_ns)
    everything: tuple[Incident, ...] | None = None
    kept: list[OpenIncident] = []
    held: list[Incident] = []
    for entry in state.entries:
        incident_id = entry.incident.incident_id
        new_normal = settled.get(incident_id)
        if new_normal is not None or is_quiet(
            active_until_ns=entry.active_until_ns,
            end_ns=end_ns,
            hold_ns=_hold_of(entry, step_ns, settings),
        ):
            transitions.append(_resolved(entry, new_normal, end_ns, settings, pages))
            continue
        fresh = incident_id in moved.opened
        reason = reason_to_page(
            entry,
            end_ns=end_ns,
            going_on=moved.going_on.get(incident_id, ()),
            settings=settings,
        )
        drifts = entry.incident.kind is IncidentKind.DRIFT
        if reason is not None and may_page(storm, settings, can_wait=drifts):
            if attach is not None:
                if everything is None:
                    everything = state.open_incidents()
                entry = _with_evidence(entry, attach, everything, end_ns=end_ns, step_ns=step_ns)
            storm = paged(storm, end_ns=end_ns)
            incident = published(entry, members_max=settings.members_max)
            pages.append(
                page_of(
                    incident,
                    reason=reason,
                    sequence=entry.sequence,
                    member_count=len(entry.members),
                    settings=settings,
                )
            )
            entry = after_page(entry, reason, end_ns=end_ns, step_ns=step_ns, settings=settings)
            # A held incident opened in an earlier window; now its evidence has changed.
            was_held = reason is PageReason.OPENED and not fresh
            kind = TransitionKind.JOINED if was_held else _TRANSITION_OF[reason]
            transitions.append(Transition(kind=kind, at_ns=end_ns, incident=incident))
        elif fresh or incident_id in moved.grown:
            kind = TransitionKind.OPENED if fresh else TransitionKind.JOINED
            incident = published(entry, members_max=settings.members_max)
            transitions.append(Transition(kind=kind, at_ns=end_ns, incident=incident))
        if entry.sequence == 0 and not drifts:
            held.append(entry.incident)
        kept.append(entry)
    storm, summary = summarise(storm, held, end_ns=end_ns, settings=settings)
    if summary is not None:
        pages.append(summary)
    return replace(state, entries=tuple(kept), storm=storm), transitions, pages


def _with_evidence(
    entry: OpenIncident,
    attach: Attach,
    everything: Sequence[Incident],
    *,
    end_ns: int,
    step_ns: int,
) -> OpenIncident:
    whole = replace(entry.incident, members=tuple(entry.members.values()))
    attached = attach(whole, everything, at_ns=end_ns, step_ns=step_ns)
    return replace(entry, incident=replace(attached, members=()))


def _resolved(
    entry: OpenIncident,
    settled: Settled | None,
    end_ns: int,
    settings: IncidentSettings,
    pages: list[Page],
) -> Transition:
    resolved = replace(
        published(entry, members_max=settings.members_max),
        state=IncidentState.RESOLVED,
        resolved_ns=end_ns,
    )
    if settled is not None:
        said = settled.resolution is Resolution.ACCEPTED
        resolved = replace(
            resolved,
            resolution=settled.resolution,
            settled=settled.told,
            accepted_ns=end_ns if said else None,
            accepted_by=settled.by,
        )
    if entry.sequence > 0:
        pages.append(
            page_of(
                resolved,
                reason=PageReason.RESOLVED,
                sequence=entry.sequence,
                member_count=len(entry.members),
                settings=settings,
            )
        )
    return Transition(kind=TransitionKind.RESOLVED, at_ns=end_ns, incident=resolved)


def _hold_of(entry: OpenIncident, step_ns: int, settings: IncidentSettings) -> int:
    if entry.incident.kind in SOURCE_KINDS:
        return max(settings.blind_clear_ns, step_ns)
    if entry.incident.kind is IncidentKind.DRIFT:
        return DRIFT_HOLD_NS
    return settings.hold_of(step_ns)
