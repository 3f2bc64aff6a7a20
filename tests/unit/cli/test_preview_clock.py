"""Goal: a preview's tables show the clock of the zone that was asked for and say which; programs read Unix seconds.

Method: the command in this process, over a file whose instants are known, through a change of the clocks.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from sentinel.cli.main import main
from sentinel.cli.preview.clock import ShownClock, clock_of_zone
from sentinel.runtime.settings import Zone

pytestmark = pytest.mark.timeout(120)

NOTE = "times and hours are those of Europe/Berlin"
STEP_S = 600
DAYS = 30
START_S = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp())
SPIKE_S = int(datetime(2026, 10, 28, 23, 30, tzinfo=UTC).timestamp())
"""On the 29th in Berlin, where the clock was put back on the 25th."""
BERLIN = Zone("Europe/Berlin")


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gauge that is low on Mondays at 0 h in Berlin, and far too high once."""
    time_s = START_S + np.arange(DAYS * 86_400 // STEP_S) * STEP_S
    offset_s = np.where(time_s < START_S + 24 * 86_400 + 3600, 7200, 3600)
    value = 100 + 4 * np.random.default_rng(3).standard_normal(time_s.size)
    value[((time_s + offset_s) // 3600 + 72) % 168 == 0] -= 70
    value[np.abs(time_s - SPIKE_S - STEP_S) <= STEP_S] = 250
    path = tmp_path_factory.mktemp("past") / "orders.csv"
    rows = [f"{at},{one:.6f}" for at, one in zip(time_s.tolist(), value.tolist(), strict=True)]
    path.write_text("\n".join(["timestamp,value", *rows]) + "\n")
    return path


def preview(capsys: pytest.CaptureFixture[str], *args: str | Path) -> str:
    assert main(["preview", *map(str, args)]) == 0
    return capsys.readouterr().out


def test_tables_show_the_zone_that_was_asked_for_and_name_it_once(
    orders: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--zone` decided by Berlin and told of UTC."""
    monkeypatch.setenv("COLUMNS", "80")
    out = preview(capsys, "--csv", orders, "--zone", BERLIN, "--gates")
    lines = out.splitlines()
    assert lines[0] == NOTE
    assert lines[1].split()[:2] == ["start", "min"]
    assert any(line.startswith("2026-10-29 00:30 ") for line in lines)
    assert out.count("Berlin") == 1
    assert "UTC" not in out
    assert "on Mon at 00 h)" in lines[-2]
    assert max(map(len, lines)) <= 80


def test_without_a_zone_tables_are_those_of_utc(
    orders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in ([], ["--zone", "UTC"], ["--zone", "Etc/UTC"]):
        out = preview(capsys, "--csv", orders, *options)
        assert out.startswith("start (UTC) ")
        assert "\n2026-10-28 23:30 " in out
        assert "Etc" not in out


def test_a_calendar_of_the_configuration_says_the_zone(
    orders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "sentinel.yaml"
    for text in ("zone: Europe/Berlin", "calendar: {zone: Europe/Berlin}"):
        config.write_text(text)
        out = preview(capsys, "--csv", orders, "--config", config)
        assert out.startswith(NOTE)
        assert "\n2026-10-29 00:30 " in out
    # The option goes first.
    out = preview(capsys, "--csv", orders, "--config", config, "--zone", "Asia/Tokyo")
    assert "\n2026-10-29 08:30 " in out


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_programs_read_unix_seconds_and_hours_of_utc(
    form: str, orders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--csv", orders, "--zone", BERLIN, "--blind-spots", "-o", form)
    out = preview(capsys, *options)
    found = json.loads(out) if form == "json" else [json.loads(one) for one in out.splitlines()]
    assert SPIKE_S in [one.get("start") for one in found]
    assert "on Sun at 23 h UTC" in found[-1]["cannot_see"]
    assert found[-1]["worst_rise_hour"] == 6 * 24 + 23
    assert "Berlin" not in out


def test_hours_of_the_week_are_the_last_ones_that_were_seen() -> None:
    """Before the clock was put back on Sunday the 25th at 1 h UTC, an hour of UTC was another of Berlin."""
    until_s = START_S + 27 * 86_400
    clock = clock_of_zone(BERLIN, from_ns=START_S * 10**9, until_ns=until_s * 10**9)
    hour_of = {"Sun": 6 * 24, "Mon": 0}
    assert clock.week_hour(hour_of["Sun"]) == "Sun at 02 h"
    assert clock.week_hour(hour_of["Sun"] + 1) == "Sun at 02 h"
    assert clock.week_hour(hour_of["Sun"] + 23) == "Mon at 00 h"
    assert clock.week_hour(hour_of["Mon"]) == "Mon at 01 h"
    assert ShownClock(until_s=until_s).week_hour(hour_of["Sun"]) == "Sun at 00 h UTC"


def test_an_hour_that_came_twice_is_told_apart() -> None:
    changed_s = START_S + 24 * 86_400 + 3600
    clock = clock_of_zone(BERLIN, from_ns=START_S * 10**9, until_ns=changed_s * 10**9)
    assert [clock.minute(changed_s + second) for second in (-3601, -3600, -1, 0, 3599, 3600)] == [
        "2026-10-25 01:59",
        "2026-10-25 02:00 +02",
        "2026-10-25 02:59 +02",
        "2026-10-25 02:00 +01",
        "2026-10-25 02:59 +01",
        "2026-10-25 03:00",
    ]
    # In March an hour is skipped, and none comes twice.
    spring_s = int(datetime(2026, 3, 29, 1, tzinfo=UTC).timestamp())
    assert [clock.minute(spring_s + second) for second in (-1, 0)] == [
        "2026-03-29 01:59",
        "2026-03-29 03:00",
    ]


def test_half_hours_are_shown() -> None:
    clock = clock_of_zone(Zone("Asia/Kolkata"), from_ns=0, until_ns=START_S * 10**9)
    assert clock.week_hour(167) == "Mon at 04:30"
    assert clock.minute(START_S) == "2026-10-01 05:30"
