"""A log line for each incident that opens or resolves, for those who read logs before pages; bounded in a storm."""

from __future__ import annotations

from sentinel.core.decide import Decision
from sentinel.core.incidents import primary
from sentinel.core.incidents.text import one_line, quantity
from sentinel.core.model import Incident, PageReason, Resolution, TransitionKind
from sentinel.runtime.component import Surroundings

_LINES_A_MINUTE_MAX = 20
_MINUTE_S = 60.0
_SENTENCES = {
    TransitionKind.OPENED: "Incident opened",
    TransitionKind.RESOLVED: "Incident resolved",
}


class IncidentLog:
    """Writes them; what is beyond the bound is counted on one line when the minute is over."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._minute_ends_s = 0.0
        self._line_count = 0
        self._left_out_count = 0

    def note(self, decision: Decision) -> None:
        """Tell what a window opened and resolved."""
        self._turn_minute()
        paged = {
            page.incident_id
            for page in decision.pages
            if page.reason in {PageReason.OPENED, PageReason.RESOLVED}
        }
        for transition in decision.transitions:
            sentence = _SENTENCES.get(transition.kind)
            if sentence is None:
                continue
            if self._line_count >= _LINES_A_MINUTE_MAX:
                self._left_out_count += 1
                continue
            self._line_count += 1
            incident = transition.incident
            self._surroundings.logger.info(
                sentence,
                extra={
                    "incident": incident.incident_id,
                    "service": one_line(incident.group, characters_max=100),
                    "kind": incident.kind.value,
                    "severity": incident.severity.value,
                    **_measured(incident),
                    **_settled(incident),
                    "page": _page_word(
                        transition.kind, is_paged=transition.incident.incident_id in paged
                    ),
                },
            )

    def _turn_minute(self) -> None:
        now_s = self._surroundings.clock.monotonic_s()
        if now_s < self._minute_ends_s:
            return
        if self._left_out_count:
            self._surroundings.logger.info(
                "More incidents opened or resolved than are logged",
                extra={"count": self._left_out_count},
            )
        self._minute_ends_s = now_s + _MINUTE_S
        self._line_count = self._left_out_count = 0


def _measured(incident: Incident) -> dict[str, str]:
    member = primary(incident)
    if member is None:
        return {}
    return {
        "series": one_line(
            f"{member.key.stage} {member.key.route} {member.key.signal}", characters_max=200
        ),
        "value": quantity(member.value, member.key),
        "expected": quantity(member.expected, member.key),
    }


def _settled(incident: Incident) -> dict[str, str]:
    if incident.resolution is Resolution.QUIET:
        return {}
    by = one_line(incident.accepted_by, characters_max=100)
    return {
        "resolution": incident.resolution.value,
        "level": one_line(incident.settled, characters_max=100),
        **({"by": by} if by else {}),
    }


def _page_word(kind: TransitionKind, *, is_paged: bool) -> str:
    if is_paged:
        return "made"
    if kind is TransitionKind.RESOLVED:
        return "none: it had not paged"
    return "held: more incidents opened than pages may go out a minute"
