"""Goal: of windows from files it is known which series a sidecar would have watched and which sources it would have heard.

Method: rows of two services at windows of five minutes, by hand; what is watched is read off window by window.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.model import Kind, SeriesKey
from sentinel.pipeline.replay.grid import (
    DAY_NS,
    PlainSeries,
    block_of,
    by_width,
    coarse,
    in_sidecars,
    on_grid,
)
from sentinel.pipeline.replay.windows import WatchedWindows, watched, watched_always

STEP_NS = 300 * 10**9
DAY = 288
HOUR = 12
TRAFFIC = SeriesKey("pay", "edge", "POST /x", "traffic")
ERRORS = TRAFFIC._replace(signal="errors")
SLOW = TRAFFIC._replace(signal="slow_calls")
DEPTH = SeriesKey("pay", "metrics", "all", "depth")
OTHER = SeriesKey("mail", "edge", "POST /y", "traffic")
NAN = float("nan")


def windows_of(rows: Mapping[SeriesKey, Mapping[int, float]]) -> WatchedWindows:
    """Rows by window, counted from midnight of the first day."""
    series = [
        PlainSeries(
            name=str(key),
            time_ns=np.array(sorted(own), np.int64) * STEP_NS + 20_000 * DAY * STEP_NS,
            value=np.array([own[window] for window in sorted(own)]),
            weight=np.full(len(own), 7.0),
            key=key,
        )
        for key, own in rows.items()
    ]
    (service,) = in_sidecars(series, STEP_NS)
    assert service.first_day == 20_000
    block = block_of(service.lines, STEP_NS, Kind.GAUGE, start_ns=20_000 * DAY * STEP_NS)
    return watched(block, service.lines, list(rows))


def turns(found: WatchedWindows) -> list[list[int]]:
    return [own.tolist() for own in found.turns]


def each(first: int, last: int, value: float = 1.0) -> dict[int, float]:
    return dict.fromkeys(range(first, last), value)


def test_a_source_is_heard_where_any_of_its_series_has_a_row() -> None:
    found = windows_of(
        {
            TRAFFIC: each(0, 4) | each(6, 8),
            DEPTH: {0: 5.0, 4: NAN},
            OTHER: each(0, 8),
        }
    )
    heard = found.block.heard
    assert heard[:, 0].tolist() == [True] * 5 + [False] + [True] * 2
    assert heard[:, 1].tolist() == heard[:, 0].tolist()
    assert heard[:, 2].all()
    # Where there is no row nothing is known of calls either.
    assert found.block.weight[:, 0].tolist() == [7, 7, 7, 7, 0, 0, 7, 7]
    assert np.isnan(found.block.value[4:6, 0]).all()


def test_a_place_is_watched_from_its_first_call_and_a_gauge_from_its_first_value() -> None:
    found = windows_of(
        {
            TRAFFIC: each(0, 5, 0.0) | each(5, 20),
            ERRORS: each(0, 20, NAN),
            DEPTH: each(0, 3, NAN) | each(3, 20),
        }
    )
    assert turns(found) == [[5], [5], [3]]
    assert found.first_window == found.history_window == 3
    assert not found.block.heard[:5, 0].any()
    assert np.isnan(found.block.value[:5, 0]).all()


def test_it_is_forgotten_after_a_day_of_nothing_as_an_hour_turns_and_comes_back() -> None:
    found = windows_of(
        {
            TRAFFIC: each(0, 14) | each(14, 3 * DAY, 0.0) | each(3 * DAY, 4 * DAY),
            OTHER: each(0, 4 * DAY),
        }
    )
    # The last call is in window 13, and a day later the hour has run for one window and more.
    assert turns(found)[0] == [0, DAY + 2 * HOUR, 3 * DAY]
    assert turns(found)[1] == [0]
    pieces = list(found.pieces(DAY + HOUR, DAY + 3 * HOUR))
    assert [(one.window_count, one.series.tolist()) for one in pieces] == [
        (HOUR, [1, 2]),
        (HOUR, [2]),
    ]
    assert [one.series.tolist() for one in found.pieces(3 * DAY - 1, 3 * DAY + 1)] == [[2], [1, 2]]


def test_data_as_the_hour_turns_keeps_it() -> None:
    just = each(0, 1) | {DAY + HOUR: 1.0}
    late = each(0, 1) | {DAY + HOUR + 1: 1.0}
    assert turns(windows_of({TRAFFIC: just, OTHER: each(0, 3 * DAY)}))[0] == [
        0,
        2 * DAY + 2 * HOUR,
    ]
    assert turns(windows_of({TRAFFIC: late, OTHER: each(0, 3 * DAY)}))[0][:2] == [0, DAY + HOUR]


def test_what_counts_as_slow_is_watched_from_its_own_first_row_on() -> None:
    rows = {TRAFFIC: each(0, 2 * DAY), SLOW: each(DAY, 2 * DAY, 0.01)}
    assert turns(windows_of(rows)) == [[0], [DAY]]
    gone = each(0, 1) | each(3 * DAY, 4 * DAY)
    found = windows_of(
        {TRAFFIC: gone, SLOW: each(2 * DAY, 4 * DAY, 0.01), OTHER: each(0, 4 * DAY)}
    )
    assert turns(found)[1] == [3 * DAY]


def test_known_by_a_window_is_what_was_watched_before() -> None:
    found = windows_of({TRAFFIC: each(0, 9), OTHER: each(4, 9)})
    assert [found.known_by(window).tolist() for window in (0, 1, 4, 5)] == [
        [False, False],
        [True, False],
        [True, False],
        [True, True],
    ]


def test_of_series_that_do_not_say_what_they_are_no_source_is_ever_silent() -> None:
    at: NDArray[np.int64] = np.array([10, 11, 500], np.int64) * STEP_NS
    service = on_grid([PlainSeries(name="a", time_ns=at, value=np.ones(3))], STEP_NS)
    block = block_of(service.lines, STEP_NS, Kind.GAUGE)
    found = watched_always(block, service.lines)
    assert found.block.heard.all()
    (own,) = found.turns
    assert own.tolist() == [service.first_window]
    assert found.first_window == service.first_window >= DAY


@pytest.mark.parametrize("first_s", [-3, 0, 3])
def test_rows_that_come_a_bit_early_or_late_have_a_window_each(first_s: int) -> None:
    """Of a first row that came late all that came early were taken for the window before: every other one was silence."""
    late_s = np.random.default_rng(3).integers(-3, 4, 2000)
    late_s[0] = first_s
    time_ns = (np.arange(2000) * 300 + 40 + late_s) * 10**9 + 20_000 * DAY * STEP_NS
    series = PlainSeries(name="a", time_ns=time_ns, value=np.ones(2000), key=TRAFFIC)
    (service,) = in_sidecars([series], STEP_NS)
    assert service.lines[0].window.tolist() == list(range(2000))


@pytest.mark.parametrize("step_s", [5, 7, 8, 9, 16, 60, 64, 300, 320])
def test_bins_begin_where_the_windows_begin(step_s: int) -> None:
    """Windows of 8 s in bins of 304 s could not begin at midnight, and a preview of them ended with a traceback."""
    step_ns = step_s * 10**9
    start_ns = 20_000 * DAY_NS if DAY_NS % step_ns == 0 else 0
    times = start_ns + np.arange(2 * DAY_NS // step_ns) * step_ns
    series = PlainSeries(name="x", time_ns=times, value=np.ones(times.size))
    (service,) = in_sidecars([series], step_ns)
    bins = coarse(block_of(service.lines, step_ns, Kind.GAUGE, start_ns=start_ns))
    assert bins.start_ns == start_ns
    assert 150 * 10**9 <= bins.step_ns <= 320 * 10**9
    assert bins.step_ns % step_ns == 0


def test_a_known_width_stands_where_half_of_the_rows_are_missing() -> None:
    """Windows of 5 s over scrapes of every 15 s: two of three have a value, and rows 7.5 s apart on average are no width."""
    times = np.array([n for n in range(900) if n % 3], np.int64) * 5 * 10**9
    told = PlainSeries(name="x", time_ns=times, value=np.ones(times.size), width_ns=5 * 10**9)
    assert list(by_width([told])) == [5 * 10**9]
