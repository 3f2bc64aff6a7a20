"""Goal: what could not be seen is the band's own edge, hour by hour, whatever pieces the verdicts come in.

Method: bands made by hand, one of them looser at night.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from sentinel.cli.preview_blind import blind_document, blind_table, blind_words
from sentinel.core.model import Reason, VerdictBlock
from sentinel.pipeline.blind_spots import BlindSpot, BlindSpots

HOUR_NS = 3_600_000_000_000
NAN, INF = math.nan, math.inf


def day_of_verdicts() -> VerdictBlock:
    """Traffic that is looser at 3 h, errors of which nothing is expected, latency whose falls are nothing, and silence."""
    expected = np.tile(np.array([100.0, 0.0, 0.1, NAN], np.float32), (24, 1))
    lower = np.tile(np.array([50.0, 0.0, -INF, NAN], np.float32), (24, 1))
    upper = np.tile(np.array([180.0, 0.05, 0.15, NAN], np.float32), (24, 1))
    upper[3, 0] = 260.0
    reason = np.zeros(expected.shape, np.int8)
    reason[:, 3] = Reason.NO_HISTORY
    return VerdictBlock(
        start_ns=0,
        step_ns=HOUR_NS,
        series=np.array([1, 2, 3, 7]),
        value=expected,
        weight=expected,
        score=expected * 0,
        expected=expected,
        lower=lower,
        upper=upper,
        direction=np.ones(expected.shape, np.int8),
        reason=reason,
    )


@pytest.mark.parametrize("cuts", [[], [1, 2, 17]])
def test_what_could_not_be_seen(cuts: list[int]) -> None:
    whole = day_of_verdicts()
    spots = BlindSpots()
    for first, last in zip([0, *cuts], [*cuts, 24], strict=True):
        spots.note(whole.windows(first, last))
    traffic, errors, latency, silent = spots.spots()
    assert [one.series_id for one in (traffic, errors, latency, silent)] == [1, 2, 3, 7]
    assert traffic.rise_ratio == pytest.approx(1.8)
    assert traffic.fall_ratio == pytest.approx(0.5)
    assert traffic.worst_rise_ratio == pytest.approx(2.6)
    assert traffic.worst_rise_hour == 3
    assert blind_words(traffic) == (
        "cannot see a rise below x1.8 (x2.6 at 03 h UTC) nor a fall above x0.5"
    )
    assert blind_words(errors) == "cannot see a rise to less than 0.05 nor a fall to more than 0"
    assert blind_words(latency) == "cannot see a rise below x1.5 nor any fall"
    assert blind_words(silent) == "cannot see anything: no window was judged"
    assert (silent.judged_count, traffic.judged_count) == (0, 24)
    told = blind_document("calls", errors)
    assert (told["rise_ratio"], told["rise"], told["windows_judged"]) == (
        None,
        pytest.approx(0.05),
        24,
    )


def test_a_newer_band_of_the_same_hour_counts() -> None:
    spots = BlindSpots()
    whole = day_of_verdicts()
    spots.note(whole)
    later = whole.windows(0, 1)
    later.upper[:] = 500.0
    spots.note(later)
    assert spots.spots()[0].worst_rise_ratio == pytest.approx(5.0)


def test_the_table_begins_with_the_blindest_and_is_bounded() -> None:
    def spot(ratio: float) -> BlindSpot:
        return BlindSpot(
            series_id=1,
            judged_count=1,
            rise_ratio=ratio,
            fall_ratio=0.0,
            worst_rise_ratio=ratio,
            worst_rise_hour=0,
            rise=1.0,
            fall=1.0,
        )

    lines = blind_table({f"calls-{at:02}": spot(1.0 + at) for at in range(25)}, columns=None)
    assert lines[2] == "  cannot see a rise below x25 nor a fall to nothing:  calls-24"
    assert len(lines) == 2 + 20 + 1
    assert blind_table({}, columns=None) == []
