"""Four days of a made-up series, judged by the code that judges live, for the picture of the band.

A month of history is learned first. On the third day shown a promotion triples the orders of an hour at night; on the fourth two in
five stay away for an hour and a half in the afternoon.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sentinel.app.config import SentinelConfig
from sentinel.app.deciding import decision_settings
from sentinel.core.baseline import BIN_NS, fit_profile
from sentinel.core.decide import decide, new_decision_state
from sentinel.core.model import SIGNAL_TRAFFIC, PageReason, SeriesKey, WindowBlock, kind_of_signal

_DAY_NS = 86_400 * 10**9
_BINS_A_DAY = _DAY_NS // BIN_NS
_SHOWN_NS = 1_794_182_400 * 10**9
"""Monday, 2026-11-09, 0 h UTC."""
_SHOWN_DAYS = 4
_HISTORY_DAYS = 42
_LEARNED_DAYS = 14
_SEED = 11
_RISE = (2, 2.0, 3.0, 3.0)
"""Day, first hour, end, and by what the calls are multiplied."""
_FALL = (3, 14.0, 15.5, 0.6)
_KEYS = {1: SeriesKey("shop", "edge", "POST /v1/orders", SIGNAL_TRAFFIC)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleBand:
    """What was thought of windows of five minutes, one after another.

    Attributes:
        start_ns: of the first window.
        step_ns: of each.
        value, expected, lower, upper, score: float32[T].
        incidents: first and last window of each incident.
    """

    start_ns: int
    step_ns: int
    value: NDArray[np.float32]
    expected: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    score: NDArray[np.float32]
    incidents: tuple[tuple[int, int], ...]


@cache
def sample_band() -> SampleBand:
    """The days shown."""
    begin_ns = _SHOWN_NS - _HISTORY_DAYS * _DAY_NS
    history = _windows(begin_ns, _HISTORY_DAYS + _SHOWN_DAYS)
    settings = decision_settings(SentinelConfig(), now_ns=_SHOWN_NS, asked_by="")
    state = new_decision_state(step_ns=BIN_NS, settings=settings)
    verdicts, opened, incidents = [], 0, []
    for day in range(_HISTORY_DAYS - _LEARNED_DAYS, _HISTORY_DAYS + _SHOWN_DAYS):
        block = history.windows(day * _BINS_A_DAY, (day + 1) * _BINS_A_DAY)
        profile = fit_profile(history, at_ns=block.start_ns, version=1 + day)
        decision = decide(state, block, profile=profile, keys=_KEYS, settings=settings)
        state = decision.state
        for page in decision.pages:
            if page.reason is PageReason.OPENED:
                opened = page.starts_ns
            elif page.reason is PageReason.RESOLVED:
                incidents.append((opened, page.ends_ns or block.start_ns + _DAY_NS))
        if day >= _HISTORY_DAYS:
            verdicts.append(decision.verdicts)
    shown = [
        np.concatenate([getattr(block, name)[:, 0] for block in verdicts])
        for name in ("value", "expected", "lower", "upper", "score")
    ]
    value, expected, lower, upper, score = shown
    return SampleBand(
        start_ns=_SHOWN_NS,
        step_ns=BIN_NS,
        value=value,
        expected=expected,
        lower=lower,
        upper=upper,
        score=score,
        incidents=tuple(
            ((first - _SHOWN_NS) // BIN_NS, (last - _SHOWN_NS) // BIN_NS)
            for first, last in incidents
            if first >= _SHOWN_NS
        ),
    )


def _windows(begin_ns: int, day_count: int) -> WindowBlock:
    """Calls of a business: busiest in the afternoon, fewer at weekends, a report at four each morning."""
    rng = np.random.default_rng(_SEED)
    at_ns = begin_ns + np.arange(day_count * _BINS_A_DAY) * BIN_NS
    hour = at_ns % _DAY_NS / 3.6e12
    # The first of January 1970 was a Thursday.
    is_weekend = (at_ns // _DAY_NS + 3) % 7 >= 5
    rate = (30 + 22 * np.cos(2 * np.pi * (hour / 24 - 0.6))) * np.where(is_weekend, 0.6, 1.0)
    rate += np.where((hour >= 4) & (hour < 4.5), 18.0, 0.0)
    shown_day = (at_ns - _SHOWN_NS) // _DAY_NS
    for day, first_h, end_h, ratio in (_RISE, _FALL):
        rate[(shown_day == day) & (hour >= first_h) & (hour < end_h)] *= ratio
    calls = rng.poisson(rate * np.exp(0.04 * rng.standard_normal(rate.size)) * BIN_NS / 1e9)
    return WindowBlock(
        start_ns=begin_ns,
        step_ns=BIN_NS,
        series=np.array(list(_KEYS), np.int64),
        kind=np.array([kind_of_signal(SIGNAL_TRAFFIC)], np.int8),
        value=(calls * 1e9 / BIN_NS)[:, None].astype(np.float32),
        weight=calls[:, None].astype(np.float32),
        heard=np.ones((calls.size, 1), np.bool_),
    )
