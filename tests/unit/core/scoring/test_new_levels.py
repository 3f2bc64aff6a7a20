"""Goal: a true new level is expected once a person says so or it has lasted, which is told; an outage is not forgotten.

Method: one series with noise about its level in windows of a minute, decided as when live; the profile stays the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.decide import (
    Decision,
    DecisionSettings,
    DecisionState,
    decide,
    new_decision_state,
)
from sentinel.core.model import (
    Acceptance,
    Incident,
    Kind,
    PageReason,
    Resolution,
    Transition,
    TransitionKind,
    WindowBlock,
)
from tests.support.detector_blocks import START_NS, flat_profile, names

MINUTE_NS = 60_000_000_000
DAY = 1440
SETTINGS = DecisionSettings()
USUAL = {Kind.TRAFFIC: 40.0, Kind.ERRORS: 0.02, Kind.LATENCY: 0.08, Kind.GAUGE: 0.0}
"""The gauge stands still."""
SERIES = {Kind.TRAFFIC: 1, Kind.ERRORS: 2, Kind.LATENCY: 3, Kind.GAUGE: 4}
_LIVED: dict[tuple[object, ...], bytes] = {}


class Story:
    """A series from its first calm day on; minutes come one after the other."""

    def __init__(
        self, kind: Kind, settings: DecisionSettings = SETTINGS, *, calm: bool = True
    ) -> None:
        """Begin after two ordinary days, or without them."""
        self.kind, self.settings = kind, settings
        self.state = new_decision_state(step_ns=MINUTE_NS, settings=settings)
        self.at = 0
        self.decision: Decision
        self.transitions: list[Transition] = []
        self.profile = flat_profile(self.block(1, USUAL[kind]), days=20)
        if kind is Kind.GAUGE:
            self.profile = replace(self.profile, grid=np.zeros_like(self.profile.grid))
        if calm:
            self.state = DecisionState.from_bytes(after_two_days(kind, settings))
            self.at = 2 * DAY

    def block(self, count: int, level: float) -> WindowBlock:
        """Windows from the present on."""
        rng = np.random.default_rng([self.at, int(self.kind)])
        value = (level * (1 + 0.05 * rng.standard_normal((count, 1)))).astype(np.float32)
        return WindowBlock(
            start_ns=START_NS + self.at * MINUTE_NS,
            step_ns=MINUTE_NS,
            series=np.array([SERIES[self.kind]]),
            kind=np.array([self.kind], np.int8),
            value=np.minimum(value, np.float32(1)) if self.kind is Kind.ERRORS else value,
            weight=np.full(value.shape, 500, np.float32),
            heard=np.ones(value.shape, np.bool_),
        )

    def minutes(
        self, count: int, level: float | None = None, *, accepted: Sequence[Acceptance] = ()
    ) -> list[Transition]:
        """So many minutes at a level, its own where none is given; what happened in them."""
        block = self.block(count, USUAL[self.kind] if level is None else level)
        self.decision = decide(
            self.state,
            block,
            profile=self.profile,
            keys=names(4),
            settings=self.settings,
            accepted=accepted,
        )
        self.state = self.decision.state
        self.at += count
        self.transitions += self.decision.transitions
        return list(self.decision.transitions)

    def opened(self) -> Incident:
        """The only incident that is open."""
        (entry,) = self.state.tracker.entries
        return entry.incident


def after_two_days(kind: Kind, settings: DecisionSettings) -> bytes:
    """The state after two ordinary days, in which nothing happened.

    Days decided minute by minute are what these tests cost. A state that was written and read goes on to the same bits, which is
    a law of its own, so that they are lived once.
    """
    past = (kind, repr(settings))
    if past not in _LIVED:
        story = Story(kind, settings, calm=False)
        assert story.minutes(2 * DAY) == []
        _LIVED[past] = story.state.to_bytes()
    return _LIVED[past]


def kinds(transitions: Sequence[Transition]) -> list[str]:
    """What happened, without reminders and worsenings."""
    plain = {TransitionKind.OPENED, TransitionKind.RESOLVED}
    return [change.kind.value for change in transitions if change.kind in plain]


@pytest.mark.parametrize(
    ("kind", "level", "told"),
    [
        (Kind.TRAFFIC, 22.0, ("40", "22")),
        (Kind.TRAFFIC, 90.0, ("40", "90")),
        (Kind.LATENCY, 0.3, ("79.9 ms", "")),
        (Kind.ERRORS, 0.3, ("1.99", "29.6 %")),
    ],
)
def test_what_a_person_accepts_is_expected_from_the_next_window_on(
    kind: Kind, level: float, told: tuple[str, str]
) -> None:
    story = Story(kind)
    assert kinds(story.minutes(45, level)) == ["opened"]
    incident = story.opened()
    word = Acceptance(incident_id=incident.incident_id, by="alice")
    (change,) = story.minutes(1, level, accepted=[word])
    assert change.incident.resolution is Resolution.ACCEPTED
    assert (change.incident.accepted_by, change.incident.accepted_ns) == ("alice", change.at_ns)
    (page,) = story.decision.pages
    assert page.reason is PageReason.RESOLVED
    assert "accepted as the new level by alice after 46 min" in page.annotations["summary"]
    before, after = change.incident.settled.split(" -> ")
    assert before.startswith(told[0])
    assert after.startswith(told[1])
    assert kinds(story.minutes(DAY, level)) == []
    # Something else than that is strange all the same.
    assert kinds(story.minutes(10, 2.5 * level)) == ["opened"]


@pytest.mark.parametrize(("kind", "level"), [(Kind.TRAFFIC, 22.0), (Kind.LATENCY, 0.3)])
def test_what_lasts_for_a_day_is_adopted_and_that_is_told(kind: Kind, level: float) -> None:
    """It followed in silence after a day, and the incident ended as if things had come back to normal."""
    story = Story(kind)
    changes = story.minutes(DAY + 60, level)
    assert kinds(changes) == ["opened", "resolved"]
    resolved = changes[-1]
    assert resolved.incident.resolution is Resolution.ADOPTED
    assert resolved.incident.accepted_ns is None
    assert resolved.at_ns - resolved.incident.opened_ns == DAY * MINUTE_NS
    page = story.decision.pages[-1]
    assert "adopted as the new level after 24 h" in page.annotations["summary"]
    assert resolved.incident.settled in page.annotations["summary"]
    assert "Nobody said that it is normal" in page.annotations["description"]
    assert kinds(story.minutes(DAY, level)) == []


@pytest.mark.parametrize("level", [100.0, 1e9, 1e15])
def test_a_gauge_that_stood_still_is_judged_at_its_new_level_too(level: float) -> None:
    """There was no spread that could be multiplied.

    At 100 all but nothing lay inside the band for two days; at 1e9 nothing times infinity became the scale, and the series
    was not judged for two weeks.
    """
    story = Story(Kind.GAUGE)
    assert kinds(story.minutes(DAY + 60, level)) == ["opened", "resolved"]
    assert kinds(story.minutes(2 * DAY, level)) == []
    scores = story.decision.verdicts.score
    assert np.isfinite(scores).all()
    assert float(np.mean(scores >= 1)) < 0.01
    assert kinds(story.minutes(10, 3 * level)) == ["opened"]


@pytest.mark.parametrize(
    ("kind", "level"), [(Kind.TRAFFIC, 22.0), (Kind.TRAFFIC, 90.0), (Kind.LATENCY, 0.3)]
)
def test_the_way_back_from_an_adopted_level_is_no_incident(kind: Kind, level: float) -> None:
    story = Story(kind)
    story.minutes(DAY + 600, level)
    assert kinds(story.minutes(DAY)) == []


def test_an_outage_that_was_adopted_pages_again_when_it_comes_back() -> None:
    story = Story(Kind.TRAFFIC)
    story.minutes(DAY + 600, 0.0)
    assert kinds(story.transitions) == ["opened", "resolved"]
    assert kinds(story.minutes(360)) == []
    again = story.minutes(5, 0.0)
    assert kinds(again) == ["opened"]
    assert again[0].at_ns == START_NS + (2 * DAY + DAY + 600 + 360 + 2) * MINUTE_NS


@pytest.mark.parametrize(
    ("kind", "level"), [(Kind.TRAFFIC, 10.0), (Kind.LATENCY, 0.5), (Kind.ERRORS, 0.3)]
)
def test_a_fault_that_was_adopted_pages_again_when_it_comes_back(kind: Kind, level: float) -> None:
    story = Story(kind)
    story.minutes(DAY + 600, level)
    assert kinds(story.transitions) == ["opened", "resolved"]
    assert kinds(story.minutes(720)) == []
    again = story.minutes(10, level)
    assert kinds(again) == ["opened"]
    assert again[0].at_ns <= START_NS + (2 * DAY + DAY + 600 + 720 + 3) * MINUTE_NS


def test_a_broken_limit_is_nothing_to_get_used_to_save_by_a_persons_word() -> None:
    story = Story(Kind.ERRORS)
    story.minutes(3 * DAY, 0.8)
    assert kinds(story.transitions) == ["opened"]
    word = Acceptance(incident_id=story.opened().incident_id, by="alice")
    story.minutes(1, 0.8, accepted=[word])
    assert kinds(story.minutes(DAY, 0.8)) == []
    # Below the limit for once, and it holds again.
    story.minutes(60, 0.02)
    assert kinds(story.minutes(10, 0.8)) == ["opened"]


def test_a_stop_that_a_person_accepts_is_none_until_there_are_calls_again() -> None:
    story = Story(Kind.TRAFFIC)
    story.minutes(30, 0.0)
    word = Acceptance(incident_id=story.opened().incident_id, by="alice")
    story.minutes(1, 0.0, accepted=[word])
    assert kinds(story.transitions) == ["opened", "resolved"]
    assert kinds(story.minutes(2 * DAY, 0.0)) == []
    assert kinds(story.minutes(360)) == []
    assert kinds(story.minutes(5, 0.0)) == ["opened"]


def test_a_word_on_no_open_incident_changes_nothing() -> None:
    story, other = Story(Kind.TRAFFIC), Story(Kind.TRAFFIC)
    word = Acceptance(incident_id="inc-0", by="alice")
    assert story.minutes(60, 22.0, accepted=[word]) == other.minutes(60, 22.0)
    assert story.state.to_bytes() == other.state.to_bytes()


@pytest.mark.parametrize("piece", [1, 7, 60])
def test_any_split_settles_in_the_same_window(piece: int) -> None:
    settings = replace(
        SETTINGS, incidents=replace(SETTINGS.incidents, adopt_after_ns=90 * MINUTE_NS)
    )
    whole, split = Story(Kind.LATENCY, settings), Story(Kind.LATENCY, settings)
    block = whole.block(240, 0.3)
    found = decide(whole.state, block, profile=whole.profile, keys=names(4), settings=settings)
    state = split.state
    transitions: list[Transition] = []
    for first in range(0, 240, piece):
        part = block.windows(first, min(first + piece, 240))
        decision = decide(
            DecisionState.from_bytes(state.to_bytes()),
            part,
            profile=split.profile,
            keys=names(4),
            settings=settings,
        )
        state = decision.state
        transitions += decision.transitions
    assert kinds(transitions) == ["opened", "resolved"]
    assert transitions == list(found.transitions)
    assert state.to_bytes() == found.state.to_bytes()
