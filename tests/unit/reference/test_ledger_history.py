"""Goal: load and simulated history have the shape of a day, a week and a month's end, repeatably.

Method: known dates for the shape; for the history, its text and its statistics under a fixed seed.
"""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.reference.ledger.domain import LedgerError, UsageError
from sentinel.reference.ledger.domain.history import routes_at_rate, simulate, with_levels
from sentinel.reference.ledger.domain.shape import (
    load_factor,
    load_factor_at,
    local_s,
    ordinary_week,
)
from sentinel.reference.ledger.operate.history import (
    CSV_HEADER,
    HistoryConfig,
    write_history,
)
from sentinel.reference.ledger.operate.months import MonthsConfig

END_S = datetime(2026, 1, 15, 12, 0, tzinfo=UTC).timestamp()


def at(year: int, month: int, day: int, hour: float) -> float:
    return load_factor_at(datetime(year, month, day, tzinfo=UTC).timestamp() + hour * 3600)


def test_midday_is_busier_than_the_night() -> None:
    assert at(2026, 1, 14, 12) > 5 * at(2026, 1, 14, 4)


def test_a_friday_is_busier_than_a_sunday() -> None:
    assert at(2026, 1, 16, 12) > 1.3 * at(2026, 1, 18, 12)


@pytest.mark.parametrize(("month", "last"), [(1, 31), (2, 28), (4, 30), (12, 31)])
def test_the_last_day_of_a_month_is_busier_than_the_same_weekday_before(
    month: int, last: int
) -> None:
    assert at(2026, month, last, 12) > 1.4 * at(2026, month, last - 14, 12)


def test_an_ordinary_week_averages_one_and_does_not_jump() -> None:
    monday = datetime(2026, 1, 12, tzinfo=UTC).timestamp()
    factors = load_factor(monday + np.arange(0, 7 * 86_400, 60.0))
    assert factors.mean() == pytest.approx(1.0, abs=0.02)
    assert np.abs(np.diff(factors)).max() < 0.01


def test_a_week_that_goes_by_in_a_day_is_the_same_every_day_and_does_not_jump() -> None:
    days = ordinary_week(np.arange(0, 2 * 86_400, 10.0), day_s=86_400 / 7)
    factors = load_factor(days)
    assert np.allclose(factors[:8640], factors[8640:])
    assert factors.mean() == pytest.approx(1.0, abs=0.02)
    assert np.abs(np.diff(factors)).max() < 0.02


def test_the_wall_clock_follows_the_zone() -> None:
    summer = datetime(2026, 7, 1, 10, tzinfo=UTC).timestamp()
    assert local_s(summer, "Europe/Berlin") - summer == 7200
    assert local_s(summer, "UTC") == summer


def history(form: str = "csv", **settings: Any) -> str:
    out = io.StringIO()
    config = HistoryConfig(**{"end_s": END_S, "weeks": 1.0, **settings})
    write_history(config, form=form, out=out)
    return out.getvalue()


@pytest.mark.parametrize(
    "settings",
    [
        {"weeks": math.nan},
        {"weeks": math.inf},
        {"end_s": math.nan},
        {"end_s": 1e20},
        {"seed": -1},
        {"rate": math.inf},
        {"rate": 1e300},
        {"rate": math.nan},
    ],
)
def test_numbers_that_make_no_history_are_refused(settings: dict[str, Any]) -> None:
    """They ended the command with a traceback."""
    with pytest.raises(UsageError):
        history(**settings)
    if "weeks" not in settings:
        with pytest.raises(UsageError):
            MonthsConfig(**{"end_s": END_S, "months": 1, "step_s": 3600, **settings})


def test_the_same_seed_writes_the_same_history_and_another_another() -> None:
    assert history(seed=7) == history(seed=7)
    assert history(seed=7) != history(seed=8)


def test_csv_is_sorted_complete_and_ends_before_the_end() -> None:
    lines = history().splitlines()
    assert lines[0] == CSV_HEADER == "timestamp,service,stage,route,signal,value,weight"
    rows = [line.split(",") for line in lines[1:]]
    stamps = [int(row[0]) for row in rows]
    assert stamps == sorted(stamps)
    assert stamps[-1] == END_S - 300
    assert len(rows) == 24 * 7 * 288
    assert len({tuple(row[1:5]) for row in rows}) == 24
    assert {row[4] for row in rows} == {"traffic", "errors", "latency"}
    assert all(float(row[5]) >= 0 and int(row[6]) >= 0 for row in rows)


def test_openmetrics_keeps_families_together_and_ends() -> None:
    lines = history("openmetrics", weeks=0.02).splitlines()
    assert lines[-1] == "# EOF"
    families = [line.partition("{")[0] for line in lines if not line.startswith("#")]
    assert families == sorted(families, key=["sentinel_value", "sentinel_weight"].index)
    sample = next(line for line in lines if line.startswith("sentinel_value"))
    assert sample.startswith(
        'sentinel_value{service="ledger-edge",stage="edge",route="POST /v1/transfers",'
        'signal="traffic"} '
    )


def test_a_history_of_shorter_days_is_the_same_a_day_later() -> None:
    starts = END_S - 300 * np.arange(2 * 288, 0, -1, dtype=np.float64)
    route = routes_at_rate(2000.0)[:1]
    traffic = simulate(route, local_s=starts, step_s=300, seed=1, day_s=86_400 / 7)[0].values
    assert traffic[:288] == pytest.approx(traffic[288:], rel=0.25)
    assert traffic.max() > 5 * traffic.min()
    assert traffic[-3:].mean() == pytest.approx(route[0].traffic, rel=0.25)


def test_the_shape_passes_through_the_levels_at_the_end(tmp_path: Path) -> None:
    levels = tmp_path / "levels.json"
    level = {
        "service": "ledger-edge",
        "stage": "edge",
        "route": "POST /v1/transfers",
        "signal": "traffic",
        "value": 50.0,
    }
    levels.write_text(json.dumps([level, {**level, "signal": "latency", "value": 0.25}]))
    rows = [line.split(",") for line in history(levels_file=levels).splitlines()[1:]]
    ours = [row for row in rows if row[1:4] == ["ledger-edge", "edge", "POST /v1/transfers"]]
    traffic = [float(row[5]) for row in ours if row[4] == "traffic"]
    latency = [float(row[5]) for row in ours if row[4] == "latency"]
    assert np.mean(traffic[-6:]) == pytest.approx(50.0, rel=0.12)
    assert np.mean(latency[-12:]) == pytest.approx(0.25, rel=0.15)
    assert min(traffic) < 0.35 * 50.0


def test_most_windows_of_a_healthy_route_have_no_errors() -> None:
    route = routes_at_rate(20.0)[0]
    series = simulate(
        [route], local_s=np.arange(END_S, END_S + 2016 * 300, 300.0), step_s=300.0, seed=3
    )
    errors = next(one for one in series if one.signal == "errors")
    total = float((errors.values * errors.weights).sum() / errors.weights.sum())
    assert total == pytest.approx(route.errors, rel=0.3)
    assert (errors.values == 0).mean() > 0.2


@pytest.mark.parametrize(
    ("signal", "value"),
    [("errors", 1.5), ("traffic", -1.0), ("colour", 1.0), ("latency", float("nan"))],
)
def test_impossible_levels_are_refused(signal: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"level|signal"):
        with_levels(routes_at_rate(20.0), {("s", "edge", "r", signal): value})


def test_a_route_only_the_levels_know_is_added() -> None:
    routes = with_levels(
        [], {("s", "edge", "r", "traffic"): 5.0, ("s", "edge", "r", "errors"): 0.1}
    )
    assert [(one.traffic, one.errors) for one in routes] == [(5.0, 0.1)]


def test_levels_that_are_no_list_are_refused(tmp_path: Path) -> None:
    levels = tmp_path / "levels.json"
    levels.write_text('{"a": 1}')
    with pytest.raises(LedgerError, match="must be a list"):
        history(levels_file=levels)


@pytest.mark.parametrize("settings", [{"weeks": 0.0}, {"weeks": 6.0, "step_s": 1}, {"rate": -1.0}])
def test_spans_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(LedgerError):
        history(**settings)
