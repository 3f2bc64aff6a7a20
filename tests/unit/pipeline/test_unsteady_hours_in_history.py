"""Goal: a series that is primed from history knows how unsteady each hour of the local day is, over a change of the clock.

Method: a fit of a store with two weeks of a gauge that is unsteady at one local hour; the clock was moved within them.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.baseline import Calendar
from sentinel.core.model import Kind, SeriesKey, WindowBlock
from sentinel.core.scoring import ScoringSettings
from sentinel.pipeline.fit_result import fit_from_snapshot
from sentinel.pipeline.fitting import fit_payload
from sentinel.ports import Snapshot
from sentinel.storage.memory import MemoryStore

BIN_NS, HOUR_NS, DAY_NS = 300_000_000_000, 3_600_000_000_000, 86_400_000_000_000
START_NS = 20_000 * DAY_NS
DAYS = 16
WILD = 3
CHANGE_NS = START_NS + 9 * DAY_NS + HOUR_NS
KEY = SeriesKey("pool", "db", "", "connections")


@pytest.mark.parametrize(("before_s", "after_s"), [(3600, 7200), (7200, 3600), (0, 0)])
def test_an_hour_that_was_unsteady_in_history_is_known_by_its_local_number(
    before_s: int, after_s: int
) -> None:
    calendar = Calendar(offsets=((0, before_s), (CHANGE_NS, after_s)))
    at_ns = START_NS + np.arange(DAYS * DAY_NS // BIN_NS) * BIN_NS
    hour = (at_ns + calendar.offset_ns(at_ns)) // HOUR_NS % 24
    noise = np.random.default_rng(5).standard_normal(len(at_ns))
    value = 300 + np.where(hour == WILD, 20.0, 2.0) * noise
    store = MemoryStore()
    (series_id,) = store.register([(KEY, Kind.GAUGE)], now_ns=START_NS)
    block = WindowBlock(
        start_ns=START_NS,
        step_ns=BIN_NS,
        series=np.array([series_id]),
        kind=np.array([Kind.GAUGE], np.int8),
        value=value.astype(np.float32)[:, None],
        weight=np.ones((len(value), 1), np.float32),
        heard=np.ones((len(value), 1), np.bool_),
    )
    store.append_history(block)
    payload = fit_payload(
        store,
        now_ns=block.end_ns,
        version=1,
        step_ns=10_000_000_000,
        settings=ScoringSettings(),
        calendar=calendar,
    )
    assert payload is not None
    fit = fit_from_snapshot(Snapshot(at_ns=block.end_ns, version=1, payload=payload))
    assert fit.rows is not None
    assert fit.rows.clock == fit.profile.clock == calendar.local_hours
    for spread in fit.rows.hour_abs[:, :, 0]:
        calm = np.delete(spread, WILD)
        assert spread[WILD] > 4 * calm.max()
