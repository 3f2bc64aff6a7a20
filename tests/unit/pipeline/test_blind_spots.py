"""Goal: what could not be seen is the band's own edge, hour by hour, whatever pieces the verdicts come in.

Method: bands made by hand, one of them looser at night.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from sentinel.cli.preview.blind import blind_document, blind_table, blind_words, unjudged_said
from sentinel.core.model import Reason, VerdictBlock
from sentinel.pipeline.blind_spots import BlindSpot, BlindSpots

HOUR_NS = 3_600_000_000_000
NAN, INF = math.nan, math.inf


def day_of_verdicts() -> VerdictBlock:
    """A Thursday of traffic that is looser at 3 h, errors of which nothing is expected, latency whose falls are nothing, and silence."""
    expected = np.tile(np.array([100.0, 0.0, 0.1, NAN], np.float32), (24, 1))
    lower = np.tile(np.array([50.0, 0.0, -INF, NAN], np.float32), (24, 1))
    upper = np.tile(np.array([180.0, 0.05, 0.15, NAN], np.float32), (24, 1))
    upper[3, 0] = 260.0
    lower[4, 0] = 10.0
    reason = np.zeros(expected.shape, np.int8)
    reason[:, 3] = Reason.NO_HISTORY
    reason[:3, 3] = Reason.BLIND
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
    assert traffic.worst_rise_hour == traffic.worst_fall_hour - 1 == 3 * 24 + 3
    assert traffic.worst_fall_ratio == pytest.approx(0.1)
    assert blind_words(traffic) == (
        "cannot see a rise below x1.8 (x2.6 on Thu at 03 h UTC)"
        " nor a fall above x0.5 (x0.1 on Thu at 04 h UTC)"
    )
    assert blind_words(errors) == "cannot see a rise to less than 0.05 nor a fall to more than 0"
    assert blind_words(latency) == "cannot see a rise below x1.5 nor any fall"
    assert blind_words(silent) == (
        "cannot see anything: no window was judged; mostly because too little of the past was known to expect anything"
    )
    assert (silent.judged_count, traffic.judged_count) == (0, 24)
    assert (silent.why_not, traffic.why_not) == (Reason.NO_HISTORY, None)
    assert blind_document("rent", silent)["why_not"] == "no_history"
    told = blind_document("calls", errors)
    assert (told["rise_ratio"], told["rise"], told["windows_judged"]) == (
        None,
        pytest.approx(0.05),
        24,
    )


def test_a_newer_band_of_the_same_hour_of_the_week_counts() -> None:
    spots = BlindSpots()
    whole = day_of_verdicts()
    spots.note(whole)
    for days, ratio in ((7, 5.0), (14, 4.0)):
        later = replace(whole.windows(0, 1), start_ns=days * 24 * HOUR_NS)
        later.upper[:] = 100.0 * ratio
        spots.note(later)
        assert spots.spots()[0].worst_rise_ratio == pytest.approx(ratio)
    # The same hour of another day is another hour.
    sunday = replace(whole.windows(0, 1), start_ns=17 * 24 * HOUR_NS)
    sunday.upper[:] = INF
    sunday.lower[:] = -INF
    spots.note(sunday)
    spot = spots.spots()[0]
    assert (spot.worst_rise_hour, spot.worst_fall_hour) == (6 * 24, 6 * 24)
    assert spot.rise_ratio == pytest.approx(1.8)
    assert blind_words(spot) == (
        "cannot see a rise below x1.8 (any on Sun at 00 h UTC) nor a fall above x0.5 (any on Sun at 00 h UTC)"
    )
    told = blind_document("calls", spot)
    assert (told["worst_rise_ratio"], told["worst_rise_hour"]) == (None, 144)


def test_the_band_of_a_longer_horizon_is_not_taken_for_that_of_its_windows() -> None:
    whole = day_of_verdicts()
    whole.upper[5] = 110.0
    horizon_s = np.zeros(whole.score.shape, np.int16)
    horizon_s[5] = 1800
    spots = BlindSpots()
    spots.note(replace(whole, horizon_s=horizon_s))
    (spot, *_) = spots.spots()
    assert spot.judged_count == 24
    assert np.count_nonzero(np.isfinite(spots._bands[0, :, 0])) == 23


def test_the_table_begins_with_the_blindest_and_is_bounded() -> None:
    def spot(ratio: float, *, why_not: Reason | None = None) -> BlindSpot:
        return BlindSpot(
            series_id=1,
            judged_count=int(why_not is None),
            why_not=why_not,
            rise_ratio=ratio,
            fall_ratio=0.0,
            worst_rise_ratio=ratio,
            worst_rise_hour=0,
            worst_fall_ratio=0.0,
            worst_fall_hour=0,
            rise=1.0,
            fall=1.0,
        )

    lines = blind_table({f"calls-{at:02}": spot(1.0 + at / 8) for at in range(25)}, columns=None)
    assert lines[2] == "  cannot see a rise below x4 nor a fall to nothing:  calls-24"
    assert len(lines) == 2 + 20 + 1
    # The one that sees nothing at all was the last, and with many series not among them.
    nothing = replace(spot(math.inf), rise=math.inf)
    lines = blind_table({"calls": spot(2.0), "none": nothing}, columns=None)
    assert lines[2] == "  cannot see any rise nor a fall to nothing:  none"
    assert blind_table({}, columns=None) == []
    silent = {f"calls-{at}": spot(math.nan, why_not=Reason.TOO_FEW) for at in range(5)}
    silent["rent"] = spot(math.nan, why_not=Reason.BLIND)
    silent["quantile"] = spot(math.nan, why_not=Reason.YIELDED)
    assert blind_table(silent, columns=None) == []
    assert unjudged_said({**silent, "seen": spot(1.5)}) == [
        "1 series never judged, mostly because the source was not heard: rent",
        "5 series never judged, mostly because there were too few calls to mean something:"
        " calls-0, calls-1, calls-2 and 2 more",
    ]


def test_a_ratio_to_nearly_nothing_is_told_as_a_value() -> None:
    """Shares of errors were told as "a rise below x4.8e+03 (x1e+08 on Fri at 20 h UTC)"."""
    whole = day_of_verdicts()
    whole.expected[:, 1] = 1e-5
    whole.expected[3, 0] = 1.0
    spots = BlindSpots()
    spots.note(whole)
    traffic, errors, *_ = spots.spots()
    assert blind_words(errors) == "cannot see a rise to less than 0.05 nor a fall to nothing"
    assert "a rise below x1.8 (more than x100 on Thu at 03 h UTC)" in blind_words(traffic)


def test_where_the_width_is_short_names_stand_above_their_words() -> None:
    """Two series of a store were both called "ledge…ffic"."""
    spots = BlindSpots()
    spots.note(day_of_verdicts())
    seen = {f"ledger-edge edge GET /v1/{name} traffic": spots.spots()[0] for name in "ab"}
    narrow = blind_table(seen, columns=80)
    assert max(map(len, narrow)) <= 80
    assert narrow[2:5] == [
        "  ledger-edge edge GET /v1/a traffic",
        "    cannot see a rise below x1.8 (x2.6 on Thu at 03 h UTC) nor a fall above x0.5",
        "      (x0.1 on Thu at 04 h UTC)",
    ]
    assert len(blind_table(seen, columns=160)) == 2 + 2


@pytest.mark.parametrize("why", list(Reason)[1:])
def test_every_reason_has_words(why: Reason) -> None:
    whole = day_of_verdicts()
    whole.reason[:] = why
    spots = BlindSpots()
    spots.note(whole)
    assert {spot.why_not for spot in spots.spots()} == {why}
    words = blind_words(spots.spots()[0])
    assert ("; mostly because " in words) is (why is not Reason.YIELDED)
    assert words


def test_a_quantile_that_yields_is_neither_blind_nor_unjudged() -> None:
    """Its first hours were judged; the band of then says nothing of what is seen now."""
    whole = day_of_verdicts()
    whole.reason[9:] = Reason.YIELDED
    spots = BlindSpots()
    spots.note(whole)
    spot = spots.spots()[0]
    assert (spot.judged_count, spot.why_not) == (9, Reason.YIELDED)
    assert blind_table({"quantile": spot}, columns=None) == []
    assert unjudged_said({"quantile": spot}) == []
    assert blind_words(spot) == "is read by people alone: its place is judged by its slow calls"
    assert blind_document("quantile", spot)["why_not"] == "yielded"
