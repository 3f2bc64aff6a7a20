"""Goal: who reads the log sees each incident open and resolve, and a storm does not fill it.

Method: decisions made by hand, the records that the logger got.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, cast

import pytest

from sentinel.core.decide import Decision
from sentinel.core.incidents import TrackerState, page_of, track
from sentinel.core.incidents.settings import IncidentSettings
from sentinel.core.model import PageReason, SeriesKey, Transition, TransitionKind
from sentinel.pipeline.incident_log import IncidentLog
from sentinel.runtime.component import Surroundings
from sentinel.runtime.metrics import Metrics
from tests.support.clock import ManualClock
from tests.support.incident_blocks import NAN, block_of, verdicts_of

KEYS = {1: SeriesKey("pay", "edge", "POST /x", "errors")}
SETTINGS = IncidentSettings(hold_ns=0)


def decisions(*, is_paged: bool = True) -> list[Decision]:
    """An incident that opens, and its resolve."""
    block = block_of(KEYS, [[0.9]] * 2 + [[0.0]] * 4)
    tracked = track(TrackerState(), block, verdicts_of(block, NAN), KEYS, SETTINGS)
    nothing = cast("Any", None)
    return [
        Decision(
            state=nothing,
            verdicts=nothing,
            horizons=nothing,
            transitions=(transition,),
            pages=tuple(page for page in tracked.pages if page.reason == reason)
            if is_paged
            else (),
        )
        for transition, reason in zip(
            tracked.transitions, (PageReason.OPENED, PageReason.RESOLVED), strict=True
        )
    ]


def log_and_clock() -> tuple[IncidentLog, ManualClock]:
    clock = ManualClock()
    logger = logging.getLogger("sentinel.tests.incident_log")
    return IncidentLog(Surroundings(clock=clock, metrics=Metrics(()), logger=logger)), clock


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="sentinel.tests.incident_log")


def test_an_incident_leaves_a_line_as_it_opens_and_one_as_it_resolves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log, _ = log_and_clock()
    for decision in decisions():
        log.note(decision)
    opened, resolved = (record.__dict__ for record in caplog.records)
    assert (opened["message"], resolved["message"]) == ("Incident opened", "Incident resolved")
    assert opened["incident"] == resolved["incident"]
    assert opened["service"] == "pay"
    assert opened["kind"] == "guard"
    assert (opened["value"], opened["expected"]) == ("90 %", "unknown")
    assert opened["page"] == resolved["page"] == "made"


def test_a_page_that_is_held_says_why(caplog: pytest.LogCaptureFixture) -> None:
    log, _ = log_and_clock()
    for decision in decisions(is_paged=False):
        log.note(decision)
    assert [record.__dict__["page"].split(":")[0] for record in caplog.records] == ["held", "none"]


def test_a_storm_writes_twenty_lines_a_minute_and_how_many_it_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log, clock = log_and_clock()
    opened = decisions()[0]
    incident = opened.transitions[0].incident
    many = tuple(
        Transition(
            kind=TransitionKind.OPENED,
            at_ns=0,
            incident=replace(incident, incident_id=f"{number:016x}"),
        )
        for number in range(50)
    )
    pages = (
        page_of(incident, reason=PageReason.OPENED, sequence=0, member_count=1, settings=SETTINGS),
    )
    log.note(replace(opened, transitions=many, pages=pages))
    assert len(caplog.records) == 20
    clock._monotonic_s += 61.0
    log.note(replace(opened, transitions=(), pages=()))
    assert caplog.records[-1].__dict__["count"] == 30
