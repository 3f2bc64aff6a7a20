"""Goal: an outage of six hours leaves no dent in what is expected, in a fit and in a replay, and its repeat is found as fast.

Method: a fit of a store that holds the outage's incident, and replays of weeks with and without an outage in them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.decide import DecisionSettings
from sentinel.core.model import (
    Incident,
    IncidentKind,
    IncidentState,
    Kind,
    Member,
    SeriesKey,
    Severity,
    WindowBlock,
)
from sentinel.core.scoring import ScoringSettings
from sentinel.pipeline.fitting import fit_from_snapshot, fit_payload
from sentinel.pipeline.replay import PlainSeries, replay, replay_settings
from sentinel.ports import Snapshot, Tick
from sentinel.storage.memory import MemoryStore

BIN_NS, DAY_NS, MINUTE_NS = 300_000_000_000, 86_400_000_000_000, 60_000_000_000
START_NS = 20_000 * DAY_NS
BINS = DAY_NS // BIN_NS
KEY = SeriesKey("pay", "edge", "POST /x", "traffic")


def fitted_after(
    days: int, *, incident: Incident | None, outage: bool = True
) -> NDArray[np.float32]:
    """What the fit of a store expects of the day after the outage, which was on the last day."""
    store = MemoryStore()
    (series_id,) = store.register([(KEY, Kind.TRAFFIC)], now_ns=START_NS)
    value = np.tile(100 + 50 * np.sin(np.arange(BINS) / BINS * 2 * np.pi), days)[:, None]
    if outage:
        value[-BINS // 2 : -BINS // 4] = 0.0
    block = WindowBlock(
        start_ns=START_NS,
        step_ns=BIN_NS,
        series=np.array([series_id]),
        kind=np.array([Kind.TRAFFIC], np.int8),
        value=value.astype(np.float32),
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )
    store.append_history(block)
    if incident is not None:
        last = block.windows(block.window_count - 1, block.window_count)
        store.append_tick(Tick(block=last, incidents=(incident,)))
    payload = fit_payload(
        store,
        now_ns=block.end_ns,
        version=1,
        step_ns=10_000_000_000,
        settings=ScoringSettings(),
    )
    assert payload is not None
    return fit_from_snapshot(Snapshot(at_ns=0, version=1, payload=payload)).profile.grid[:, 0]


def told(days: int) -> Incident:
    """The outage as it was stored."""
    first_ns = START_NS + days * DAY_NS - DAY_NS // 2
    member = Member(
        series_id=1,
        key=KEY,
        direction=-1,
        first_ns=first_ns,
        last_ns=first_ns + DAY_NS // 4 - MINUTE_NS,
        peak_score=3.0,
        value=0.0,
        expected=100.0,
        lower=50.0,
        upper=150.0,
    )
    return Incident(
        incident_id="inc-1",
        group="pay",
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.RESOLVED,
        opened_ns=first_ns,
        paged_ns=first_ns,
        resolved_ns=member.last_ns + 30 * MINUTE_NS,
        members=(member,),
    )


def test_a_fit_reads_of_the_store_what_is_not_to_be_learnt_and_a_persons_word_releases_it() -> (
    None
):
    clean = fitted_after(2, incident=None, outage=False)
    assert np.allclose(fitted_after(2, incident=told(2)), clean, rtol=1e-6)
    dented = fitted_after(2, incident=None)
    assert dented[BINS * 5 // 8] < 0.6 * clean[BINS * 5 // 8]
    accepted = replace(told(2), accepted_ns=1, accepted_by="alice")
    assert np.array_equal(fitted_after(2, incident=accepted), dented)


def weeks(kind: Kind, days: int, *faults: tuple[int, float], seed: int) -> PlainSeries:
    """Windows of a minute; each fault lasts from 9 to 15 o'clock of its day and multiplies by so much."""
    rng = np.random.default_rng(seed)
    minute = np.arange(days * 1440)
    shape = 1 + 0.5 * np.sin(minute / 1440 * 2 * np.pi - 2)
    usual = {Kind.TRAFFIC: 40.0, Kind.LATENCY: 0.08}[kind]
    value = usual * shape * (1 + 0.06 * rng.standard_normal(len(minute)))
    for day, share in faults:
        value[day * 1440 + 540 : day * 1440 + 900] *= share
    signal = kind.name.lower()
    key = SeriesKey("pay", "edge", "POST /x", signal)
    return PlainSeries(name=signal, time_ns=START_NS + minute * MINUTE_NS, value=value, key=key)


def found_after_s(series: PlainSeries, day: int) -> float:
    """From the beginning of that day's fault to its first page, infinite without one."""
    settings: DecisionSettings = replay_settings(ScoringSettings())
    begin_s = (START_NS + day * DAY_NS + 540 * MINUTE_NS) / 1e9
    pages = replay([series], kind=Kind.GAUGE, settings=settings).pages
    starts = [page.start_s - begin_s for page in pages if 0 <= page.start_s - begin_s < 6 * 3600]
    return min(starts, default=float("inf"))


@pytest.mark.parametrize(
    ("kind", "share"), [(Kind.TRAFFIC, 0.0), (Kind.TRAFFIC, 0.45), (Kind.LATENCY, 2.2)]
)
def test_the_repeat_of_an_outage_a_day_later_is_found_as_fast(kind: Kind, share: float) -> None:
    """To the window: the spread of a young series has seen the first of them."""
    day = 5
    for seed in range(2):
        once = weeks(kind, day + 2, (day + 1, share), seed=seed)
        twice = weeks(kind, day + 2, (day, share), (day + 1, share), seed=seed)
        assert found_after_s(twice, day + 1) <= found_after_s(once, day + 1) + 60 <= 180
