"""Goal: series are expected by what was chosen for them, MSTL once a day and within its limits, and the rest keeps the profile, counted.

Method: three weeks of a made-up day; statsmodels is stood in for by functions that note when they are asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.baseline import BIN_NS, Model, ModelRule, Profile, fit_profile
from sentinel.core.model import Kind, SeriesKey, WindowBlock
from sentinel.pipeline.models import (
    AHEAD_NS,
    BaselineConfig,
    ModelConfig,
    ModelFailedError,
    Models,
    ModelSettings,
)
from sentinel.runtime.settings import Duration

DAY_NS = 86_400_000_000_000
HOUR_NS = DAY_NS // 24
PER_DAY = DAY_NS // BIN_NS
START_NS = 1_789_948_800_000_000_000
NOW_NS = START_NS + 21 * DAY_NS
AHEAD_COUNT = AHEAD_NS // BIN_NS
NAMES = ("by_profile", "by_curve", "by_mstl", "also_by_mstl")
KEYS = {at: SeriesKey("ledger", "edge", name, "traffic") for at, name in enumerate(NAMES, start=1)}
RULES = (
    ModelRule(model=Model.FOURIER, route="by_curve"),
    ModelRule(model=Model.MSTL, route="*by_mstl"),
)


@dataclass
class Statsmodels:
    """Says 1000, 1001, ... from the asked-for begin on; fails with a reason; takes some seconds."""

    fails: str = ""
    takes_s: float = 1.0
    asked: list[int] = field(default_factory=list)
    limits_s: list[float] = field(default_factory=list)
    now_s: float = 0.0

    def foretell(
        self, value: NDArray[np.float32], *, per_day: int, bin_count: int, limit_s: float
    ) -> NDArray[np.float32]:
        """As the child is asked."""
        assert per_day == PER_DAY
        self.asked.append(len(value))
        self.limits_s.append(limit_s)
        self.now_s += self.takes_s
        if self.fails:
            raise ModelFailedError(self.fails, "as told")
        return 1000 + np.arange(bin_count, dtype=np.float32)


def history(*, end_ns: int = NOW_NS) -> WindowBlock:
    count = (end_ns - START_NS) // BIN_NS
    phase = 2 * np.pi * np.arange(count) / PER_DAY
    noise = np.random.default_rng(2).standard_normal((count, len(KEYS)))
    value = ((100 + 40 * np.sin(phase))[:, None] * (1 + 0.02 * noise)).astype(np.float32)
    return WindowBlock(
        start_ns=START_NS,
        step_ns=BIN_NS,
        series=np.array(list(KEYS)),
        kind=np.full(len(KEYS), int(Kind.TRAFFIC), np.int8),
        value=value,
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def fitted(
    statsmodels: Statsmodels | None,
    *,
    now_ns: int = NOW_NS,
    kept: bytes | None = None,
    changed_ns: dict[int, int] | None = None,
    **limits: float,
) -> tuple[Models, Profile, Profile]:
    """The models of a fit, what they expect, and what the profile alone would."""
    block = history()
    models = Models(
        ModelSettings(rules=RULES, **limits),  # type: ignore[arg-type]  # an int and floats by name
        KEYS,
        now_ns=now_ns,
        kept=kept,
        changed_ns=changed_ns,
        foretell=None if statsmodels is None else statsmodels.foretell,
        monotonic_s=(lambda: 0.0) if statsmodels is None else lambda: statsmodels.now_s,
    )
    profile = fit_profile(block, at_ns=now_ns, version=1)
    return models, models.over(profile, block), profile


def test_each_series_is_expected_by_its_model() -> None:
    statsmodels = Statsmodels()
    models, said, profile = fitted(statsmodels)
    assert np.array_equal(said.grid[:, 0], profile.grid[:, 0])
    assert np.abs(said.grid[:, 1] - profile.grid[:, 1]).max() > 0
    np.testing.assert_allclose(said.grid[:, 1], profile.grid[:, 1], rtol=0.1)
    assert said.grid[:3, 2].tolist() == [1000, 1001, 1002]
    assert said.grid[:, 2].tolist() == said.grid[:, 3].tolist()
    assert dict(models.used) == {"fourier": 1, "mstl": 2, "profile": 1}
    assert not models.fallbacks
    assert statsmodels.asked == [21 * PER_DAY] * 2


def test_what_was_an_incidents_is_learnt_by_no_model_unless_it_comes_again() -> None:
    """A day at a fifth is left out; a fifth for an hour on each of the last sixteen days is a habit."""
    block = history()
    out = np.zeros(block.value.shape, np.bool_)
    out[-3 * PER_DAY : -2 * PER_DAY] = True
    habit = np.zeros_like(out)
    for day in range(1, 17):
        habit[-day * PER_DAY : -day * PER_DAY + 12] = True
    seen: list[np.ndarray] = []

    def foretell(value: np.ndarray, *, bin_count: int, **_: object) -> np.ndarray:
        seen.append(value)
        return np.zeros(bin_count, np.float32)

    def fit(left_out: np.ndarray, value: np.ndarray) -> Profile:
        models = Models(ModelSettings(rules=RULES), KEYS, now_ns=NOW_NS, foretell=foretell)
        return models.fit(replace(block, value=value), at_ns=NOW_NS, version=1, left_out=left_out)

    clean = fit(np.zeros_like(out), block.value)
    kept_out = fit(out, np.where(out, block.value / 5, block.value))
    assert np.isnan(seen[-1][-3 * PER_DAY : -2 * PER_DAY]).all()
    assert np.isfinite(seen[-1]).sum() == len(seen[-1]) - PER_DAY
    np.testing.assert_allclose(kept_out.grid[:, 1], clean.grid[:, 1], rtol=0.02)
    learnt = fit(habit, np.where(habit, block.value / 5, block.value))
    assert np.isfinite(seen[-1]).all()
    assert (learnt.grid[:12, 1] < 0.95 * clean.grid[:12, 1]).any()


def test_without_rules_nothing_is_asked_and_nothing_changes() -> None:
    block = history()
    profile = fit_profile(block, at_ns=NOW_NS, version=1)
    models = Models(ModelSettings(), KEYS, now_ns=NOW_NS)
    assert models.over(profile, block) is profile
    assert dict(models.used) == {"profile": 4}
    assert models.kept_bytes() is None


def test_mstl_is_renewed_once_a_day_and_reaches_over_all_fits_between() -> None:
    first, _, _ = fitted(Statsmodels())
    kept = first.kept_bytes()
    for hours in (1, 12, 23):
        statsmodels = Statsmodels()
        later, said, _ = fitted(statsmodels, now_ns=NOW_NS + hours * HOUR_NS, kept=kept)
        assert statsmodels.asked == []
        assert said.grid[0, 2] == 1000 + hours * 12
        assert np.array_equal(np.diff(said.grid[:, 2]), np.ones(len(said.grid) - 1))
        assert later.kept_bytes() == kept
    statsmodels = Statsmodels()
    renewed, said, _ = fitted(statsmodels, now_ns=NOW_NS + 24 * HOUR_NS, kept=kept)
    assert len(statsmodels.asked) == 2
    assert said.grid[0, 2] >= 1000 + PER_DAY  # the made-up history ended a day before
    assert renewed.kept_bytes() != kept


def test_what_mstl_said_before_a_new_level_is_asked_anew() -> None:
    first, _, _ = fitted(Statsmodels())
    statsmodels = Statsmodels()
    hour = NOW_NS + HOUR_NS
    fitted(
        statsmodels, now_ns=hour, kept=first.kept_bytes(), changed_ns={3: NOW_NS + 1, 4: NOW_NS}
    )
    assert len(statsmodels.asked) == 1


def test_when_it_cannot_be_renewed_what_was_said_serves_to_its_end() -> None:
    first, _, _ = fitted(Statsmodels())
    models, said, profile = fitted(None, now_ns=NOW_NS + 25 * HOUR_NS, kept=first.kept_bytes())
    reach = AHEAD_COUNT - 25 * 12
    assert reach < len(said.grid)
    assert said.grid[reach - 1, 2] == 1000 + AHEAD_COUNT - 1
    assert np.array_equal(said.grid[reach:, 2], profile.grid[reach:, 2])
    assert models.used["mstl"] == 2
    # Older than that, nothing of it is used.
    models, said, profile = fitted(None, now_ns=NOW_NS + 27 * HOUR_NS, kept=first.kept_bytes())
    assert np.array_equal(said.grid[:, 2], profile.grid[:, 2])
    assert dict(models.fallbacks) == {"not_installed": 2}


@pytest.mark.parametrize("reason", ["time_limit", "failed"])
def test_a_series_that_fails_keeps_the_profile_and_is_not_tried_again_that_day(
    reason: str,
) -> None:
    models, said, profile = fitted(Statsmodels(fails=reason))
    assert np.array_equal(said.grid[:, 2:], profile.grid[:, 2:])
    assert dict(models.fallbacks) == {reason: 2}
    assert models.used["profile"] == 3
    statsmodels = Statsmodels()
    kept = models.kept_bytes()
    again, _, _ = fitted(statsmodels, now_ns=NOW_NS + HOUR_NS, kept=kept)
    assert statsmodels.asked == []
    assert dict(again.fallbacks) == {"failed_today": 2}
    fitted(statsmodels, now_ns=NOW_NS + DAY_NS, kept=kept)
    assert len(statsmodels.asked) == 2


def test_too_short_a_history_is_tried_again_at_the_next_fit() -> None:
    models, _, _ = fitted(Statsmodels(fails="history"))
    assert dict(models.fallbacks) == {"history": 2}
    assert models.kept_bytes() is None


def test_limits_of_number_and_of_time() -> None:
    statsmodels = Statsmodels()
    models, _, _ = fitted(statsmodels, series_max=1)
    assert len(statsmodels.asked) == 1
    assert dict(models.fallbacks) == {"too_many": 1}
    statsmodels = Statsmodels(takes_s=9.0)
    models, _, _ = fitted(statsmodels, limit_s=20.0, total_s=8.0)
    assert statsmodels.limits_s == [8.0]
    assert dict(models.fallbacks) == {"not_reached": 1}
    # What was not reached is done by the next fit.
    statsmodels = Statsmodels()
    models, _, _ = fitted(statsmodels, now_ns=NOW_NS + HOUR_NS, kept=models.kept_bytes())
    assert len(statsmodels.asked) == 1
    assert models.used["mstl"] == 2


def test_damaged_or_foreign_memory_counts_as_none() -> None:
    for kept in (b"", b"nonsense" * 20, Models(ModelSettings(), {}, now_ns=0).kept_bytes()):
        statsmodels = Statsmodels()
        fitted(statsmodels, kept=kept)
        assert len(statsmodels.asked) == 2
    ahead, _, _ = fitted(Statsmodels(), now_ns=NOW_NS + DAY_NS)
    statsmodels = Statsmodels()
    fitted(statsmodels, kept=ahead.kept_bytes())
    assert len(statsmodels.asked) == 2


def test_settings_from_configuration_and_over_the_pipe() -> None:
    config = BaselineConfig(
        models=(ModelConfig(model=Model.MSTL, route="GET *"),), mstl_timeout=Duration(5.0)
    )
    settings = config.settings()
    assert settings.rules == (ModelRule(model=Model.MSTL, route="GET *"),)
    assert settings.limit_s == 5.0
    assert ModelSettings.from_plain(settings.to_plain()) == settings
    assert settings.total_s == 240.0
    assert config.settings(fit_timeout_s=100.0).total_s == 50.0
    with pytest.raises(ValueError, match="pattern"):
        ModelConfig(service="")
    with pytest.raises(ValueError, match="mstl_series_max"):
        BaselineConfig(mstl_series_max=2000)
    with pytest.raises(ValueError, match="above 0"):
        BaselineConfig(mstl_total=Duration(0.0))
