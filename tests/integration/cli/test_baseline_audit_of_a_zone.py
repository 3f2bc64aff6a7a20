"""Goal: the audit is of the baseline that is live: its zone through a change of the clocks, and no incident in it.

Method: a store of eight weeks whose days follow the wall clock of Berlin until four days after the clocks went back, with an incident of a day and a half, and the
fit that a sidecar made of it; the command with the sidecar's configuration and without.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.app.calendar_section import CalendarConfig
from sentinel.app.calendars import make_calendar
from sentinel.core.baseline import BIN_NS
from sentinel.core.model import (
    Incident,
    Kind,
    SeriesKey,
    WindowBlock,
)
from sentinel.core.scoring import ScoringSettings
from sentinel.pipeline.fitting import fit_payload
from sentinel.ports import Snapshot, Tick
from sentinel.runtime.settings import Zone
from sentinel.storage.sqlite import SqliteStore, StoreConfig, StoreReader
from tests.integration.cli.test_baseline_audit import run
from tests.support.past_incidents import past_fall
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

DAY_NS = 86_400_000_000_000
HOUR_NS = 3_600_000_000_000
PER_DAY = DAY_NS // BIN_NS
DAYS = 56
END_NS = 1_792_890_000_000_000_000 + 4 * DAY_NS
"""2026-10-29 01:00 UTC; the clocks of Berlin went back four days before."""
KEY = SeriesKey("ledger", "edge", "POST /v1/transfers", "traffic")
FAULT_NS, FAULT_WINDOWS = END_NS - 12 * DAY_NS, 36 * 12


def fault() -> Incident:
    last_ns = FAULT_NS + FAULT_WINDOWS * BIN_NS - 1
    return past_fall(1, KEY, first_ns=FAULT_NS, last_ns=last_ns, incident_id="fault")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The store, its configuration beside it."""
    directory = tmp_path_factory.mktemp("zone") / "store"
    calendar = make_calendar(CalendarConfig().to_plain(Zone("Europe/Berlin")), now_ns=END_NS)
    store = SqliteStore(StoreConfig(directory=str(directory)), make_surroundings())
    store.open()
    try:
        ids = store.register([(KEY, Kind.TRAFFIC)], now_ns=END_NS)
        at_ns = END_NS - DAYS * DAY_NS + np.arange(DAYS * PER_DAY) * BIN_NS
        hour = (at_ns + calendar.offset_ns(at_ns)) % DAY_NS / HOUR_NS
        # Busy by day, by the clock on the wall.
        value = 60 - 50 * np.cos(2 * np.pi * hour / 24)
        value *= 1 + 0.03 * np.random.default_rng(2).standard_normal(len(value))
        value[(at_ns >= FAULT_NS) & (at_ns < FAULT_NS + FAULT_WINDOWS * BIN_NS)] = 5.0
        block = WindowBlock(
            start_ns=int(at_ns[0]),
            step_ns=BIN_NS,
            series=np.array(ids),
            kind=np.zeros(1, np.int8),
            value=value.astype(np.float32)[:, None],
            weight=np.ones((len(value), 1), np.float32),
            heard=np.ones((len(value), 1), np.bool_),
        )
        store.append_history(block)
        last = block.windows(len(value) - 1, len(value))
        store.append_tick(Tick(block=last, incidents=(fault(),), pages=(), notes=()))
        with StoreReader(directory) as reader:
            payload = fit_payload(
                reader,
                now_ns=END_NS,
                version=1,
                step_ns=10_000_000_000,
                settings=ScoringSettings(),
                calendar=calendar,
            )
        assert payload is not None
        store.save_fit(Snapshot(at_ns=END_NS, version=1, payload=payload))
        file = directory.parent / "sentinel.yaml"
        file.write_text(f"mode: shadow\nzone: Europe/Berlin\nstore: {{directory: {directory}}}\n")
        yield directory
    finally:
        store.close()


def report(*arguments: str) -> dict[str, Any]:
    done = run(*arguments, "-o", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_zone_is_followed_through_a_change_of_the_clocks(folder: Path) -> None:
    told = report("--config", str(folder.parent / "sentinel.yaml"))
    assert (told["zone"], told["notes"]) == ("Europe/Berlin", [])
    (one,) = told["series"]
    assert (one["model"], one["fits"], one["fallbacks"]) == ("profile", 21, {})
    assert one["disagreements"] == []
    assert one["miss_ratio"]["ours"] < 0.05
    assert one["left_over"]["ours"]["after_a_day"] < 0.1


def test_without_its_configuration_it_says_that_another_baseline_is_live(folder: Path) -> None:
    told = report("--store", str(folder))
    (note,) = told["notes"]
    assert note.startswith("the newest fit of the store follows another calendar: --config")
    # By UTC each hour is missed alike once the clocks were moved.
    (one,) = told["series"]
    assert told["zone"] == "UTC"
    assert one["left_over"]["ours"]["after_a_day"] > 0.2


def test_what_was_seen_in_an_incident_is_told_and_left_out_of_both(folder: Path) -> None:
    done = run("--config", str(folder.parent / "sentinel.yaml"))
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert f"history 42.0 days, of which {FAULT_WINDOWS} windows of incidents left out" in text
    assert "level change" not in text
    assert text.endswith("- no disagreement worth telling")
    assert "Times are Europe/Berlin." in text


def test_a_configuration_that_is_not_there_is_said(folder: Path) -> None:
    done = run("--config", str(folder.parent / "nothing.yaml"))
    assert done.returncode == 3
    assert "nothing.yaml" in done.stderr
