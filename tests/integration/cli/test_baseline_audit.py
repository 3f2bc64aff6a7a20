"""Goal: `sentinel baseline audit` reads a store beside its writer, asks statsmodels in a child, and prints what people can read.

Method: a store with four weeks of three series and some incidents, held open by its writer; the command in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sentinel.core.model import (
    Incident,
    IncidentKind,
    IncidentState,
    Kind,
    Member,
    SeriesKey,
    Severity,
    WindowBlock,
)
from sentinel.ports import Tick
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BIN_NS = 300_000_000_000
DAY_NS = 86_400_000_000_000
PER_DAY = DAY_NS // BIN_NS
DAYS = 28
END_NS = 1_789_948_800_000_000_000
KEYS = [
    SeriesKey("ledger", "edge", "POST /v1/transfers", "traffic"),
    SeriesKey("ledger", "database", "INSERT", "traffic"),
    SeriesKey("auth", "edge", "GET /token\x1b[31m", "traffic"),
]


def member(key: SeriesKey, series_id: int, score: float) -> Member:
    return Member(
        series_id=series_id,
        key=key,
        direction=1,
        first_ns=END_NS - DAY_NS,
        last_ns=END_NS - DAY_NS,
        peak_score=score,
        value=2.0,
        expected=1.0,
        lower=0.5,
        upper=1.5,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A store in use: the first series paged twice, has quieter weekends and a new level in its last eight days, the second was part of it once."""
    directory = tmp_path / "store"
    store = SqliteStore(StoreConfig(directory=str(directory)), make_surroundings())
    store.open()
    try:
        ids = store.register([(key, Kind.TRAFFIC) for key in KEYS], now_ns=END_NS)
        bins = np.arange(DAYS * PER_DAY)
        rng = np.random.default_rng(2)
        shape = 100 * (1 + 0.4 * np.sin(2 * np.pi * bins / PER_DAY))
        weekend = np.where((bins // PER_DAY + (END_NS // DAY_NS - DAYS + 3)) % 7 >= 5, 0.5, 1.0)
        more = np.where(bins >= (DAYS - 8) * PER_DAY, 1.6, 1.0)
        value = np.stack([shape * weekend * more, shape, shape], axis=1)
        value *= 1 + 0.03 * rng.standard_normal(value.shape)
        block = WindowBlock(
            start_ns=END_NS - DAYS * DAY_NS,
            step_ns=BIN_NS,
            series=np.array(ids),
            kind=np.zeros(3, np.int8),
            value=value.astype(np.float32),
            weight=np.ones(value.shape, np.float32),
            heard=np.ones(value.shape, np.bool_),
        )
        store.append_history(block)
        incidents = tuple(
            Incident(
                incident_id=f"incident-{at}",
                group="ledger",
                kind=IncidentKind.ANOMALY,
                severity=Severity.PAGE,
                state=IncidentState.RESOLVED,
                opened_ns=END_NS - DAY_NS,
                paged_ns=END_NS - DAY_NS,
                resolved_ns=END_NS - DAY_NS + BIN_NS,
                members=tuple(
                    member(KEYS[one], ids[one], 5.0 - one) for one in ((0, 1) if at else (0,))
                ),
            )
            for at in range(2)
        )
        last = block.windows(len(bins) - 1, len(bins))
        store.append_tick(Tick(block=last, incidents=incidents, pages=(), notes=()))
        yield directory
    finally:
        store.close()


def run(*arguments: str, hidden: bool = False) -> subprocess.CompletedProcess[str]:
    """The command; with `hidden` as where statsmodels is not installed."""
    code = "from sentinel.cli.main import main; import sys; sys.exit(main(sys.argv[1:]))"
    if hidden:
        code = (
            "import importlib.util as u; find = u.find_spec;"
            "u.find_spec = lambda n, *a: None if n == 'statsmodels' else find(n, *a);" + code
        )
    return subprocess.run(
        [sys.executable, "-c", code, "baseline", "audit", *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "COLUMNS": "80"},
    )


def snapshot(folder: Path) -> dict[str, bytes]:
    """The database and its log as they are; the file that readers share says who reads."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and not path.name.endswith("-shm")
    }


def test_the_series_that_paged_are_told_with_what_ours_misses(folder: Path) -> None:
    before = snapshot(folder)
    done = run("--store", str(folder))
    assert done.returncode == 0, done.stderr
    assert snapshot(folder) == before
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    heads = [line for line in lines if line.startswith(("ledger", "auth"))]
    assert heads == [
        "ledger edge POST /v1/transfers traffic: on 2 incidents, named first on 2",
        "ledger database INSERT traffic: on 1 incident, named first on 0",
    ]
    text = " ".join(done.stdout.split())
    assert "- level change of +6" in text
    assert "on 13 September 00:00 UTC that ours took" in text
    assert text.endswith("- no disagreement worth telling")
    assert done.stderr == ""


def test_programs_get_all_of_it(folder: Path) -> None:
    done = run("--store", str(folder), "--top", "1", "-o", "json")
    report = json.loads(done.stdout)
    assert report["zone"] == "UTC"
    assert report["end"].startswith("2026-09-21T00:00")
    (one,) = report["series"]
    assert (one["model"], one["fits"], one["fallbacks"]) == ("profile", 21, {})
    assert (one["route"], one["paged"], one["incidents"]) == ("POST /v1/transfers", 2, 2)
    assert one["strength"]["week"] > 0.8
    assert one["left_over"]["mstl"]["after_a_day"] < one["left_over"]["ours"]["after_a_day"]
    assert one["disagreements"]
    curve = run("--store", str(folder), "--top", "1", "--model", "fourier", "-o", "json")
    (told,) = json.loads(curve.stdout)["series"]
    assert told["model"] == "fourier"
    assert told["miss_ratio"]["ours"] != one["miss_ratio"]["ours"]


def test_a_name_picks_series_that_never_paged_and_is_safe_to_print(folder: Path) -> None:
    done = run("--store", str(folder), "--series", "auth *")
    assert done.returncode == 0
    assert "GET /token" in done.stdout
    assert "\x1b" not in done.stdout
    assert "on no incident" in done.stdout
    none = run("--store", str(folder), "--series", "nobody *")
    assert none.returncode == 1
    assert "no series is called nobody *" in none.stderr


def test_what_is_missing_is_said_with_exit_code_3(folder: Path, tmp_path: Path) -> None:
    done = run("--store", str(folder), hidden=True)
    assert done.returncode == 3
    assert " ".join(done.stderr.split()) == (
        "sentinel baseline audit: statsmodels is not installed;"
        " pip install 'sentinel-sidecar[audit]' brings it"
    )
    done = run("--store", str(tmp_path / "nowhere"))
    assert done.returncode == 3
    assert "there is no store" in done.stderr
    assert run("--store", str(folder), "--top", "99").returncode == 2
