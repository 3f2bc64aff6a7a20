"""Static guards on an empty store: which windows trip them, and which must not, told window by window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from sentinel.core.incidents import (
    GuardSettings,
    IncidentSettings,
    Tracked,
    TrackerState,
    track,
)
from sentinel.core.model import IncidentKind, Page, SeriesKey, Severity, TransitionKind
from tests.support.incident_blocks import NAN, START_NS, STEP_NS, block_of, verdicts_of

TRAFFIC = SeriesKey("pay", "edge", "POST /x", "traffic")
ERRORS = SeriesKey("pay", "edge", "POST /x", "errors")
LATENCY = SeriesKey("pay", "edge", "POST /x", "latency")
OTHER = SeriesKey("fx", "edge", "GET /y", "traffic")
SETTINGS = IncidentSettings(hold_ns=0)


def told(
    key: SeriesKey,
    values: Sequence[float],
    *,
    calls: Sequence[float] | float = 100.0,
    heard: Sequence[bool] | None = None,
    settings: IncidentSettings = SETTINGS,
) -> Tracked:
    """What one series' windows led to, with no baseline at all."""
    weights = [calls] * len(values) if isinstance(calls, float) else calls
    block = block_of(
        {1: key},
        [[value] for value in values],
        weight=[[weight] for weight in weights],
        heard=None if heard is None else [[is_heard] for is_heard in heard],
    )
    return track(TrackerState(), block, verdicts_of(block, NAN), {1: key}, settings)


def first_page(tracked: Tracked) -> Page | None:
    return tracked.pages[0] if tracked.pages else None


def test_half_of_the_calls_failing_pages_after_two_windows() -> None:
    tracked = told(ERRORS, [0.0, 0.5, 0.9, 0.9], calls=20.0)
    page = first_page(tracked)
    assert page is not None
    assert page.labels["alertname"] == "SentinelGuard"
    assert page.labels["severity"] == "page"
    assert page.starts_ns == START_NS + STEP_NS
    assert tracked.transitions[0].at_ns == START_NS + 3 * STEP_NS
    assert "static guard: at least 50 % of the calls fail" in page.annotations["summary"]


@pytest.mark.parametrize(
    ("values", "calls"),
    [
        ([0.9, 0.0, 0.9, 0.0], 100.0),
        ([0.49] * 10, 100.0),
        ([0.5, 0.5], 2.0),
        ([0.9] + [NAN] * 60 + [0.9], 100.0),
    ],
    ids=["one window at a time", "under the limit", "one of two fails", "hours apart"],
)
def test_too_little_failing_does_not_page(values: list[float], calls: float) -> None:
    assert told(ERRORS, values, calls=calls).pages == ()


def test_few_calls_that_all_fail_page_once_ten_have_failed() -> None:
    values = [1.0, 1.0, NAN, 1.0, 1.0, 1.0]
    tracked = told(ERRORS, values, calls=[2.0, 2.0, 0.0, 2.0, 2.0, 2.0])
    assert tracked.transitions[0].at_ns == START_NS + 6 * STEP_NS
    assert len(tracked.pages) == 1


def test_slow_calls_page_after_three_windows() -> None:
    assert told(LATENCY, [6.0, 6.0]).pages == ()
    assert len(told(LATENCY, [6.0, 6.0, 6.0]).pages) == 1
    assert told(LATENCY, [4.9] * 10).pages == ()
    assert told(LATENCY, [6.0, 6.0, 6.0], calls=2.0).pages == ()


def test_traffic_that_stops_pages_after_a_minute_though_nothing_was_learnt() -> None:
    tracked = told(TRAFFIC, [5.0] * 30 + [0.0] * 6)
    page = first_page(tracked)
    assert page is not None
    assert page.starts_ns == START_NS + 30 * STEP_NS
    assert "no calls at edge POST /x" in page.annotations["summary"]


@pytest.mark.parametrize(
    "values",
    [
        [5.0] * 29 + [0.0] * 20,
        [5.0] * 30 + [0.0] * 5 + [5.0],
        [0.5] * 60 + [0.0] * 20,
        [5.0] * 30 + [0.5] + [0.0] * 20,
    ],
    ids=["not long enough busy", "not long enough silent", "never busy", "faded out"],
)
def test_traffic_that_may_be_silent_does_not_page(values: list[float]) -> None:
    assert told(TRAFFIC, values).pages == ()


def test_a_source_that_is_not_heard_is_one_blind_ticket_and_nothing_else() -> None:
    """An exporter that was killed looked like traffic that had stopped: a page for nothing, and a wrong one."""
    values = [5.0] * 30 + [NAN] * 12 + [5.0] * 12
    heard = [True] * 30 + [False] * 12 + [True] * 12
    tracked = told(TRAFFIC, values, heard=heard)
    assert [page.labels["alertname"] for page in tracked.pages] == ["SentinelBlind"] * 2
    assert {page.labels["severity"] for page in tracked.pages} == {"ticket"}
    opened, over = tracked.pages
    assert opened.starts_ns == START_NS + 30 * STEP_NS
    assert tracked.transitions[0].at_ns == START_NS + 36 * STEP_NS
    assert over.ends_ns == START_NS + 48 * STEP_NS


@pytest.mark.parametrize("step_s", [1, 5, 10, 30, 60, 3600])
def test_a_source_is_blind_whatever_the_width_of_windows(step_s: int) -> None:
    """With windows of a second no source was ever blind: "never late" was multiplied beyond 64 bits, and below 0."""
    settings = IncidentSettings(
        guards=GuardSettings(blind_after_ns=2 * step_s * 10**9, blind_heard_ns=3 * step_s * 10**9)
    )
    values = [[value] for value in [5.0] * 30 + [NAN] * 12]
    heard = [[is_heard] for is_heard in [True] * 30 + [False] * 12]
    block = block_of({1: TRAFFIC}, values, heard=heard)
    block = replace(block, start_ns=3600 * 10**9, step_ns=step_s * 10**9)
    tracked = track(TrackerState(), block, verdicts_of(block, NAN), {1: TRAFFIC}, settings)
    assert [page.labels["alertname"] for page in tracked.pages] == ["SentinelBlind"]


def test_an_open_incident_of_a_blind_source_is_not_resolved() -> None:
    values = [5.0] * 30 + [0.0] * 6 + [NAN] * 60
    heard = [True] * 36 + [False] * 60
    tracked = told(TRAFFIC, values, heard=heard)
    assert [page.labels["alertname"] for page in tracked.pages] == [
        "SentinelGuard",
        "SentinelBlind",
    ]
    assert len(tracked.state.entries) == 2
    assert TransitionKind.RESOLVED not in {one.kind for one in tracked.transitions}


def test_a_source_that_was_dropped_while_blind_stays_blind_for_a_day() -> None:
    """Series that are idle for long leave the block; that alone must not close what is open about them."""
    values = [5.0] * 30 + [0.0] * 6 + [NAN] * 12
    before = told(TRAFFIC, values, heard=[True] * 36 + [False] * 12)
    keys = {2: OTHER}
    block = block_of(keys, [[1.0]] * 100, start_ns=START_NS + 48 * STEP_NS)
    after = track(before.state, block, verdicts_of(block, NAN), keys, SETTINGS)
    assert after.pages == ()
    late = block_of(keys, [[1.0]] * 10, start_ns=START_NS + 9000 * STEP_NS)
    forgotten = track(after.state, late, verdicts_of(late, NAN), keys, SETTINGS)
    assert {page.reason for page in forgotten.pages} == {"resolved"}
    assert forgotten.state.entries == ()


def test_a_stop_of_the_sidecar_resolves_nothing_by_itself() -> None:
    """After a restart an hour later, the first quiet window would have resolved every open page."""
    before = told(ERRORS, [0.9] * 3)
    keys = {1: ERRORS}
    block = block_of(keys, [[0.0]] * 3, start_ns=START_NS + 360 * STEP_NS)
    first = track(
        before.state, block.windows(0, 2), verdicts_of(block.windows(0, 2), NAN), keys, SETTINGS
    )
    assert first.pages == ()
    second = track(
        first.state, block.windows(2, 3), verdicts_of(block.windows(2, 3), NAN), keys, SETTINGS
    )
    assert [page.reason for page in second.pages] == ["resolved"]


def test_a_source_heard_only_briefly_is_not_missed() -> None:
    heard = [True] * 29 + [False] * 30
    assert told(TRAFFIC, [5.0] * 29 + [NAN] * 30, heard=heard).pages == ()


def test_guards_can_be_left_out() -> None:
    off = IncidentSettings(guards=GuardSettings(enabled=False))
    assert told(ERRORS, [1.0] * 20, settings=off).pages == ()


def test_a_guard_joins_the_page_that_is_open() -> None:
    keys = {1: ERRORS, 2: LATENCY}
    block = block_of(keys, [[0.9, 1.0]] * 4)
    verdicts = verdicts_of(block, [[NAN, 3.0]] * 4)
    tracked = track(TrackerState(), block, verdicts, keys, SETTINGS)
    (entry,) = tracked.state.entries
    assert entry.incident.kind is IncidentKind.ANOMALY
    assert entry.incident.severity is Severity.PAGE
    assert sorted(entry.members) == [1, 2]
    opened, worse = tracked.pages
    assert (opened.reason, worse.reason) == ("opened", "worsened")
    assert opened.labels == worse.labels


@pytest.mark.parametrize(
    "wrong",
    [{"error_ratio": 0.0}, {"error_window_count": 0}, {"latency_s": 0.0}],
    ids=["ratio", "windows", "latency"],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must|needs"):
        GuardSettings(**wrong)  # type: ignore[arg-type]


def test_a_guard_that_breaks_inside_an_open_incident_pages_at_once() -> None:
    """More than half of the calls failed under an open page, and only its resolve told of it.

    The anomaly's own score had been higher before, so the guard neither worsened it nor was it what the page showed.
    """
    keys = {1: ERRORS}
    ratios = [[0.2]] * 3 + [[0.8]] * 6
    block = block_of(keys, ratios)
    verdicts = verdicts_of(block, [[9.0]] * 3 + [[2.0]] * 6)
    tracked = track(TrackerState(), block, verdicts, keys, SETTINGS)
    opened, worse = tracked.pages
    assert (opened.reason, worse.reason) == ("opened", "worsened")
    assert tracked.transitions[-1].at_ns == START_NS + 5 * STEP_NS
    assert "80 %" in worse.annotations["summary"]
    assert "Static guard: at least 50 % of the calls fail" in worse.annotations["description"]
    again = [page.reason for page in tracked.pages[2:]]
    assert again == []


def test_each_kind_of_guard_tells_once_and_other_series_under_it_wait_for_the_gap() -> None:
    keys = {1: ERRORS, 2: LATENCY, 3: ERRORS._replace(route="POST /y")}
    quiet = [0.0, 1.0, 0.0]
    rows = [[0.9, 1.0, 0.0]] * 3 + [[0.9, 6.0, 0.0]] * 4 + [[0.9, 6.0, 0.9]] * 4 + [quiet]
    block = block_of(keys, rows)
    tracked = track(TrackerState(), block, verdicts_of(block, NAN), keys, SETTINGS)
    assert [page.reason for page in tracked.pages] == ["opened", "worsened"]


def test_zeros_round_a_blind_stretch_are_not_one_run() -> None:
    """A source that died was zero for some windows, blind, and zero for some more as it came back: a page for nothing."""
    values = [5.0] * 30 + [0.0] * 4 + [NAN] * 12 + [0.0] * 4 + [5.0] * 12
    heard = [True] * 34 + [False] * 12 + [True] * 16
    tracked = told(TRAFFIC, values, heard=heard)
    assert {page.labels["alertname"] for page in tracked.pages} == {"SentinelBlind"}


def test_a_source_that_comes_back_has_five_minutes_until_its_calls_must_be_back() -> None:
    values = [5.0] * 30 + [NAN] * 12 + [0.0] * 30
    heard = [True] * 30 + [False] * 12 + [True] * 30
    assert "SentinelGuard" not in {
        page.labels["alertname"] for page in told(TRAFFIC, values[:-1], heard=heard[:-1]).pages
    }
    tracked = told(TRAFFIC, values, heard=heard)
    assert tracked.pages[-1].labels["alertname"] == "SentinelGuard"


def test_sparse_hearing_is_no_blindness_and_a_stop_still_pages() -> None:
    """A source without calls that reports every minute is heard in every sixth window."""
    heard = [True] * 30 + ([False] * 4 + [True] * 2) * 4
    values = [5.0] * 30 + ([NAN] * 4 + [0.0] * 2) * 4
    tracked = told(TRAFFIC, values, heard=heard)
    assert [page.labels["alertname"] for page in tracked.pages] == ["SentinelGuard"]
