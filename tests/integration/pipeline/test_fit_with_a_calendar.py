"""Goal: the fitting child makes the calendar, reads of old history what special days need, and expects them.

Method: a store with four months of five-minute windows in a temporary folder, month-ends 1.8 times busier on a clock that
was put forward in between; the component with its real command, on the eve of a month-end.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.app.calendar_section import CalendarConfig
from sentinel.app.calendars import make_calendar
from sentinel.core.baseline import Calendar
from sentinel.core.model import Kind, SeriesKey, WindowBlock
from sentinel.core.scoring import ScoringSettings
from sentinel.pipeline.fit import FitConfig, FitResult, Fitter
from sentinel.pipeline.fit_result import Fit
from sentinel.pipeline.seasons import stored_special_days
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.settings import Zone
from sentinel.storage.sqlite import Store, StoreConfig, StoreReader
from tests.support.clock import ManualClock
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BIN_NS = 300_000_000_000
DAY_NS = 288 * BIN_NS
NOW_NS = int(datetime(2026, 4, 29, 21, 0, tzinfo=UTC).timestamp()) * 10**9
"""Eleven in the evening in Berlin; the 30th is the last business day."""
HISTORY_DAYS = 110
SERIES_COUNT = 4
PLAIN = CalendarConfig(zone=Zone("Europe/Berlin"), country="DE").to_plain(Zone("UTC"))


def usual(at_ns: np.ndarray, calendar: Calendar) -> np.ndarray:
    """Calls by the local hour, and more on the last business day, (T, S)."""
    local_ns = at_ns + calendar.offset_ns(at_ns)
    shape = 30 + 20 * np.sin(2 * np.pi * (local_ns % DAY_NS) / DAY_NS)
    is_end = calendar.membership(local_ns // DAY_NS)[:, calendar.class_names.index("month-end")]
    shape *= np.where(is_end, 1.8, 1.0)
    return np.asarray(shape[:, None] * np.linspace(1, 4, SERIES_COUNT))


async def filled(folder: Path, surroundings: Surroundings) -> Store:
    store = Store(StoreConfig(directory=str(folder / "store")), surroundings)
    await store.start()
    keys = [
        (SeriesKey("ledger", "edge", f"GET /{at}", "traffic"), Kind.TRAFFIC)
        for at in range(SERIES_COUNT)
    ]
    ids = await store.run(store.sync.register, keys, now_ns=NOW_NS)
    start_ns = NOW_NS - HISTORY_DAYS * DAY_NS
    at_ns = start_ns + np.arange(HISTORY_DAYS * 288) * BIN_NS
    value = usual(at_ns, make_calendar(PLAIN, now_ns=NOW_NS))
    value *= np.exp(0.05 * np.random.default_rng(1).standard_normal(value.shape))
    block = WindowBlock(
        start_ns=start_ns,
        step_ns=BIN_NS,
        series=np.array(ids, np.int64),
        kind=np.full(SERIES_COUNT, int(Kind.TRAFFIC), np.int8),
        value=value.astype(np.float32),
        weight=np.full(value.shape, 3000, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )
    await store.run(store.sync.append_history, block)
    return store


def off(fit: Fit) -> np.ndarray:
    """Expected over true, of the bins from two in the night to ten in the evening."""
    calendar = make_calendar(PLAIN, now_ns=NOW_NS)
    profile = fit.profile
    at_ns = profile.start_ns + np.arange(len(profile.grid)) * BIN_NS
    day = slice(36, 276)
    return np.asarray(profile.grid[day] / usual(at_ns[day], calendar))


async def test_the_child_expects_a_month_end_and_refuses_an_unknown_country(
    tmp_path: Path,
) -> None:
    surroundings = make_surroundings(ManualClock(NOW_NS))
    store = await filled(tmp_path, surroundings)
    asked: list[dict[str, Any] | None] = [None]
    fitter = Fitter(
        FitConfig(),
        store,
        surroundings,
        step_ns=10_000_000_000,
        store_directory=str(tmp_path / "store"),
        scoring=ScoringSettings,
        calendar=lambda: asked[-1],
    )
    try:
        await fitter.start()
        fits = []
        # Without; with; and with a country that no list knows, as after a reload that was not checked.
        for plain in (None, PLAIN, {**PLAIN, "country": "ZZ"}):
            asked.append(plain)
            await fitter.fitted()
            fits.append(fitter.current())
        without, with_it, kept = fits
        health = fitter.health()
        with StoreReader(str(tmp_path / "store")) as reader:
            calendar = make_calendar(PLAIN, now_ns=NOW_NS)
            ids = np.array([row.series_id for row in reader.series()], np.int64)
            special = stored_special_days(reader, ids, calendar=calendar, now_ns=NOW_NS)
    finally:
        await fitter.stop()
        await store.stop()
    assert without is not None
    assert with_it is not None
    assert np.median(off(without)) < 0.7
    assert np.abs(np.median(off(with_it), axis=0) - 1).max() < 0.06
    assert (without.calendar, with_it.calendar) == (Calendar().digest, calendar.digest)
    assert with_it.profile.ease is not None
    assert kept is with_it
    assert health.status is HealthStatus.DEGRADED
    assert "no public holidays are known of ZZ" in health.sentence
    assert surroundings.metrics.value("sentinel_fits_total", result=FitResult.FAILED) == 1
    end = calendar.class_names.index("month-end")
    assert special.repeats[end] == 3
    assert np.exp(special.effect[end, 12]) == pytest.approx(1.8, rel=0.06)
