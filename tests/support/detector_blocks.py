"""Histories for tests of the detector: series of every kind with holes, silence, bursts and few calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, Profile
from sentinel.core.model import SIGNAL_SLOW, Kind, SeriesKey, WindowBlock

DAY_NS = 86_400_000_000_000
KINDS = (Kind.TRAFFIC, Kind.ERRORS, Kind.LATENCY, Kind.GAUGE)
"""Of every place; a share of slow calls is made where a test wants one, see `with_slow`."""
START_NS = 1_790_000_000_000_000_000 // DAY_NS * DAY_NS


def names(count: int) -> dict[int, SeriesKey]:
    """A key for each of the series 1 ... count; two services, every kind in turn."""
    signals = ("traffic", "errors", "latency", "depth")
    return {
        at + 1: SeriesKey(f"service-{at % 2}", "edge", f"GET /{at // 4}", signals[at % 4])
        for at in range(count)
    }


def history(
    seed: int, *, window_count: int, series_count: int, step_ns: int, start_ns: int = START_NS
) -> WindowBlock:
    """Random windows: noise about a level of each kind, with everything that may go wrong in them."""
    rng = np.random.default_rng(seed)
    kind = np.resize(np.array(KINDS, np.int8), series_count)
    level = np.array([40.0, 0.02, 0.08, 300.0])[kind]
    shape = (window_count, series_count)
    value = level * (1 + 0.1 * rng.standard_normal(shape))
    value *= np.where(rng.random(shape) < 0.01, rng.uniform(0.0, 12.0, shape), 1.0)
    value[rng.random(shape) < 0.02] = np.nan
    heard = rng.random(shape) > 0.01
    weight = np.where(rng.random(shape) < 0.02, 2.0, 500.0)
    # Every second series of errors is a trickle, many of whose windows have no calls at all.
    trickle = np.flatnonzero(kind == Kind.ERRORS)[1::2]
    weight[:, trickle] = rng.poisson(2.0, (window_count, len(trickle)))
    value[weight == 0] = np.nan
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=np.arange(1, series_count + 1),
        kind=kind,
        value=np.where(heard, value, np.nan).astype(np.float32),
        weight=np.where(heard, weight, 0.0).astype(np.float32),
        heard=heard,
    )


def with_slow(
    block: WindowBlock, keys: dict[int, SeriesKey], *, seed: int, share: float = 0.01
) -> tuple[WindowBlock, dict[int, SeriesKey]]:
    """The block with a share of slow calls for each latency, behind its other series, and the names of all."""
    rng = np.random.default_rng(seed)
    latency = np.flatnonzero(block.kind == Kind.LATENCY)
    weight = block.weight[:, latency]
    slow = rng.binomial(weight.astype(np.int64), share)
    value = np.where(weight > 0, slow / np.maximum(weight, 1), np.nan).astype(np.float32)
    first = int(block.series[-1]) + 1
    named = {
        first + number: keys[int(block.series[at])]._replace(signal=SIGNAL_SLOW)
        for number, at in enumerate(latency.tolist())
    }
    whole = replace(
        block,
        series=np.append(block.series, list(named)),
        kind=np.append(block.kind, np.full(len(named), int(Kind.SLOW), np.int8)),
        value=np.concatenate([block.value, value], axis=1),
        weight=np.concatenate([block.weight, weight], axis=1),
        heard=np.concatenate([block.heard, block.heard[:, latency]], axis=1),
    )
    return whole, {**keys, **named}


def flat_profile(block: WindowBlock, *, days: int) -> Profile:
    """Expects each kind's level, from the block's start on."""
    level = np.array([40.0, 0.02, 0.08, 300.0, 0.01], np.float32)[block.kind]
    grid: NDArray[np.float32] = np.repeat(level[None], days * DAY_NS // BIN_NS, axis=0)
    return Profile(
        version=1,
        start_ns=block.start_ns // BIN_NS * BIN_NS,
        step_ns=BIN_NS,
        series=block.series,
        grid=grid,
    )
