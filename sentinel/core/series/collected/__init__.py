"""One service, several sidecars: a closed window as it is collected, sent, added to others, and scored once for all."""

from sentinel.core.series.collected.collecting import Collecting
from sentinel.core.series.collected.content import WindowContent, merged
from sentinel.core.series.collected.merging import COLLECTORS, Merging
from sentinel.core.series.collected.roster import Attendance, Roster, RosterSettings, Taken
from sentinel.core.series.collected.wire import (
    CollectedWindow,
    PartKind,
    WireLimits,
    decode,
    encode,
)

__all__ = [
    "COLLECTORS",
    "Attendance",
    "CollectedWindow",
    "Collecting",
    "Merging",
    "PartKind",
    "Roster",
    "RosterSettings",
    "Taken",
    "WindowContent",
    "WireLimits",
    "decode",
    "encode",
    "merged",
]
