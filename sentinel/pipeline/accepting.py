"""What people say of incidents: it waits for the next window, is stored with it, and only then confirmed.

An open incident whose level is accepted resolves in that window. Of one that is over the word says whether what was seen
in it counts as history; that can be taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sentinel.core.model import SOURCE_KINDS, Acceptance, Incident, IncidentKind, IncidentState
from sentinel.errors import OverloadedError, SentinelError

_WAITING_MAX = 100


class NotAcceptableError(SentinelError):
    """The incident is none that a person could say this of; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    incident_id: str
    by: str
    accepted: bool
    heard: asyncio.Future[Incident] = field(compare=False)


class Accepting:
    """The words that wait for the next window."""

    def __init__(self) -> None:
        self._words: list[_Word] = []

    def say(
        self, incident: Incident, *, by: str, accepted: bool, now_ns: int
    ) -> tuple[asyncio.Future[Incident], Incident | None]:
        """Take a person's word on an incident.

        Args:
            incident: as it is now.
            by: who says it.
            accepted: that it is the new normal, or that this is taken back.
            now_ns: the present.

        Returns:
            What gives the incident once it is stored, and what is to be stored with the next window; None where
            that follows from the window.

        Raises:
            NotAcceptableError: it is blind, a drift, or open and taken back.
            OverloadedError: too many words wait.
        """
        if incident.kind in SOURCE_KINDS:
            msg = "of a source that is not heard nothing is known that could be normal"
            raise NotAcceptableError(msg)
        if incident.kind is IncidentKind.DRIFT:
            msg = "what has drifted is expected already, and learnt as it comes"
            raise NotAcceptableError(msg)
        is_open = incident.state is IncidentState.OPEN
        if is_open and not accepted:
            msg = "it is open, and not learnt anyway; only what was accepted can be taken back"
            raise NotAcceptableError(msg)
        if len(self._words) >= _WAITING_MAX:
            msg = "too many others wait for the next window"
            raise OverloadedError(msg, retry_after_s=10.0)
        word = _Word(
            incident_id=incident.incident_id,
            by=by,
            accepted=accepted,
            heard=asyncio.get_running_loop().create_future(),
        )
        self._words.append(word)
        if is_open:
            return word.heard, None
        return word.heard, replace(
            incident,
            accepted_ns=now_ns if accepted else None,
            accepted_by=by if accepted else "",
        )

    def acceptances(self) -> tuple[Acceptance, ...]:
        """For the next window."""
        return tuple(
            Acceptance(incident_id=word.incident_id, by=word.by)
            for word in self._words
            if word.accepted
        )

    def stored(self, incidents: Sequence[Incident]) -> None:
        """Confirm what is durable now; an open incident whose word was not heard yet waits on."""
        known = {
            incident.incident_id: incident
            for incident in incidents
            if incident.state is IncidentState.RESOLVED
        }
        left: list[_Word] = []
        for word in self._words:
            incident = known.get(word.incident_id)
            if incident is None or (incident.accepted_ns is not None) != word.accepted:
                if not word.heard.cancelled():
                    left.append(word)
            elif not word.heard.done():
                word.heard.set_result(incident)
        self._words = left
