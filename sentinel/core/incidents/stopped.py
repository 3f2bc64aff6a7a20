"""Windows with a score of 1 or more of which nobody was told, and the gate that stopped each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sentinel.core.incidents.layout import Layout
from sentinel.core.incidents.state import TrackerState
from sentinel.core.model import BESIDE_KINDS, Gate, Page, PageStatus, Severity


class Stopped(NamedTuple):
    """A strange window that led to no message.

    Attributes:
        row, column: of the window in the block.
        gate: what stopped it.
    """

    row: int
    column: int
    gate: Gate


def untold(
    strange: Sequence[int], layout: Layout, state: TrackerState, pages: Sequence[Page], *, at: int
) -> list[Stopped]:
    """Which of the strange columns of row `at` were not told of, after their incidents were followed.

    Args:
        strange: columns that went into an incident, or wait for it.
        layout: of the columns.
        state: after the window.
        pages: that the window led to.
        at: row of the window in the block.
    """
    if not strange:
        return []
    told = {page.incident_id for page in pages if page.status is PageStatus.FIRING}
    waiting = {fall.sighting.series_id for fall in state.pending}
    home = {
        series_id: entry
        for entry in state.entries
        if entry.incident.kind not in BESIDE_KINDS
        for series_id in entry.members
    }
    found: list[Stopped] = []
    for column in strange:
        series_id = int(layout.series[column])
        entry = home.get(series_id)
        if series_id in waiting:
            gate = Gate.UNCONFIRMED
        elif entry is None or (entry.sequence > 0 and entry.incident.incident_id not in told):
            gate = Gate.INCIDENT_OPEN
        elif entry.sequence == 0:
            gate = Gate.PAGE_CAP
        elif entry.incident.severity is Severity.TICKET:
            gate = Gate.TICKET
        else:
            continue
        found.append(Stopped(at, column, gate))
    return found
