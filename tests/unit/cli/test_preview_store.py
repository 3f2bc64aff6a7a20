"""Goal: a preview that cannot be made says why in a sentence, and spans are read as people write them.

Method: the command in this process, on folders and files that hold no store.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sentinel.app.zones import zone_offsets
from sentinel.cli.main import main
from sentinel.cli.preview.table import summary, table
from sentinel.core.decide import DecisionSettings, new_decision_state
from sentinel.core.model import IncidentKind, Kind, PageReason, SeriesKey, Severity, WindowBlock
from sentinel.core.stats.packing import pack_arrays
from sentinel.pipeline.plain_settings import plain_settings
from sentinel.pipeline.replay import ReplayedPage
from sentinel.ports import Snapshot, Tick
from sentinel.runtime.settings import Zone
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from tests.support.surroundings import make_surroundings

STEP_NS = 10_000_000_000
START_NS = 1_790_000_000_000_000_000


def preview(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    try:
        code = main(["preview", *map(str, args)])
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with two minutes of traffic and a state to begin from."""
    return store_of(tmp_path, DecisionSettings())


def store_of(tmp_path: Path, settings: DecisionSettings) -> Path:
    store = SqliteStore(StoreConfig(directory=str(tmp_path / "store")), make_surroundings())
    store.open()
    key = SeriesKey("pay", "edge", "POST /x", "traffic")
    (series_id,) = store.register([(key, Kind.TRAFFIC)], now_ns=START_NS)
    state = new_decision_state(step_ns=STEP_NS, settings=settings)
    payload = pack_arrays(
        {"state": np.frombuffer(state.to_bytes(), np.int8)},
        {"format": 1, "settings": json.dumps(plain_settings(settings))},
    )
    store.record_state(Snapshot(at_ns=START_NS, version=0, payload=payload))
    for at in range(12):
        block = WindowBlock(
            start_ns=START_NS + at * STEP_NS,
            step_ns=STEP_NS,
            series=np.array([series_id]),
            kind=np.array([Kind.TRAFFIC], np.int8),
            value=np.ones((1, 1), np.float32),
            weight=np.full((1, 1), 10, np.float32),
            heard=np.ones((1, 1), np.bool_),
        )
        store.append_tick(Tick(block=block))
    store.close()
    return tmp_path / "store"


def test_notes_keep_to_the_width_of_a_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, err = preview(capsys, "--store", folder)
    told = [line for line in (out + err).splitlines() if not line.startswith("Next: ")]
    assert max(map(len, told)) <= 80
    monkeypatch.delenv("COLUMNS")
    _, _, wide = preview(capsys, "--store", folder)
    assert max(map(len, wide.splitlines())) > 80
    assert " ".join(err.split()) == " ".join(wide.split())


def test_a_store_of_two_minutes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = preview(capsys, "--store", folder)
    assert code == 0
    closing, following = out.splitlines()
    assert closing == "no incidents in 1 series, 0 windows scored"
    assert following == f"Next: sentinel preview --store {folder} --gates"
    assert err == (
        "sentinel preview: 2 min of windows of 10 s, equal to what live decided\n"
        "sentinel preview: 1 series never judged, mostly because too little of the past was known"
        " to expect anything: pay edge POST /x traffic\n"
    )


def test_instants_are_those_of_the_zone_of_its_pages_or_of_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    incidents = DecisionSettings().incidents
    berlin = replace(
        incidents,
        zone_name="Europe/Berlin",
        zone_offsets=zone_offsets(Zone("Europe/Berlin"), now_ns=START_NS),
    )
    folder = store_of(tmp_path, DecisionSettings(incidents=berlin))
    _, out, _ = preview(capsys, "--store", folder)
    assert out.startswith("times and hours are those of Europe/Berlin\nno incidents")
    config = tmp_path / "sentinel.yaml"
    for text in ("zone: Asia/Tokyo", "{zone: UTC, calendar: {zone: Asia/Tokyo}}"):
        config.write_text(text)
        for options in ([], ["--coarse"]):
            _, out, _ = preview(capsys, "--store", folder, "--config", config, *options)
            assert out.startswith("times and hours are those of Asia/Tokyo\nno incidents")
    config.write_text("mode: shadow")
    assert preview(capsys, "--store", folder, "--config", config)[1].startswith("no incidents")


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (("--from", "2030-01-01"), "no window is stored in that span"),
        (("--last", "1m"), "1 min of windows of 10 s, equal to what live decided"),
        (("--from", "2020-01-01T00:00Z"), "this may differ from live: what live began from is"),
        (("--sensitivity", "quiet"), "it was decided by other settings than live"),
        (("--coarse",), "close to what live decided, not equal"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_what_it_covers_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], span: tuple[str, ...], said: str
) -> None:
    code, _, err = preview(capsys, "--store", folder, *span)
    assert code == 0
    assert said in err


@pytest.mark.parametrize("option", ["--kind errors", "--model fourier", "--country DE"])
def test_options_for_files_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    code, out, err = preview(capsys, "--store", folder, *option.split())
    assert (code, out) == (2, "")
    assert f"{option.split()[0]}: only for --csv" in err


def test_a_coarse_preview_without_windows_of_a_minute_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over a store that was only backfilled it said "no incidents in 0 series" and nothing else."""
    _, _, err = preview(capsys, "--store", folder, "--coarse", "--from", "2030-01-01")
    assert "no window of a minute is stored in that span" in err


@pytest.mark.parametrize("span", ["--from yesterday", "--last 7", "--last 0d", "--to 25:00"])
def test_a_span_that_is_none_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], span: str
) -> None:
    code, _, err = preview(capsys, "--store", folder, *span.split())
    assert code == 2
    assert "; write " in err


def test_what_holds_no_store_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(bytes(range(256)) * 40)
    for args, said in (
        (("--store", tmp_path), "there is no store in"),
        (("--snapshot", garbage), "is no snapshot, which is a file that --save-snapshot wrote"),
        (("--snapshot", tmp_path / "none"), "none cannot be read: No such file"),
        (("--snapshot", tmp_path), "is a folder; --store reads the folder"),
    ):
        code, out, err = preview(capsys, *args)
        assert (code, out) == (3, "")
        assert said in err


def test_a_copy_is_never_written_over_a_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    code, out, err = preview(capsys, "--store", folder, "--save-snapshot", mine)
    assert (code, out, mine.read_text()) == (3, "", "mine")
    assert "is there already, and is not written over" in err
    code, _, err = preview(
        capsys, "--store", folder, "--coarse", "--save-snapshot", tmp_path / "other"
    )
    assert code == 3
    assert "not a snapshot or windows of a minute" in err


def test_exactly_one_source_is_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert preview(capsys)[0] == 2
    assert preview(capsys, "--store", folder, "--csv", folder)[0] == 2


def test_a_source_that_was_blind_is_summed_up_beside_series() -> None:
    """Its ticket is named by the source, which is no series: the table broke off with a KeyError."""
    blind = ReplayedPage(
        series="ledger",
        start_s=0.0,
        end_s=60.0,
        score=math.nan,
        direction=-1,
        expected=math.nan,
        value=math.nan,
        severity=Severity.TICKET,
        reason=PageReason.OPENED,
        kind=IncidentKind.BLIND,
    )
    lines = summary([blind], days={"ledger edge": 1.0, "ledger consumer": 3.5}, columns=None)
    assert lines == ["0 pages and 1 ticket in 3.5 days:  ledger"]
    assert table([blind], columns=None)[1].endswith("ticket, blind  ledger")
