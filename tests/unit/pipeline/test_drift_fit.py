"""Goal: a fit looks for drifts in the history it reads, on the sides that matter, and hands them to the decision once.

Method: five weeks of five-minute windows in memory, a real `fit_payload` over them, its bytes read back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.baseline import Calendar
from sentinel.core.decide import DecisionSettings, new_decision_state
from sentinel.core.model import (
    Drift,
    Incident,
    IncidentKind,
    IncidentState,
    Member,
    Resolution,
    SeriesKey,
    Severity,
    WindowBlock,
    kind_of_signal,
)
from sentinel.core.scoring import Direction, ScoringSettings, SeriesRule
from sentinel.pipeline.drift_fit import DRIFTS_MAX, DriftSearch, FoundDrifts, drifts_in
from sentinel.pipeline.fit_result import Fit, fit_from_snapshot
from sentinel.pipeline.fitting import fit_payload
from sentinel.pipeline.models import BaselineConfig
from sentinel.ports import Snapshot, Tick
from sentinel.storage.memory import MemoryStore

STEP_NS = 300_000_000_000
DAY_NS = 288 * STEP_NS
NOW_NS = 20_700 * DAY_NS + 17
KEYS = [
    SeriesKey("pay", "edge", "POST /x", "latency"),
    SeriesKey("pay", "edge", "POST /x", "traffic"),
    SeriesKey("pay", "edge", "GET /y", "latency"),
]
SLOPE = (1.01, 0.99, 0.98)
"""So many times as much each day; less latency is good news."""


def history(days: int = 42) -> WindowBlock:
    count = days * 288
    day = np.arange(count) / 288
    rng = np.random.default_rng(1)
    value = np.array([0.1, 50.0, 0.3]) * np.array(SLOPE) ** day[:, None]
    value *= (1 + 0.4 * np.sin(day * 2 * np.pi))[:, None] * (
        1 + 0.05 * rng.standard_normal((count, 3))
    )
    return WindowBlock(
        start_ns=NOW_NS - NOW_NS % STEP_NS - count * STEP_NS,
        step_ns=STEP_NS,
        series=np.array([1, 2, 3], np.int64),
        kind=np.array([kind_of_signal(key.signal) for key in KEYS], np.int8),
        value=value.astype(np.float32),
        weight=np.full(value.shape, 1000, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def fitted(incidents: tuple[Incident, ...] = (), **how: object) -> Fit:
    store = MemoryStore()
    store.register([(key, kind_of_signal(key.signal)) for key in KEYS], now_ns=NOW_NS)
    block = history()
    store.append_history(block)
    if incidents:
        last = block.windows(block.window_count - 1, block.window_count)
        store.append_tick(Tick(block=last, incidents=incidents))
    payload = fit_payload(
        store,
        now_ns=NOW_NS,
        version=1,
        step_ns=10_000_000_000,
        **{"settings": ScoringSettings(), **how},  # type: ignore[arg-type]
    )
    assert payload is not None
    return fit_from_snapshot(Snapshot(at_ns=NOW_NS, version=1, payload=payload))


def test_a_fit_says_what_has_drifted_farthest_first() -> None:
    found = fitted().drifts
    assert [one.series_id for one in found] == [2, 1]
    assert found[1].factor == pytest.approx(1.01**28, rel=0.03)
    assert found[0].factor == pytest.approx(0.99**28, rel=0.03)


def test_people_say_on_which_side_a_value_can_be_bad_and_how_far_is_far() -> None:
    rules = (
        SeriesRule(route="GET /y", direction=Direction.BOTH),
        SeriesRule(signal="traffic", direction=Direction.HIGH),
    )
    found = fitted(settings=ScoringSettings(series_rules=rules)).drifts
    assert [one.series_id for one in found] == [3, 1]
    assert [one.series_id for one in fitted(drift_ratio=1.5).drifts] == []
    assert fitted(drift_ratio=0.0).drifts == ()


def test_a_level_that_an_incident_ended_with_was_told() -> None:
    opened_ns = NOW_NS - 10 * DAY_NS
    member = Member(
        series_id=1,
        key=KEYS[0],
        direction=1,
        first_ns=opened_ns,
        last_ns=opened_ns + DAY_NS,
        peak_score=2.0,
        value=0.2,
        expected=0.1,
        lower=0.05,
        upper=0.15,
    )
    incident = Incident(
        incident_id="inc-1",
        group="pay",
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.RESOLVED,
        opened_ns=opened_ns,
        paged_ns=opened_ns,
        resolved_ns=opened_ns + DAY_NS,
        members=(member,),
        resolution=Resolution.ADOPTED,
    )
    # Without the two weeks in which it was told the slope is less than what counts as far.
    assert [one.series_id for one in fitted((incident,)).drifts] == [2]
    assert [
        one.series_id for one in fitted((replace(incident, resolution=Resolution.QUIET),)).drifts
    ] == [2, 1]
    # A drift's own ticket is no reason to be silent.
    ticket = replace(incident, kind=IncidentKind.DRIFT)
    assert [one.series_id for one in fitted((ticket,)).drifts] == [2, 1]


def test_a_state_hears_of_them_once() -> None:
    fit = fitted()
    settings = DecisionSettings()
    state = fit.primed_state(
        new_decision_state(step_ns=10_000_000_000, settings=settings), settings=settings.scoring
    )
    assert state.tracker.drifting.pending == fit.drifts
    kept = fit.without_rows()
    assert kept.drifts == ()
    assert replace(fit, rows=None).without_rows().drifts == ()


def test_more_than_can_be_news_are_counted() -> None:
    search = DriftSearch((), {}, ratio=1.2, settings=ScoringSettings(), calendar=Calendar())
    search._found = [
        Drift(series_id=number, before=1.0, weeks=(1.1, 1.2, 1.3, 1.4 + number / 1e4))
        for number in range(DRIFTS_MAX + 7)
    ]
    found = search.found()
    assert (len(found.told), found.dropped_count) == (DRIFTS_MAX, 7)
    assert min(one.series_id for one in found.told) == 7
    assert drifts_in(found.arrays()) == found.told
    assert FoundDrifts().arrays() == {}


def test_a_ratio_that_every_series_passes_is_refused() -> None:
    assert BaselineConfig().drift_ratio == 1.2
    assert BaselineConfig(drift_ratio=0).drift_ratio == 0
    for ratio in (1.0, -1.2, 1000.0):
        with pytest.raises(ValueError, match="drift_ratio"):
            BaselineConfig(drift_ratio=ratio)
