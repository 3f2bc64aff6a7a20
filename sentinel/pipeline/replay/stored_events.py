"""The stored events of a live run, read for a replay of its windows: what to decide by, and why it may differ.

An event is stored with the end of the window before which it happened. Some tell of another time than that: those are read
from the whole store, and count when their time meets the span.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sentinel.core.decide import DecisionSettings
from sentinel.core.model import Acceptance, Incident, Resolution
from sentinel.pipeline.plain_settings import settings_of_plain
from sentinel.pipeline.recording import Evidence


@dataclass(slots=True, kw_only=True)
class Events:
    """Events of a span, by what they mean for a replay.

    Attributes:
        settings: decided by these from an instant on, in order.
        evidence: what was put on pages.
        accepted: what people said of open incidents.
        fits: version, and start of the first window, of each fit that was taken.
        learned: instants, and the checksum of what was learned until then.
        starts: of each process the start of its first window, and the version of the fit that it began with, 0 for none.
        doubts: why a replay may differ, a sentence each.
    """

    settings: list[tuple[int, DecisionSettings]] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)
    accepted: list[Acceptance] = field(default_factory=list)
    fits: list[tuple[int, int]] = field(default_factory=list)
    learned: dict[int, int] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)


def read_events(
    notes: Iterable[tuple[int, str]],
    *,
    start_ns: int,
    to_ns: int,
    step_ns: int,
    decided_by: DecisionSettings,
) -> Events:
    """The events of windows within `[start_ns, to_ns)`.

    Args:
        notes: of the whole store, with the end of the window that each was stored with, in order.
        start_ns: start of the first window that is replayed.
        to_ns: no window that begins then or later is replayed.
        step_ns: width of a window.
        decided_by: settings at the beginning.
    """
    reading = _Reading(start_ns, to_ns, step_ns, decided_by)
    for end_ns, text in notes:
        reading.take(end_ns, text)
    return reading.done()


def all_accepted(
    noted: Sequence[Acceptance], incidents: Iterable[Incident]
) -> tuple[Acceptance, ...]:
    """What people said of open incidents: as it was noted, and as a stored incident knows it where it was not."""
    known = {one.incident_id for one in noted}
    stored = (
        Acceptance(incident_id=one.incident_id, by=one.accepted_by, at_ns=one.resolved_ns)
        for one in incidents
        if one.resolution is Resolution.ACCEPTED
        and one.resolved_ns is not None
        and one.incident_id not in known
    )
    return (*noted, *stored)


def time_words(at_ns: int) -> str:
    """An instant for people.

    >>> time_words(86_400_000_000_000)
    '1970-01-02 00:00:00 UTC'
    """
    return f"{datetime.fromtimestamp(at_ns // 1_000_000_000, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


class _Reading:
    def __init__(
        self, start_ns: int, to_ns: int, step_ns: int, decided_by: DecisionSettings
    ) -> None:
        self._start_ns = start_ns
        self._to_ns = to_ns
        self._step_ns = step_ns
        self._decided_by = decided_by
        self._found = Events()
        self._unreadable_count = 0
        # Since when a clock was put back, and the time that it had shown, which has not come again yet.
        self._set_back: list[tuple[int, int]] = []

    def take(self, end_ns: int, text: str) -> None:
        """Read one event."""
        is_of_span = self._start_ns < end_ns < self._to_ns + self._step_ns
        self._set_back = [one for one in self._set_back if one[1] > end_ns]
        try:
            note = json.loads(text)
            event = note["event"]
            if event in _OF_A_TIME:
                self._of_a_time(note)
            elif is_of_span:
                self._of_its_window(event, note, end_ns)
        except (ValueError, KeyError, TypeError, AttributeError):
            # What it says is not known; of one that lies before the span it does not matter.
            self._unreadable_count += is_of_span

    def done(self) -> Events:
        """All that was read."""
        for at_ns, _ in self._set_back:
            # Beyond the newest window there are still those of the clock that was ahead.
            self._doubt_clock(at_ns)
        if self._unreadable_count:
            self._doubt(
                f"{self._unreadable_count} of the events that live noted cannot be read; what they changed is not replayed"
            )
        return self._found

    def _of_its_window(self, event: str, note: Mapping[str, Any], end_ns: int) -> None:
        found, at_ns = self._found, end_ns - self._step_ns
        if event == "settings":
            changed = settings_of_plain(note["decides"])
            found.settings.append((at_ns, changed))
            if "digest" not in note:
                found.starts[at_ns] = int(note["fit"])
                if changed != self._decided_by:
                    # The windows since the last saved state were decided again, by the new settings.
                    self._doubt(f"the settings were others from a start at {time_words(at_ns)} on")
            self._decided_by = changed
        elif event == "evidence":
            found.evidence.know(note)
        elif event == "accepted":
            found.accepted.append(
                Acceptance(
                    incident_id=str(note["incident"]),
                    by=str(note["by"]),
                    at_ns=int(note["at_ns"]),
                )
            )
        elif event == "fit":
            found.fits.append((int(note["version"]), int(note["at_ns"])))
        elif event == "learned":
            found.learned[int(note["at_ns"])] = int(note["crc"])
        elif event == "taken_up":
            self._doubt(
                f"after a start at {time_words(at_ns)} incidents were taken up from the store that its windows did not lead to"
            )
        elif event == "left_out":
            self._doubt(
                f"after a start at {time_words(at_ns)} the windows from {time_words(int(note['from_ns']))} on "
                "were too old to be decided again, and counted as missing"
            )
        else:
            msg = f"an event {event!r} is not known"
            raise ValueError(msg)

    def _of_a_time(self, note: Mapping[str, Any]) -> None:
        at_ns = int(note["at_ns"])
        if note["event"] == "set_back":
            from_ns = int(note["from_ns"])
            if self._start_ns <= at_ns < self._to_ns:
                self._doubt_clock(at_ns)
            elif at_ns < self._start_ns < from_ns:
                self._set_back.append((at_ns, from_ns))
        elif at_ns < self._to_ns and int(note["until_ns"]) > self._start_ns:
            self._doubt(
                f"{int(note['count'])} windows from {time_words(at_ns)} on were decided and could not be stored"
            )

    def _doubt_clock(self, at_ns: int) -> None:
        self._doubt(
            f"the clock was put back to {time_words(at_ns)}; what was decided by it before is not replayed"
        )

    def _doubt(self, sentence: str) -> None:
        if sentence not in self._found.doubts:
            self._found.doubts.append(sentence)


_OF_A_TIME = frozenset({"set_back", "unstored"})
"""Events that tell of another time than that of the window they are stored with."""
