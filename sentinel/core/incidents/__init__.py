"""Verdicts become incidents, incidents become pages: `track` does it, everything else is what it stands on."""

from sentinel.core.incidents.factors import GATE_WORDS, factors_of, gate_words
from sentinel.core.incidents.grouping import published
from sentinel.core.incidents.identity import alert_labels, incident_id_of, page_id_of
from sentinel.core.incidents.paging import Attach
from sentinel.core.incidents.rendering import ANNOTATIONS_BYTES_MAX, page_of, primary
from sentinel.core.incidents.set_back import set_back
from sentinel.core.incidents.settings import (
    GAUGE_GUARDS,
    GaugeGuard,
    GuardDirection,
    GuardSettings,
    IncidentSettings,
)
from sentinel.core.incidents.state import TrackerState, from_bytes, to_bytes
from sentinel.core.incidents.stopped import Stopped
from sentinel.core.incidents.taken_up import first_and_next_pages, taken_up
from sentinel.core.incidents.told_late import with_earlier
from sentinel.core.incidents.track import Tracked, track

__all__ = [
    "ANNOTATIONS_BYTES_MAX",
    "GATE_WORDS",
    "GAUGE_GUARDS",
    "Attach",
    "GaugeGuard",
    "GuardDirection",
    "GuardSettings",
    "IncidentSettings",
    "Stopped",
    "Tracked",
    "TrackerState",
    "alert_labels",
    "factors_of",
    "first_and_next_pages",
    "from_bytes",
    "gate_words",
    "incident_id_of",
    "page_id_of",
    "page_of",
    "primary",
    "published",
    "set_back",
    "taken_up",
    "to_bytes",
    "track",
    "with_earlier",
]
