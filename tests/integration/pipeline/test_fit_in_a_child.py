"""Goal: fits really happen in a child over a real store, and a bad child costs nothing but time.

Method: a store in a temporary folder with weeks of 5-minute history, the component with its real command; then
children that hang, die, answer nonsense or too much.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.core.baseline import Model, ModelRule, Profile
from sentinel.core.decide import DecisionSettings, decide, new_decision_state
from sentinel.core.model import Kind, Reason, SeriesKey, WindowBlock
from sentinel.core.scoring import KIND_RULES, KindRule, ScoringSettings
from sentinel.pipeline import held
from sentinel.pipeline.fit import FitConfig, FitResult, Fitter
from sentinel.pipeline.fit_result import fit_from_snapshot
from sentinel.pipeline.fitting import fit_payload
from sentinel.pipeline.models import ModelSettings
from sentinel.ports import Snapshot
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.settings import ByteSize, Duration
from sentinel.storage.sqlite import Store, StoreConfig, StoreReader
from tests.support.clock import ManualClock
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BIN_NS = 300_000_000_000
DAY_NS = 86_400_000_000_000
STEP_NS = 10_000_000_000
HISTORY_DAYS = 9
KEYS = [
    (SeriesKey("ledger", "edge", "POST /v1/transfers", "traffic"), Kind.TRAFFIC),
    (SeriesKey("ledger", "edge", "POST /v1/transfers", "errors"), Kind.ERRORS),
    (SeriesKey("ledger", "edge", "POST /v1/transfers", "latency"), Kind.LATENCY),
]


def expected_at(time_ns: np.ndarray) -> np.ndarray:
    """Traffic, errors and latency with the shape of a day, (T, 3)."""
    phase = 2 * np.pi * (time_ns % DAY_NS) / DAY_NS
    return np.stack(
        [40 + 20 * np.sin(phase), np.full(phase.shape, 0.01), 0.05 + 0.01 * np.sin(phase)], axis=1
    )


async def filled_store(
    folder: Path, surroundings: Surroundings, *, days: int = HISTORY_DAYS
) -> tuple[Store, list[int]]:
    store = Store(StoreConfig(directory=str(folder / "store")), surroundings)
    await store.start()
    now_ns = surroundings.clock.now_ns()
    ids = await store.run(store.sync.register, KEYS, now_ns=now_ns)
    start_ns = now_ns // BIN_NS * BIN_NS - days * DAY_NS
    count = days * DAY_NS // BIN_NS
    rng = np.random.default_rng(5)
    usual = expected_at(start_ns + np.arange(count) * BIN_NS)
    value = (usual * (1 + 0.03 * rng.standard_normal(usual.shape))).astype(np.float32)
    block = WindowBlock(
        start_ns=start_ns,
        step_ns=BIN_NS,
        series=np.array(ids, np.int64),
        kind=np.array([kind for _, kind in KEYS], np.int8),
        value=value,
        weight=np.full(value.shape, 3000, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )
    if count:
        await store.run(store.sync.append_history, block)
    return store, ids


def make_fitter(
    store: Store,
    surroundings: Surroundings,
    folder: Path,
    *,
    child: str | None = None,
    config: FitConfig | None = None,
    scoring: Callable[[], ScoringSettings] = ScoringSettings,
    models: ModelSettings | None = None,
    step_ns: int = STEP_NS,
) -> Fitter:
    command: dict[str, Any] = (
        {} if child is None else {"command": (sys.executable, "-I", "-c", child)}
    )
    return Fitter(
        config or FitConfig(),
        store,
        surroundings,
        step_ns=step_ns,
        store_directory=str(folder / "store"),
        scoring=scoring,
        models=lambda: models or ModelSettings(),
        **command,
    )


async def test_series_with_history_are_judged_within_a_minute_and_calm_noise_never_pages(
    tmp_path: Path,
) -> None:
    surroundings = make_surroundings()
    store, ids = await filled_store(tmp_path, surroundings)
    fitter = make_fitter(store, surroundings, tmp_path)
    try:
        await fitter.start()
        await fitter.fitted()
        fit = fitter.current()
        assert fit is not None
        assert fit.profile.series.tolist() == ids
        assert fit.at_ns > surroundings.clock.now_ns()
    finally:
        await fitter.stop()
        await store.stop()
    settings = DecisionSettings()
    state = new_decision_state(step_ns=STEP_NS, settings=settings)
    state = fit.primed_state(state, settings=settings.scoring)
    keys = {series_id: key for series_id, (key, _) in zip(ids, KEYS, strict=True)}
    rng = np.random.default_rng(6)
    pages = 0
    for at in range(240):
        start_ns = fit.at_ns + at * STEP_NS
        # Live windows are five times as noisy as the 5-minute medians, and traffic is a little off.
        usual = expected_at(np.array([start_ns])) * np.array([1.1, 1.0, 1.0])
        value = (usual * (1 + 0.15 * rng.standard_normal(usual.shape))).astype(np.float32)
        if at >= 200:
            value[0, 2] = 2.0
        block = WindowBlock(
            start_ns=start_ns,
            step_ns=STEP_NS,
            series=np.array(ids, np.int64),
            kind=np.array([kind for _, kind in KEYS], np.int8),
            value=value,
            weight=np.full(value.shape, 400, np.float32),
            heard=np.ones(value.shape, np.bool_),
        )
        decision = decide(state, block, profile=fit.profile, keys=keys, settings=settings)
        state = decision.state
        pages += len(decision.pages)
        if at in {6, 100}:
            assert decision.verdicts.reason.tolist() == [[Reason.SCORED] * 3]
        if at == 199:
            assert pages == 0
    assert pages >= 1


async def test_a_fit_is_stored_and_loaded_again(tmp_path: Path) -> None:
    surroundings = make_surroundings()
    store, _ = await filled_store(tmp_path, surroundings, days=2)
    try:
        fitter = make_fitter(store, surroundings, tmp_path)
        await fitter.start()
        await fitter.fitted()
        await fitter.stop()
        first = fitter.current()
        again = make_fitter(store, surroundings, tmp_path, child="raise SystemExit(1)")
        await again.start()
        loaded = again.current()
        await again.stop()
    finally:
        await store.stop()
    assert first is not None
    assert loaded is not None
    assert loaded.version == first.version
    assert loaded.at_ns == first.at_ns
    assert np.array_equal(loaded.profile.grid, first.profile.grid, equal_nan=True)
    assert surroundings.metrics.value("sentinel_fits_total", result=FitResult.OK) >= 1


async def test_a_stored_fit_of_no_use_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """After the windows' width was changed the log said so three times of the newest fit and twice of the one before."""
    surroundings = make_surroundings()
    store, _ = await filled_store(tmp_path, surroundings, days=2)
    try:
        fitter = make_fitter(store, surroundings, tmp_path)
        await fitter.start()
        await fitter.fitted()
        await fitter.fitted()
        await fitter.stop()
        other_width = make_fitter(
            store, surroundings, tmp_path, child="raise SystemExit(1)", step_ns=2 * STEP_NS
        )
        with caplog.at_level("WARNING", logger="sentinel"):
            await other_width.start()
            # Taking up after a restart reads them once more.
            for snapshot in await store.run(store.sync.fits):
                assert other_width.stored(snapshot) is None
        await other_width.stop()
    finally:
        await store.stop()
    told = [one for one in caplog.records if one.message == "A stored fit cannot be used"]
    reason = "it is for windows of 10 s, not 20 s"
    assert [(vars(one)["version"], vars(one)["reason"]) for one in told] == [
        (2, reason),
        (1, reason),
    ]


async def test_a_fresh_fit_is_not_made_again_at_the_next_start(tmp_path: Path) -> None:
    """Each start once fitted anew, also seconds after a fit: a restart loop was a load of its own."""
    clock = ManualClock()
    surroundings = make_surroundings(clock)
    store, _ = await filled_store(tmp_path, surroundings, days=2)

    def fit_count() -> float:
        return surroundings.metrics.value("sentinel_fits_total", result=FitResult.OK)

    async def fits_of_a_start(*, after_s: float) -> float:
        before = fit_count()
        fitter = make_fitter(store, surroundings, tmp_path)
        await fitter.start()
        await asyncio.sleep(0.05)
        await clock.advance(after_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0 if after_s == 0.0 else 30.0):
                while fit_count() == before:
                    await asyncio.sleep(0.02)
        await fitter.stop()
        return fit_count() - before

    try:
        assert await fits_of_a_start(after_s=3.0) == 1
        await clock.advance(600)
        assert await fits_of_a_start(after_s=0.0) == 0
        assert await fits_of_a_start(after_s=3020.0) == 1
        # Stored while nothing ran: what is new must not wait for an hour.
        await clock.advance(60)
        other = SeriesKey("ledger", "edge", "GET /v1/accounts", "traffic")
        await store.run(store.sync.register, [(other, Kind.TRAFFIC)], now_ns=clock.now_ns())
        assert await fits_of_a_start(after_s=3.0) == 1
        # A fit of a clock that ran ahead says nothing about now.
        clock.step_wall(-7200)
        assert await fits_of_a_start(after_s=3.0) == 1
    finally:
        await store.stop()


async def test_what_was_learned_is_let_go_once_it_is_in_the_state(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A fit's rows were kept beside the state they had been copied to, with the bytes they came from."""
    surroundings = make_surroundings()
    store, _ = await filled_store(tmp_path, surroundings, days=2)
    fitter = make_fitter(store, surroundings, tmp_path)
    try:
        await fitter.start()
        await fitter.fitted()
        fit = fitter.current()
        assert fit is not None
        assert fit.rows is not None
        with caplog.at_level("INFO", logger="sentinel"):
            fitter.adopted(fit)
        kept = fitter.current()
    finally:
        await fitter.stop()
        await store.stop()
    (line,) = (one for one in caplog.records if one.message == "A fit is in effect")
    assert vars(line)["series"] == len(fit.profile.series)
    assert vars(line)["version"] == fit.version
    assert kept is not None
    assert kept.rows is None
    assert np.array_equal(kept.profile.grid, fit.profile.grid, equal_nan=True)
    assert kept.profile.grid.base is None
    assert kept.without_rows() is kept


async def test_a_refit_of_series_that_are_ready_is_held_once(tmp_path: Path) -> None:
    """A profile was copied out of the bytes that it came in, while the one before was still in effect."""
    surroundings = make_surroundings()
    store, ids = await filled_store(tmp_path, surroundings, days=2)
    state = new_decision_state(step_ns=STEP_NS, settings=DecisionSettings())
    fitter = make_fitter(store, surroundings, tmp_path)
    try:
        await fitter.start()
        await fitter.fitted()
        first = fitter.current()
        assert first is not None
        state = first.primed_state(state, settings=ScoringSettings())
        payload = state.to_bytes()
        await store.run(
            store.sync.save_state, Snapshot(at_ns=first.at_ns, version=1, payload=payload)
        )
        await fitter.fitted()
        second = fitter.current()
    finally:
        await fitter.stop()
        await store.stop()
    assert second is not None
    assert second.version > first.version
    assert second.rows is not None
    assert second.rows.series_count == 0
    assert second.profile.series.tolist() == ids
    assert second.without_rows().profile is second.profile
    assert not second.profile.grid.flags.owndata
    assert second.profile.grid.flags.aligned


async def test_what_is_expected_lies_in_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refit leaves one hour of 26 to be looked at; the rest took as much memory as all that is known of a series."""
    monkeypatch.setattr(held, "IN_FILE_BYTES_MIN", 0)
    surroundings = make_surroundings()
    store, _ = await filled_store(tmp_path, surroundings, days=2)
    fitter = make_fitter(store, surroundings, tmp_path)
    try:
        await fitter.start()
        await fitter.fitted()
        fit = fitter.current()
        (snapshot,) = await store.run(store.sync.fits, limit=1)
        as_stored = fitter.stored(snapshot)
        # After a restart the fit in effect comes from the store once more: the one in the file is kept.
        assert as_stored is not None
        kept = fitter.adopted(as_stored)
        again = fitter.current()
    finally:
        await fitter.stop()
        await store.stop()
    assert fit is not None
    assert fit.in_file
    assert not as_stored.in_file
    assert kept is again
    assert kept.rows is None
    assert kept.profile.grid is fit.profile.grid
    assert np.array_equal(kept.profile.grid, as_stored.profile.grid, equal_nan=True)
    assert kept.profile.to_bytes() == as_stored.profile.to_bytes()
    owner: object = kept.profile.grid
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner.obj if isinstance(owner, memoryview) else owner, mmap.mmap)
    assert kept.profile.series.flags.owndata
    # It has no name.
    assert not [path for path in tmp_path.rglob("tmp*") if path.is_file()]


def test_without_room_for_a_file_the_expectation_stays_in_memory(
    tmp_path: Path,
) -> None:
    profile = Profile(
        version=1,
        start_ns=0,
        step_ns=300_000_000_000,
        series=np.arange(1000),
        grid=np.ones((312, 1000), np.float32),
    )
    assert held.in_file(profile, str(tmp_path / "nowhere")) is None
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        assert held.in_file(profile, str(tmp_path)) is None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []
    in_file = held.in_file(profile, str(tmp_path))
    assert in_file is not None
    assert np.array_equal(in_file.grid, profile.grid)
    small = replace(profile, grid=profile.grid[:10])
    assert held.in_file(small, str(tmp_path)) is None


async def test_series_are_fitted_by_their_models_and_what_fell_back_is_told(
    tmp_path: Path,
) -> None:
    surroundings = make_surroundings()
    store, ids = await filled_store(tmp_path, surroundings)
    rules = (
        ModelRule(model=Model.FOURIER, signal="traffic"),
        ModelRule(model=Model.MSTL, signal="latency"),
    )
    models = ModelSettings(rules=rules, series_max=1)
    fitter = make_fitter(store, surroundings, tmp_path, models=models)
    plain = make_fitter(store, surroundings, tmp_path)
    try:
        await plain.start()
        await plain.fitted()
        await plain.stop()
        await fitter.start()
        await fitter.fitted()
        first, health = fitter.current(), fitter.health()
        await fitter.fitted()
        second = fitter.current()
    finally:
        await fitter.stop()
        await store.stop()
    profile = plain.current()
    assert first is not None
    assert second is not None
    assert profile is not None
    assert first.used == {"fourier": 1, "mstl": 1, "profile": 1}
    assert first.fallbacks == {}
    assert health.sentence.endswith("knows 3 series; 1 by fourier; 1 by mstl")
    metrics = surroundings.metrics
    assert metrics.value("sentinel_fit_series", model="mstl") == 1
    count = len(first.profile.grid)
    start_ns = first.profile.start_ns
    usual = expected_at(start_ns + BIN_NS // 2 + np.arange(count) * BIN_NS)
    for column in (0, 2):
        told = first.profile.grid[:, column]
        assert np.median(np.abs(told / usual[:, column] - 1)) < 0.03
        assert not np.array_equal(told, profile.profile.grid[:, column])
    assert np.array_equal(first.profile.grid[:, 1], profile.profile.grid[:, 1])
    # Kept from the fit before, not decomposed again.
    assert np.array_equal(second.profile.grid[:, 2], first.profile.grid[:, 2])
    assert len(ids) == 3


async def test_an_empty_store_is_no_failure(tmp_path: Path) -> None:
    surroundings = make_surroundings()
    store, _ = await filled_store(tmp_path, surroundings, days=0)
    fitter = make_fitter(store, surroundings, tmp_path)
    try:
        await fitter.start()
        await fitter.fitted()
        assert fitter.current() is None
        assert fitter.health().status is HealthStatus.OK
    finally:
        await fitter.stop()
        await store.stop()
    assert surroundings.metrics.value("sentinel_fits_total", result=FitResult.NO_HISTORY) >= 1


@pytest.mark.parametrize(
    ("child", "result"),
    [
        ("import time; time.sleep(60)", FitResult.TIMEOUT),
        ("import os; os.kill(os.getpid(), 9)", FitResult.FAILED),
        ("import sys; sys.exit('the disk is on fire')", FitResult.FAILED),
        ("print('not a fit')", FitResult.GARBAGE),
        ("", FitResult.GARBAGE),
        ("import sys\nwhile True: sys.stdout.write('x' * 65536)", FitResult.TOO_LARGE),
    ],
)
async def test_a_bad_child_is_counted_and_the_old_fit_stays(
    tmp_path: Path, child: str, result: FitResult
) -> None:
    surroundings = make_surroundings()
    store, _ = await filled_store(tmp_path, surroundings, days=2)
    # A child that is to be found out otherwise has the time that a busy machine needs to start it.
    timeout_s = 2.0 if result is FitResult.TIMEOUT else 60.0
    config = FitConfig(timeout=Duration(timeout_s), result_bytes_max=ByteSize(1 << 20))
    try:
        good = make_fitter(store, surroundings, tmp_path)
        await good.start()
        await good.fitted()
        await good.stop()
        bad = make_fitter(store, surroundings, tmp_path, child=child, config=config)
        await bad.start()
        await bad.fitted()
        kept, health = bad.current(), bad.health()
        await bad.stop()
    finally:
        await store.stop()
    assert surroundings.metrics.value("sentinel_fits_total", result=result) >= 1
    assert kept is not None
    assert health.status is HealthStatus.DEGRADED
    assert "the old fit stays in effect" in health.sentence


async def test_what_is_primed_is_learned_by_the_settings_in_effect(tmp_path: Path) -> None:
    """A fit once primed by the built-in constants, whatever the user's sensitivity and limits were."""
    surroundings = make_surroundings()
    store, _ = await filled_store(tmp_path, surroundings)
    rules = {**KIND_RULES, Kind.ERRORS: KindRule(high_only=True, deviation_min=0.5)}
    chosen = [ScoringSettings(), ScoringSettings(cut_scale=0.75, rules=rules, cut_minute=6.0)]
    current = chosen[0]
    fitter = make_fitter(store, surroundings, tmp_path, scoring=lambda: current)
    found, wanted = [], []
    try:
        await fitter.start()
        # The second as after a reload.
        for current in chosen:
            await fitter.fitted()
            [stored] = await store.run(store.sync.fits, limit=1)
            found.append(stored.payload)
            with StoreReader(str(tmp_path / "store")) as reader:
                now_ns = surroundings.clock.now_ns()
                payload = fit_payload(
                    reader,
                    now_ns=now_ns,
                    version=stored.version,
                    step_ns=STEP_NS,
                    settings=current,
                )
            assert payload is not None
            wanted.append(payload)
    finally:
        await fitter.stop()
        await store.stop()
    assert found == wanted
    cuts = []
    for answer in found:
        rows = fit_from_snapshot(Snapshot(at_ns=0, version=1, payload=answer)).rows
        assert rows is not None
        cuts.append(rows.cut)
    assert np.all(cuts[1] > cuts[0])


async def test_a_program_that_is_not_there_is_counted(tmp_path: Path) -> None:
    surroundings = make_surroundings()
    store, _ = await filled_store(tmp_path, surroundings, days=0)
    fitter = Fitter(
        FitConfig(),
        store,
        surroundings,
        step_ns=STEP_NS,
        store_directory=str(tmp_path / "store"),
        scoring=ScoringSettings,
        command=(str(tmp_path / "nothing"),),
    )
    try:
        await fitter.start()
        await fitter.fitted()
    finally:
        await fitter.stop()
        await store.stop()
    assert surroundings.metrics.value("sentinel_fits_total", result=FitResult.NOT_STARTED) >= 1


async def test_stop_ends_a_child_that_runs(tmp_path: Path) -> None:
    surroundings = make_surroundings()
    store, _ = await filled_store(tmp_path, surroundings, days=0)
    mark = tmp_path / "pid"
    child = f"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    fitter = make_fitter(store, surroundings, tmp_path, child=child)
    await fitter.start()
    for _ in range(2000):
        if mark.exists() and mark.read_text():
            break
        await asyncio.sleep(0.01)
    await fitter.stop()
    await fitter.stop()
    await store.stop()
    assert not Path(f"/proc/{mark.read_text()}").exists()
