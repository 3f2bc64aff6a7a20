"""Goal: who tells of many services and is not reached costs one ticket, and each other source is told of by itself.

Method: blocks by hand in which cells say that nobody could be asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.core.incidents import IncidentSettings, Tracked, TrackerState, track
from sentinel.core.model import UNREACHED_WEIGHT, SeriesKey
from tests.support.incident_blocks import NAN, block_of, verdicts_of

MINUTE_NS = 60_000_000_000
START_NS = 1_790_000_040_000_000_000
SETTINGS = IncidentSettings(hold_ns=0)
NAMES = ("billing", "carts", "ledger")
KEYS = {at: SeriesKey(name, "edge", "GET /", "traffic") for at, name in enumerate(NAMES)}

HEARD, SILENT, UNREACHED = (5.0, 100.0, True), (NAN, 0.0, False), (NAN, UNREACHED_WEIGHT, False)
Cell = tuple[float, float, bool]


def told(*rows: Sequence[Cell], step_ns: int = MINUTE_NS) -> Tracked:
    block = block_of(
        KEYS,
        [[value for value, _, _ in row] for row in rows],
        weight=[[weight for _, weight, _ in row] for row in rows],
        heard=[[heard for _, _, heard in row] for row in rows],
        start_ns=START_NS,
        step_ns=step_ns,
    )
    return track(TrackerState(), block, verdicts_of(block, NAN), KEYS, SETTINGS)


def pages(tracked: Tracked) -> list[tuple[str, str]]:
    return [(page.labels["service"], page.reason) for page in tracked.pages]


def test_services_behind_a_source_that_is_away_share_a_ticket() -> None:
    usual = [[HEARD] * 3] * 8
    away = [[UNREACHED, UNREACHED, HEARD]] * 4
    back = [[HEARD] * 3] * 5
    tracked = told(*usual, *away, *back)
    assert pages(tracked) == [
        ("(all behind one source)", "opened"),
        ("(all behind one source)", "resolved"),
    ]
    assert {page.labels["alertname"] for page in tracked.pages} == {"SentinelBlind"}


def test_a_service_that_is_silent_by_itself_has_its_own_ticket() -> None:
    usual = [[HEARD] * 3] * 8
    tracked = told(*usual, *[[SILENT, HEARD, HEARD]] * 4)
    assert pages(tracked) == [("billing", "opened")]


def test_a_service_that_stays_away_when_the_source_is_back_is_told_of() -> None:
    usual = [[HEARD] * 3] * 8
    away = [[UNREACHED, UNREACHED, HEARD]] * 4
    tracked = told(*usual, *away, *[[HEARD, SILENT, HEARD]] * 6)
    assert pages(tracked) == [
        ("(all behind one source)", "opened"),
        ("carts", "opened"),
        ("(all behind one source)", "resolved"),
    ] or pages(tracked) == [
        ("(all behind one source)", "opened"),
        ("(all behind one source)", "resolved"),
        ("carts", "opened"),
    ]


def test_one_window_alone_is_no_silence_however_wide() -> None:
    usual = [[HEARD] * 3] * 8
    tracked = told(*usual, [UNREACHED] * 3, *usual)
    assert pages(tracked) == []


def test_all_sources_away_are_one_ticket() -> None:
    tracked = told(*[[HEARD] * 3] * 8, *[[UNREACHED] * 3] * 4)
    assert pages(tracked) == [("(all sources)", "opened")]
