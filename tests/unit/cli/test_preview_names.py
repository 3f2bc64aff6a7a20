"""Goal: a row of the preview's table tells which series it is of, also where the width cuts names, and shows no number that is none.

Method: the last column made of rows and names, at widths that hold them and that do not; a row made by hand.
"""

from __future__ import annotations

import math

from sentinel.cli.preview.stops import stops_table
from sentinel.cli.preview.table import number_told, with_names
from sentinel.core.model import Gate
from sentinel.pipeline.replay import ReplayedStop

TEXTS = ["start (UTC)       what", "2026-11-01 09:00  page", "2026-11-01 10:00  page"]
KIOSK = "ledger-edge edge GET /v1/accounts/{id} [kiosk] traffic"
SHOPS = "ledger-edge edge GET /v1/accounts/{id} [shops] traffic"


def test_names_that_fit_stand_behind_their_rows() -> None:
    for columns in (None, 100):
        assert with_names(TEXTS, [KIOSK, SHOPS], columns) == [
            "start (UTC)       what  series",
            f"2026-11-01 09:00  page  {KIOSK}",
            f"2026-11-01 10:00  page  {SHOPS}",
        ]


def test_names_that_are_cut_have_numbers_and_stand_whole_below() -> None:
    lines = with_names(TEXTS, [KIOSK, SHOPS], 50)
    assert all(len(line) <= 50 for line in lines[:3])
    assert lines[1].startswith("2026-11-01 09:00  page  [1] ledger-")
    assert lines[2].startswith("2026-11-01 10:00  page  [2] ledger-")
    assert lines[3:] == ["", f"[1] {KIOSK}", f"[2] {SHOPS}"]


def test_a_series_has_one_number_and_no_more_than_forty_are_listed() -> None:
    names = [f"{KIOSK} number {at}" for at in range(45)]
    texts = [TEXTS[0], *(TEXTS[1] for _ in range(90))]
    lines = with_names(texts, names + names, 60)
    assert lines[46].split("[1] ")[0] == lines[1].split("[1] ")[0]
    assert len(lines) == 1 + 90 + 1 + 40 + 1
    assert lines[-1] == "and 5 more series; -o ndjson has all names"


def test_where_no_value_would_have_passed_the_value_itself_is_shown() -> None:
    """A fall of latency, which no rule tells of, was shown as 0 that needed -inf."""
    stop = ReplayedStop(
        series="latency",
        start_s=1_790_000_000,
        end_s=1_790_000_000,
        gate=Gate.DIRECTION,
        score=0.0,
        direction=-1,
        expected=0.1,
        value=0.0657,
        edge=-math.inf,
        words="",
    )
    row = stops_table([stop], columns=None)[3]
    assert row.split()[2:] == ["0", "0.00", "0.0657", "-", "direction", "latency"]
    assert number_told(1e-9, beside=0.0657) == "0"
