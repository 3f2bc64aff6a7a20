"""Goal: who gives a sidecar its past, with the last hour as wide as it will see it, has its series judged from the first window on.

Method: a store with days of history, the fit as the child makes it, and live windows after it; with the last windows kept, with them too old or
of another width, and with an outage in them that goes on.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.decide import DecisionSettings, decide, new_decision_state
from sentinel.core.model import Kind, Reason, SeriesKey, VerdictBlock, WindowBlock
from sentinel.pipeline.fit_result import fit_from_snapshot
from sentinel.pipeline.fitting import fit_payload
from sentinel.pipeline.latest import (
    LATEST_AGE_MAX_NS,
    LATEST_SOURCE,
    LATEST_WINDOWS,
    latest_block,
    latest_from_bytes,
    latest_to_bytes,
    usable_at,
)
from sentinel.ports import Snapshot
from sentinel.storage.sqlite import SqliteStore, StoreConfig, StoreReader
from tests.support.surroundings import make_surroundings

STEP_NS = 60 * 10**9
BIN_NS = 300 * 10**9
DAY_NS = 86_400 * 10**9
NOW_NS = 1_790_000_000_000_000_000 // BIN_NS * BIN_NS
KEYS = {
    1: SeriesKey("shop", "edge", "POST /pay", "traffic"),
    2: SeriesKey("shop", "edge", "POST /pay", "errors"),
    3: SeriesKey("shop", "queue", "orders", "depth"),
}
KINDS = np.array([Kind.TRAFFIC, Kind.ERRORS, Kind.GAUGE], np.int8)
CALLS_OF_PAY = 40.0 * 60


def usual_at(time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Calls a second, share of failed calls and depth of a queue, (T, 3)."""
    phase = 2 * np.pi * (time_ns % DAY_NS) / DAY_NS
    flat = np.ones(phase.shape)
    return np.stack([40 + 10 * np.sin(phase), 0.01 * flat, 100 + 20 * np.sin(phase)], axis=1)


def windows(
    start_ns: int,
    count: int,
    *,
    step_ns: int = STEP_NS,
    noise: float = 0.03,
    seed: int = 1,
    fallen_from: int | None = None,
) -> WindowBlock:
    """Windows of a quiet time; of traffic a tenth is left from the window `fallen_from` on."""
    usual = usual_at(start_ns + np.arange(count, dtype=np.int64) * step_ns)
    value = usual * (1 + noise * np.random.default_rng(seed).standard_normal(usual.shape))
    if fallen_from is not None:
        value[fallen_from:, 0] *= 0.1
    weight = np.full(value.shape, CALLS_OF_PAY * step_ns / STEP_NS, np.float32)
    weight[:, 2] = 1
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=np.array(sorted(KEYS), np.int64),
        kind=KINDS,
        value=value.astype(np.float32),
        weight=weight,
        heard=np.ones(value.shape, np.bool_),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with four days of five minutes."""
    folder = tmp_path_factory.mktemp("latest") / "store"
    store = SqliteStore(StoreConfig(directory=str(folder)), make_surroundings())
    store.open()
    named = [(key, Kind(kind)) for key, kind in zip(KEYS.values(), KINDS.tolist(), strict=True)]
    assert store.register(named, now_ns=NOW_NS) == sorted(KEYS)
    count = 4 * DAY_NS // BIN_NS
    store.append_history(windows(NOW_NS - count * BIN_NS, count, step_ns=BIN_NS, noise=0.01))
    store.close()
    return folder


def payload(folder: Path, latest: WindowBlock | None) -> bytes:
    with StoreReader(folder) as reader:
        found = fit_payload(
            reader,
            now_ns=NOW_NS,
            version=1,
            step_ns=STEP_NS,
            settings=DecisionSettings().scoring,
            latest=latest,
        )
    assert found is not None
    return found


@dataclass(frozen=True, kw_only=True)
class Lived:
    """What was thought of live windows, and whom it would have paged."""

    verdicts: VerdictBlock
    page_count: int


def live(
    folder: Path, latest: WindowBlock | None, *, count: int = 12, fallen: bool = False
) -> Lived:
    """The first windows after a start, which is some minutes after the past was given."""
    settings = DecisionSettings()
    snapshot = Snapshot(at_ns=NOW_NS, version=1, payload=payload(folder, latest))
    fit = fit_from_snapshot(snapshot)
    state = new_decision_state(step_ns=STEP_NS, settings=settings)
    state = fit.primed_state(state, settings=settings.scoring)
    block = windows(NOW_NS + 4 * STEP_NS, count, seed=2, fallen_from=0 if fallen else None)
    found: list[VerdictBlock] = []
    pages = 0
    for at in range(count):
        decision = decide(
            state, block.windows(at, at + 1), profile=fit.profile, keys=KEYS, settings=settings
        )
        state = decision.state
        found.append(decision.verdicts)
        pages += len(decision.pages)
    whole = replace(
        found[0],
        score=np.concatenate([one.score for one in found]),
        reason=np.concatenate([one.reason for one in found]),
        expected=np.concatenate([one.expected for one in found]),
        lower=np.concatenate([one.lower for one in found]),
        upper=np.concatenate([one.upper for one in found]),
        value=block.value,
        weight=block.weight,
        direction=np.concatenate([one.direction for one in found]),
        views=None,
        gate=None,
    )
    return Lived(verdicts=whole, page_count=pages)


def last_hour(**more: int) -> WindowBlock:
    return windows(NOW_NS - LATEST_WINDOWS * STEP_NS, LATEST_WINDOWS, **more)


def test_with_the_last_hour_the_first_window_is_judged(folder: Path) -> None:
    without, with_it = live(folder, None), live(folder, last_hour())
    assert (without.verdicts.reason[:6] == Reason.NO_SCALE).all()
    assert (without.verdicts.reason[6:] == Reason.SCORED).all()
    assert (with_it.verdicts.reason == Reason.SCORED).all()
    # A quiet time is quiet, and its bands are no wider than those that six live windows would have given.
    assert (with_it.verdicts.score < 1).all()
    assert with_it.page_count == 0
    width = np.nanmean((with_it.verdicts.upper - with_it.verdicts.lower)[6:], axis=0)
    width_without = np.nanmean((without.verdicts.upper - without.verdicts.lower)[6:], axis=0)
    assert (width <= 1.1 * width_without).all()
    usual = usual_at(NOW_NS + np.arange(4, 16, dtype=np.int64) * STEP_NS)
    assert np.allclose(with_it.verdicts.expected, usual, rtol=0.1)


def test_an_outage_right_at_the_start_pages(folder: Path) -> None:
    found = live(folder, last_hour(), fallen=True)
    assert (found.verdicts.score[:, 0] >= 1).all()
    assert found.page_count > 0


def test_an_outage_that_runs_at_the_start_is_no_level_to_begin_from(folder: Path) -> None:
    """Six live windows would have been: who starts a sidecar in the middle of an outage was never told of it."""
    running = last_hour(fallen_from=LATEST_WINDOWS - 20)
    found = live(folder, running, fallen=True)
    usual = usual_at(NOW_NS + np.arange(4, 16, dtype=np.int64) * STEP_NS)
    assert np.allclose(found.verdicts.expected[:3, 0], usual[:3, 0], rtol=0.25)
    assert (found.verdicts.score[:, 0] >= 1).all()
    assert found.page_count > 0
    waited = live(folder, None, fallen=True)
    assert (waited.verdicts.score[6:, 0] < 1).all()
    # Of an outage that ended before, nobody is told, and what comes after it is quiet.
    over = last_hour()
    over.value[-40:-20, 0] *= 0.1
    assert live(folder, over).page_count == 0


@pytest.mark.parametrize(
    "latest",
    [
        windows(NOW_NS - LATEST_AGE_MAX_NS - 61 * STEP_NS, LATEST_WINDOWS),
        windows(NOW_NS - 60 * BIN_NS, LATEST_WINDOWS, step_ns=BIN_NS),
        windows(NOW_NS + STEP_NS, LATEST_WINDOWS),
    ],
    ids=["too old", "another width", "of the future"],
)
def test_what_does_not_fit_is_as_if_it_were_not_there(folder: Path, latest: WindowBlock) -> None:
    assert usable_at(latest, now_ns=NOW_NS, step_ns=STEP_NS) is None
    assert payload(folder, latest) == payload(folder, None)


def test_a_series_that_it_does_not_hold_waits_for_its_own_windows(folder: Path) -> None:
    reason = live(folder, last_hour().columns(0, 2)).verdicts.reason
    assert (reason[:, :2] == Reason.SCORED).all()
    assert (reason[:6, 2] == Reason.NO_SCALE).all()
    assert (reason[6:, 2] == Reason.SCORED).all()


@dataclass(frozen=True, kw_only=True)
class Rows:
    """As queries give them."""

    keys: tuple[SeriesKey, ...]
    key_index: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]


def test_rows_of_queries_become_windows_as_they_do_live() -> None:
    start = NOW_NS
    stranger = SeriesKey("other", "edge", "/", "traffic")
    rows = Rows(
        keys=(KEYS[3], stranger, KEYS[2]),
        key_index=np.array([0, 0, 0, 1, 2], np.int32),
        time_ns=np.array([start - STEP_NS, start, start + STEP_NS, start, start], np.int64),
        value=np.array([9.0, 1.0, np.nan, 5.0, 0.5]),
        weight=np.array([np.nan, np.nan, np.nan, np.nan, np.nan]),
    )
    ids = {key: series_id for series_id, key in KEYS.items()}
    how = {"step_ns": STEP_NS, "start_ns": start, "end_ns": start + 2 * STEP_NS}
    block = latest_block([rows], ids, **how)
    assert block is not None
    assert block.series.tolist() == [2, 3]
    assert block.kind.tolist() == [Kind.ERRORS, Kind.GAUGE]
    assert block.value[0].tolist() == [0.5, 1.0]
    assert np.isnan(block.value[1]).all()
    # Of how many calls a share is nobody says: it counts as one of many. What gave NaN was heard.
    assert block.weight.tolist() == [[1e6, 1.0], [0.0, 1.0]]
    assert block.heard.tolist() == [[True, True], [False, True]]
    assert latest_block([], ids, **how) is None
    assert latest_block([rows], {}, **how) is None


def test_what_is_kept_is_read_back_and_what_is_damaged_is_nothing(folder: Path) -> None:
    block = last_hour()
    kept = latest_to_bytes(block)
    found = latest_from_bytes(kept)
    assert found is not None
    assert np.array_equal(found.value, block.value)
    assert (found.start_ns, found.step_ns) == (block.start_ns, block.step_ns)
    damaged = bytearray(zlib.decompress(kept))
    damaged[-3] ^= 1
    for wrong in (b"", b"x", kept[: len(kept) // 2], zlib.compress(bytes(damaged))):
        assert latest_from_bytes(wrong) is None
    with StoreReader(folder) as reader:
        assert reader.past_progress(LATEST_SOURCE) == b""
