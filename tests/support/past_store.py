"""A store as a backfill leaves it: days of windows of five minutes, that no sidecar decided."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sentinel.core.model import SeriesKey, WindowBlock, kind_of_signal
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from tests.support.surroundings import make_surroundings

STEP_NS = 300 * 10**9
DAY_NS = 86_400 * 10**9
KEYS = (
    SeriesKey("pay", "edge", "POST /x", "traffic"),
    SeriesKey("pay", "edge", "POST /x", "errors"),
    SeriesKey("pay", "edge", "POST /x", "latency"),
    SeriesKey("shop", "", 'GET /"q"\\', "depth"),
)


def past_store(
    folder: Path,
    *,
    start_ns: int,
    days: float,
    keys: tuple[SeriesKey, ...] = KEYS,
    holes: bool = True,
    seed: int = 7,
) -> Path:
    """A store with these series, a day's season in each; with holes where a value, or a whole service, is missing."""
    count = round(days * DAY_NS / STEP_NS)
    rng = np.random.default_rng(seed)
    day = np.sin(2 * np.pi * np.arange(count) * STEP_NS / DAY_NS)
    value = np.empty((count, len(keys)), np.float32)
    for at, key in enumerate(keys):
        level = {"traffic": 120.0, "errors": 0.01, "latency": 0.2}.get(key.signal, 30.0)
        own = level * (1 + 0.3 * day) * rng.lognormal(0.0, 0.03, count)
        value[:, at] = own
    heard = np.ones(value.shape, np.bool_)
    if holes:
        value[count // 2 : count // 2 + 3, -1] = np.nan
        value[-20:-10, 0] *= 4
        of_first = [key.service == keys[0].service for key in keys]
        gone = slice(count * 3 // 4, count * 3 // 4 + 5)
        for at in np.flatnonzero(of_first).tolist():
            heard[gone, at] = False
            value[gone, at] = np.nan
    store = SqliteStore(StoreConfig(directory=str(folder)), make_surroundings())
    store.open()
    try:
        named = [(key, kind_of_signal(key.signal)) for key in keys]
        ids = np.array(store.register(named, now_ns=start_ns), np.int64)
        order = np.argsort(ids)
        # A chunk of the store is four hours.
        for first in range(0, count, 48):
            last = min(first + 48, count)
            store.append_history(
                WindowBlock(
                    start_ns=start_ns + first * STEP_NS,
                    step_ns=STEP_NS,
                    series=ids[order],
                    kind=np.array([int(named[at][1]) for at in order.tolist()], np.int8),
                    value=value[first:last, order],
                    weight=np.where(heard, 3000.0, 0.0).astype(np.float32)[first:last, order],
                    heard=heard[first:last, order],
                )
            )
    finally:
        store.close()
    return folder
