"""Goal: what is recorded of a live process is read back to the bit, and a part of a fit judges as the whole does.

Method: settings, states and fits through bytes; parts of a profile over windows at their edges.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sentinel.core.baseline import BIN_NS, Profile
from sentinel.core.decide import DecisionSettings, decide, new_decision_state
from sentinel.core.incidents import GaugeGuard, GuardDirection, GuardSettings, IncidentSettings
from sentinel.core.model import (
    Exemplar,
    FirstMover,
    Incident,
    IncidentKind,
    IncidentState,
    LogLine,
    SeriesKey,
    SeriesPattern,
    Severity,
    WindowBlock,
)
from sentinel.core.scoring import Direction, ScoringSettings, SeriesRule
from sentinel.pipeline.deciding import Arguments, Result
from sentinel.pipeline.fit import Fit
from sentinel.pipeline.plain_settings import plain_settings, settings_of_plain
from sentinel.pipeline.recording import (
    FIT_PART_NS,
    STATE_EVERY_NS,
    Evidence,
    Recorder,
    read_fit,
    read_state,
)
from sentinel.ports import Snapshot
from tests.support.detector_blocks import START_NS, flat_profile, history, names

SETTINGS = DecisionSettings(
    scoring=ScoringSettings(
        cut_scale=1.6, series_rules=(SeriesRule(stage="db", direction=Direction.LOW),)
    ),
    incidents=IncidentSettings(
        zone_name="Europe/Berlin",
        zone_offsets=((0, 3600), (10**18, 7200)),
        gauge_severity=Severity.PAGE,
        next_steps=("look at {service}",),
        guards=GuardSettings(
            error_ratio=0.3,
            gauges=(
                GaugeGuard(
                    series=SeriesPattern(stage="db", signal="free_*"),
                    limit=0.1,
                    direction=GuardDirection.LOW,
                    window_count=2,
                    consequence="it is full",
                ),
            ),
        ),
    ),
)


@pytest.mark.parametrize("settings", [DecisionSettings(), SETTINGS], ids=["plain", "changed"])
def test_settings_survive_json(settings: DecisionSettings) -> None:
    assert settings_of_plain(json.loads(json.dumps(plain_settings(settings)))) == settings


def test_what_was_recorded_before_gauges_had_limits_is_replayed_without_any() -> None:
    plain = plain_settings(DecisionSettings())
    del plain["incidents"]["guards"]["gauges"]
    assert settings_of_plain(plain).incidents.guards == GuardSettings(gauges=())


@pytest.mark.parametrize("has_steps", [True, False])
def test_a_part_of_a_profile_expects_the_same(*, has_steps: bool) -> None:
    rng = np.random.default_rng(5)
    grid = rng.standard_normal((312, 5)).astype(np.float32)
    grid[rng.random(grid.shape) < 0.05] = np.nan
    ease = 1 + rng.random((26, 5)).astype(np.float32)
    whole = Profile(
        version=1,
        start_ns=START_NS,
        step_ns=BIN_NS,
        series=np.arange(1, 6),
        grid=grid,
        steps=rng.integers(0, 255, (312, 1)).astype(np.uint8) if has_steps else None,
        ease=ease,
    )
    block = history(1, window_count=1500, series_count=5, step_ns=60_000_000_000)
    for first, last in ((0, 1), (0, 120), (59, 61), (333, 460), (1441, 1500)):
        windows = block.windows(first, last)
        part = whole.part(windows.start_ns, windows.end_ns)
        assert len(part.grid) < last - first + 20
        mine, theirs = part.expectation(windows), whole.expectation(windows)
        assert mine.expected.tobytes() == theirs.expected.tobytes()
        assert mine.ease is not None
        assert theirs.ease is not None
        assert mine.ease.tobytes() == theirs.ease.tobytes()


def test_evidence_is_given_back_where_it_was_noted() -> None:
    key = SeriesKey("pay", "edge", "POST /x", "errors")
    incident = Incident(
        incident_id="abc",
        group="pay",
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.OPEN,
        opened_ns=1,
        paged_ns=2,
    )
    told = replace(
        incident,
        first_mover=FirstMover(
            service="pay", stage="edge", route="POST /x", signal="errors", at_ns=5, lead_s=0.1
        ),
        exemplars=(Exemplar(trace_id="t", key=key, time_ns=5, duration_s=0.3, error=True),),
        log_lines=(LogLine(service="pay", time_ns=5, severity=17, event="e", body="b"),),
    )
    note = json.loads(json.dumps(Evidence.noted(told, 70)))
    evidence = Evidence()
    evidence.know(note)
    assert evidence.attach(incident, (), at_ns=70, step_ns=10) == told
    assert evidence.missing_count == 0
    for _ in range(2):
        # A block may be tracked more than once.
        assert evidence.attach(incident, (), at_ns=80, step_ns=10) == incident
    assert evidence.missing_count == 1
    for broken in ({**note, "mover": {"service": "pay"}}, {"incident": "abc"}):
        with pytest.raises((KeyError, TypeError)):
            evidence.know(broken)


def test_records_that_are_not_ours_are_refused() -> None:
    for read in (read_state, read_fit):
        with pytest.raises(ValueError, match=r"packed arrays"):
            read(Snapshot(at_ns=1, version=1, payload=b"nonsense"))


def test_a_block_is_decided_by_a_part_as_by_the_whole() -> None:
    block = history(2, window_count=400, series_count=8, step_ns=60_000_000_000)
    profile = flat_profile(block, days=3)
    scores = []
    for one in (profile, profile.part(block.start_ns, block.end_ns)):
        state = new_decision_state(step_ns=block.step_ns, settings=SETTINGS)
        found = decide(state, block, profile=one, keys=names(8), settings=SETTINGS)
        scores.append(found.verdicts.score.tobytes())
    assert scores[0] == scores[1]
    assert isinstance(block, WindowBlock)


class Kept:
    """A store's thread that keeps what is recorded."""

    def __init__(self) -> None:
        self.states: list[Snapshot] = []
        self.fits: list[Snapshot] = []
        self.sync: Any = self

    async def run(
        self,
        function: Callable[Arguments, Result],
        /,
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call it at once."""
        return function(*args, **kwargs)

    def record_state(self, record: Snapshot) -> None:
        """Keep it."""
        self.states.append(record)

    def record_fit(self, record: Snapshot) -> None:
        """Keep it."""
        self.fits.append(record)

    def newest_record_ns(self) -> int:
        """Of the states."""
        return max((one.at_ns for one in self.states), default=0)


async def test_each_window_is_judged_by_a_part_that_is_recorded() -> None:
    block = history(2, window_count=400, series_count=8, step_ns=60_000_000_000)
    fit = Fit(version=1, at_ns=block.start_ns, profile=flat_profile(block, days=3), rows=None)
    state = new_decision_state(step_ns=block.step_ns, settings=SETTINGS)
    store = Kept()
    recorder = Recorder(store)
    first_ns, step_ns = block.start_ns + FIT_PART_NS, block.step_ns
    for at_ns in (
        first_ns,
        first_ns + FIT_PART_NS - step_ns,
        # Its end is beyond the part.
        first_ns + FIT_PART_NS - step_ns + 1,
        # The clock was put back, and jumped.
        first_ns - step_ns,
        first_ns + 5 * FIT_PART_NS,
    ):
        await recorder.before(at_ns, state, fit, SETTINGS)
    parts = [read_fit(record) for record in store.fits]
    assert [(part.at_ns - first_ns, part.until_ns - part.at_ns) for part in parts] == [
        (0, FIT_PART_NS),
        (FIT_PART_NS - step_ns + 1, FIT_PART_NS),
        (-step_ns, FIT_PART_NS),
        (5 * FIT_PART_NS, FIT_PART_NS),
    ]


async def test_a_state_is_recorded_once_a_day_and_after_the_clock_was_put_back() -> None:
    state = new_decision_state(step_ns=10**10, settings=SETTINGS)

    def saved(at_ns: int) -> Snapshot:
        return Snapshot(at_ns=at_ns, version=0, payload=state.to_bytes())

    store = Kept()
    recorder = Recorder(store)
    await recorder.before(START_NS, state, None, SETTINGS)
    for age_ns in (10**10, STATE_EVERY_NS - 1, STATE_EVERY_NS, STATE_EVERY_NS + 10**10):
        await recorder.state(saved(START_NS + age_ns), SETTINGS)
    recorder.set_back()
    for age_ns in (STATE_EVERY_NS + 2, STATE_EVERY_NS + 3):
        await recorder.state(saved(START_NS + age_ns), SETTINGS)
    # A process that was killed after its clock was put back, and before it recorded anything.
    again = Recorder(store)
    await again.before(START_NS + 5, state, None, SETTINGS)
    for age_ns in (6, 7):
        await again.state(saved(START_NS + age_ns), SETTINGS)
    assert [one.at_ns - START_NS for one in store.states] == [
        0,
        STATE_EVERY_NS,
        STATE_EVERY_NS + 2,
        6,
    ]
