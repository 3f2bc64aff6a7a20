"""Months of a payments company's telemetry, with calendar, growth, jobs, deploys and outages.

What labelled data of others cannot measure, because it has no calendar and no record of what
happened: month-end, holidays, daylight saving, trickles, repeated outages, true new levels.
"""

from sentinel.reference.ledger.domain.simulator.calendar import MoneyCalendar
from sentinel.reference.ledger.domain.simulator.events import Effect, Event, EventKind, Moved
from sentinel.reference.ledger.domain.simulator.fleet import TENANTS, Stream, Tenant, fleet
from sentinel.reference.ledger.domain.simulator.holidays import holidays_of
from sentinel.reference.ledger.domain.simulator.plan import PlanSettings, plan_events
from sentinel.reference.ledger.domain.simulator.windows import (
    SIGNALS,
    Piece,
    StreamWindows,
    World,
    simulate_stream,
)

__all__ = [
    "SIGNALS",
    "TENANTS",
    "Effect",
    "Event",
    "EventKind",
    "MoneyCalendar",
    "Moved",
    "Piece",
    "PlanSettings",
    "Stream",
    "StreamWindows",
    "Tenant",
    "World",
    "fleet",
    "holidays_of",
    "plan_events",
    "simulate_stream",
]
