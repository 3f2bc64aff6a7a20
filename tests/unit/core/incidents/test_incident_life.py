"""The life of an incident: opening, joining, worsening, reminding, resolving, and the cap on pages.

Guards are left out, so that scores alone decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.incidents import (
    GuardSettings,
    IncidentSettings,
    Tracked,
    TrackerState,
    from_bytes,
    to_bytes,
    track,
)
from sentinel.core.model import Exemplar, Incident, SeriesKey, Severity, TransitionKind
from tests.support.incident_blocks import NAN, START_NS, STEP_NS, block_of, verdicts_of

EDGE = SeriesKey("pay", "edge", "POST /x", "latency")
DATABASE = SeriesKey("pay", "database", "UPDATE a", "latency")
TRAFFIC = SeriesKey("pay", "edge", "POST /x", "traffic")
QUEUE = SeriesKey("pay", "queue", "orders", "pending")
FX = SeriesKey("fx", "edge", "GET /y", "latency")
NO_GUARDS = GuardSettings(enabled=False)
SETTINGS = IncidentSettings(hold_ns=0, hold_window_count=3, guards=NO_GUARDS)
MINUTE_NS = 60_000_000_000


def told(
    keys: Mapping[int, SeriesKey],
    scores: Sequence[Sequence[float]],
    *,
    settings: IncidentSettings = SETTINGS,
    direction: int = 1,
    heard: Sequence[Sequence[bool]] | None = None,
) -> Tracked:
    value = 2.0 if direction > 0 else 0.2
    block = block_of(keys, [[value] * len(keys)] * len(scores), heard=heard)
    return track(
        TrackerState(), block, verdicts_of(block, scores, direction=direction), keys, settings
    )


def reasons(tracked: Tracked) -> list[str]:
    return [page.reason.value for page in tracked.pages]


def test_a_value_that_flaps_is_one_incident_and_two_pages() -> None:
    scores = [[1.2], [0.2]] * 10 + [[0.2]] * 3
    tracked = told({1: EDGE}, scores)
    assert reasons(tracked) == ["opened", "resolved"]
    assert {page.labels["alertname"] for page in tracked.pages} == {"SentinelAnomaly"}
    assert tracked.pages[1].ends_ns == START_NS + 22 * STEP_NS
    assert tracked.state.entries == ()


def test_the_cut_is_one_and_unknown_is_not_strange() -> None:
    assert told({1: EDGE}, [[0.9999], [NAN]]).pages == ()
    assert reasons(told({1: EDGE}, [[1.0]])) == ["opened"]


@pytest.mark.parametrize(("horizon_s", "when"), [(0, ""), (300, " at its end")])
def test_the_quantile_beside_the_mean_of_a_horizon_is_told_as_that_of_its_end(
    horizon_s: int, when: str
) -> None:
    """After a fault "40 % on the mean of 5 min; 95th percentile 73 ms, usually 72 ms" was said of minutes with calls of 2 s."""
    keys = {1: EDGE, 2: EDGE._replace(signal="slow_calls")}
    block = block_of(keys, [[0.073, 0.4]])
    verdicts = replace(
        verdicts_of(block, [[NAN, 1.5]]), horizon_s=np.full((1, 2), horizon_s, np.int16)
    )
    usual = np.array([[0.072, 0.01]])
    (page,) = track(TrackerState(), block, verdicts, keys, SETTINGS, usual=usual).pages
    assert f"; 95th percentile 73 ms{when}, usually 72 ms, since" in page.annotations["summary"]


def test_quiet_for_less_than_the_hold_keeps_it_open_and_frozen() -> None:
    tracked = told({1: EDGE, 2: FX}, [[1.5, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert reasons(tracked) == ["opened"]
    assert tracked.frozen.tolist() == [True, False]
    resolved = told({1: EDGE, 2: FX}, [[1.5, 0.0]] + [[0.0, 0.0]] * 3)
    assert resolved.frozen.tolist() == [False, False]


def test_one_service_is_one_incident_and_another_is_another() -> None:
    tracked = told({1: EDGE, 2: DATABASE, 3: FX}, [[1.5, 2.0, 1.1]])
    assert [page.labels["service"] for page in tracked.pages] != ["pay", "pay"]
    assert sorted(page.labels["service"] for page in tracked.pages) == ["fx", "pay"]
    pay = next(t.incident for t in tracked.transitions if t.incident.group == "pay")
    assert [member.series_id for member in pay.members] == [2, 1]


def test_gauges_alone_are_a_ticket_and_a_symptom_opens_a_page_beside_it() -> None:
    tracked = told({1: EDGE, 2: QUEUE}, [[0.0, 2.0], [2.0, 2.0]])
    assert [page.labels["severity"] for page in tracked.pages] == ["ticket", "page"]
    together = told({1: EDGE, 2: QUEUE}, [[2.0, 2.0]])
    assert [page.labels["severity"] for page in together.pages] == ["page"]
    louder = replace(SETTINGS, gauge_severity=Severity.PAGE)
    assert told({2: QUEUE}, [[2.0]], settings=louder).pages[0].labels["severity"] == "page"


def test_a_new_stage_worsens_it_but_not_before_the_gap() -> None:
    settings = replace(SETTINGS, worsen_gap_ns=3 * STEP_NS)
    scores = [[1.5, 0.0]] + [[1.5, 1.5]] * 6
    tracked = told({1: EDGE, 2: DATABASE}, scores, settings=settings)
    assert reasons(tracked) == ["opened", "worsened"]
    kinds = [transition.kind for transition in tracked.transitions]
    assert kinds == [TransitionKind.OPENED, TransitionKind.JOINED, TransitionKind.WORSENED]
    assert tracked.transitions[2].at_ns == START_NS + 4 * STEP_NS
    assert tracked.pages[0].labels == tracked.pages[1].labels


def test_twice_the_score_worsens_it_and_zero_turns_that_off() -> None:
    settings = replace(SETTINGS, worsen_gap_ns=0)
    scores = [[1.5], [2.9], [3.0], [3.1]]
    assert reasons(told({1: EDGE}, scores, settings=settings)) == ["opened", "worsened"]
    off = replace(settings, worsen_score_ratio=0.0)
    assert reasons(told({1: EDGE}, scores, settings=off)) == ["opened"]


def test_reminders_come_ever_later_and_only_while_it_is_strange() -> None:
    settings = replace(SETTINGS, reminder_ns=0, reminder_window_count=4, hold_window_count=50)
    tracked = told({1: EDGE}, [[1.5]] * 40, settings=settings)
    at = [t.at_ns for t in tracked.transitions if t.kind is TransitionKind.REMINDED]
    assert [(ns - START_NS) // STEP_NS for ns in at] == [5, 17]
    silent = told({1: EDGE}, [[1.5]] + [[0.0]] * 40, settings=settings)
    assert reasons(silent) == ["opened"]


def test_a_fall_of_traffic_waits_until_its_source_is_heard_again() -> None:
    """A source that died inside a window looked like a fall of traffic, and paged."""
    died = told(
        {1: TRAFFIC},
        [[0.0], [2.0], [NAN], [NAN]],
        direction=-1,
        heard=[[True], [True], [False], [False]],
    )
    assert died.pages == ()
    fell = told({1: TRAFFIC}, [[0.0], [2.0], [0.5]], direction=-1)
    assert reasons(fell) == ["opened"]
    assert fell.pages[0].starts_ns == START_NS + STEP_NS
    assert fell.transitions[0].at_ns == START_NS + 3 * STEP_NS
    at_once = replace(SETTINGS, confirm_drops=False)
    assert reasons(told({1: TRAFFIC}, [[2.0]], direction=-1, settings=at_once)) == ["opened"]


HEARING = replace(
    SETTINGS,
    hold_window_count=30,
    guards=GuardSettings(blind_heard_ns=10**18, stopped_after_ns=10**18),
)


def after_silence(windows: Sequence[tuple[float, float]]) -> list[str]:
    """Reasons of the pages about traffic that is low where its score is high; NaN where its source is not heard.

    Each window is a value, whose band is 0.5 to 1.5, and a score.
    """
    keys = {1: TRAFFIC}
    block = block_of(
        keys,
        [[value] for value, _ in windows],
        heard=[[value == value] for value, _ in windows],  # NaN is not itself
    )
    verdicts = verdicts_of(block, [[score] for _, score in windows], direction=-1)
    return reasons(track(TrackerState(), block, verdicts, keys, HEARING))


USUAL, SILENT, ZERO, PART = (1.0, 0.0), (NAN, NAN), (0.0, 2.0), (0.7, 1.2)
FOLLOWED = (0.0, 0.4)
"""Still no calls, and the band has followed them down."""


def test_a_source_that_comes_back_is_not_low() -> None:
    """Back in a window that was about to close, it counted as heard there without a call: a page of "no calls".

    The window after it was seen in part only, and looked like a fall too.
    """
    assert after_silence([USUAL, SILENT, ZERO, PART, USUAL, USUAL]) == []
    assert after_silence([USUAL, SILENT, ZERO, USUAL, USUAL]) == []


def test_a_source_that_comes_back_and_stays_low_pages_in_the_third_window() -> None:
    assert after_silence([USUAL, SILENT, ZERO, FOLLOWED, FOLLOWED]) == ["opened"]
    assert after_silence([USUAL, SILENT, ZERO, ZERO, ZERO]) == ["opened"]
    assert after_silence([USUAL, SILENT, ZERO, ZERO]) == []


def test_a_fall_that_waits_is_not_forgotten_in_short_silences_but_in_long_ones() -> None:
    """A source whose calls stopped, heard once a minute by its metrics, must still page."""
    sparse = [SILENT] * 4 + [ZERO, FOLLOWED]
    assert after_silence([USUAL, *sparse, *sparse]) == ["opened"]
    assert after_silence([USUAL, *sparse, *[SILENT] * 40, FOLLOWED, FOLLOWED]) == []


def test_a_storm_is_capped_and_what_is_held_is_listed_and_pages_in_turn() -> None:
    keys = {at: SeriesKey(f"s{at:02}", "edge", "GET /", "latency") for at in range(1, 9)}
    settings = replace(SETTINGS, page_count_max_per_minute=3, hold_window_count=30)
    tracked = told(keys, [[1.5] * 8] + [[1.1] * 8] * 20, settings=settings)
    first = [page for page in tracked.pages if page.labels["alertname"] == "SentinelAnomaly"]
    storm = [page for page in tracked.pages if page.labels["alertname"] == "SentinelStorm"]
    assert len({page.incident_id for page in first}) == 8
    assert [page.reason for page in storm] == ["opened", "resolved"]
    assert storm[0].annotations["summary"].startswith("5 incidents opened faster than 3 pages")
    held = [page.labels["service"] for page in first[3:]]
    assert all(service in storm[0].annotations["description"] for service in held)
    assert tracked.pages.index(storm[0]) == 3
    assert tracked.state.storm.raging is False


def test_held_incidents_that_end_before_their_turn_were_told_of() -> None:
    keys = {at: SeriesKey(f"s{at:02}", "edge", "GET /", "latency") for at in range(1, 6)}
    settings = replace(SETTINGS, page_count_max_per_minute=1)
    tracked = told(keys, [[1.5] * 5] + [[0.0] * 5] * 3, settings=settings)
    alerts = [(page.labels["alertname"], page.reason.value) for page in tracked.pages]
    assert alerts == [
        ("SentinelAnomaly", "opened"),
        ("SentinelStorm", "opened"),
        ("SentinelAnomaly", "resolved"),
        ("SentinelStorm", "resolved"),
    ]
    ended = [t for t in tracked.transitions if t.kind is TransitionKind.RESOLVED]
    assert len(ended) == 5


def test_evidence_is_asked_for_when_it_pages_and_kept() -> None:
    asked: list[tuple[str, int]] = []

    def attach(
        incident: Incident, open_incidents: Sequence[Incident], *, at_ns: int, step_ns: int
    ) -> Incident:
        asked.append((incident.group, len(open_incidents)))
        trace = Exemplar(trace_id="ab" * 16, key=EDGE, time_ns=at_ns, duration_s=2.5, error=False)
        return replace(incident, exemplars=(trace,))

    keys = {1: EDGE, 2: FX}
    block = block_of(keys, [[2.0, 2.0]] * 5)
    scores = [[1.5, 1.2]] + [[0.0, 0.0]] * 4
    tracked = track(
        TrackerState(), block, verdicts_of(block, scores), keys, SETTINGS, attach=attach
    )
    assert asked == [("fx", 2), ("pay", 2)] or asked == [("pay", 2), ("fx", 2)]
    assert all("ab" * 16 in page.annotations["traces"] for page in tracked.pages)
    assert len(tracked.pages) == 4


def test_state_that_is_not_ours_is_refused() -> None:
    for payload in (b"", b"{}", b'{"format":99}', b"[1]", b"\xff"):
        with pytest.raises(ValueError, match=r"incident state|Expecting|codec"):
            from_bytes(payload)


def test_a_series_that_joins_the_block_starts_afresh_and_the_others_go_on() -> None:
    first = told({2: EDGE}, [[1.5]])
    keys = {1: FX, 2: EDGE, 3: DATABASE}
    block = block_of(keys, [[1.0] * 3], start_ns=START_NS + STEP_NS)
    state = from_bytes(to_bytes(first.state))
    tracked = track(state, block, verdicts_of(block, 0.1), keys, SETTINGS)
    assert tracked.frozen.tolist() == [False, True, False]
    assert tracked.pages == ()


def test_ten_thousand_quiet_series_make_no_objects() -> None:
    keys = {at: SeriesKey(f"s{at % 40}", "edge", f"r{at}", "latency") for at in range(10_000)}
    block = block_of(keys, [[0.1] * 10_000])
    tracked = track(TrackerState(), block, verdicts_of(block, 0.5), keys, IncidentSettings())
    assert tracked.transitions == ()
    assert not tracked.frozen.any()
    again = track(tracked.state, block, verdicts_of(block, 0.5), keys, IncidentSettings())
    assert again.state.layout is tracked.state.layout
    assert np.array_equal(again.state.series, block.series)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hold_window_count": 0},
        {"reminder_growth": 0},
        {"page_count_max_per_minute": 0},
        {"members_max": 0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        IncidentSettings(**wrong)  # type: ignore[arg-type]
