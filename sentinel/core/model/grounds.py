"""Grounds of a verdict: which ways of looking agree that a window is strange, and what stopped it from paging."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class View(IntFlag):
    """Ways of looking at a window, each of which may find it strange by itself; a column of bits.

    Only windows that are strange have any. The score is a mean over the first two, so it can be strange while
    only one of them is.
    """

    NONE = 0
    SEASON = 1
    """Against what is usual at this hour, corrected by the recent level."""
    RECENT = 2
    """Against the last windows, moved as it is usual at this hour."""
    MINUTE = 4
    """The mean of a minute; so on with five minutes and half an hour."""
    FIVE_MINUTES = 8
    HALF_HOUR = 16
    GATHERED = 32
    """It is a share of few calls and was judged together with the calls before it."""


HORIZON_VIEWS = (View.MINUTE, View.FIVE_MINUTES, View.HALF_HOUR)
"""Of the longer horizons, shortest first."""
HORIZONS_S = (60, 300, 1800)
"""Their lengths; of a series those are used that are longer than its window, and multiples of it."""


class Gate(IntEnum):
    """What stopped a window from paging that stood out: the first of these, in the order in which they act.

    A window stands out when it is beyond what opens an incident of an average series. Up to FEW_CALLS the gates move the
    band's edge, so `lower` and `upper` say which value would have passed; the others come after a score of 1.
    """

    NONE = 0
    """It did not stand out, or somebody was told."""
    DIRECTION = 1
    """Values on this side are never strange for this series."""
    OWN_THRESHOLD = 2
    """The series often goes so far: its own threshold is higher."""
    SINGLE_WINDOW = 3
    """One window alone must be stranger than one that follows another."""
    DEVIATION = 4
    """Less than its kind, or a rule for it, demands; or the value can go no further."""
    RETURN = 5
    """It may be the way back from an incident that has just ended."""
    FEW_CALLS = 6
    """Too few failed calls stand behind it."""
    USUAL_AGAIN = 7
    """What was expected had followed a change; the value is back at what is usual at this hour."""
    OWED = 8
    """Calls that could not come during a stop are coming late."""
    UNCONFIRMED = 9
    """A fall of traffic whose source must be heard once more before it counts."""
    INCIDENT_OPEN = 10
    """It belongs to an incident that was told already, and is no worse than that."""
    PAGE_CAP = 11
    """Its incident is held back, because too many pages went out in this minute."""
    TICKET = 12
    """Of gauges alone it is not known which way is bad: a ticket was opened, and nobody woken."""
