"""Goal: a replay pages for what was put into a series, when it began, and not for its ordinary shape.

Method: five weeks of a made-up series with a day's shape, and three labelled incidents; the pages are compared
with the labels. Nothing here looks at scores. Series do not see each other, which is a test of its own; so one replay,
which costs seconds, serves many.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.core.baseline import Calendar, Model, ModelRule
from sentinel.core.decide import DecisionSettings
from sentinel.core.model import Kind, PageReason
from sentinel.errors import InputTooLargeError, MalformedInputError
from sentinel.pipeline.models import ModelSettings
from sentinel.pipeline.replay import PlainSeries, ReplayedPage, replay

pytestmark = pytest.mark.timeout(300)

STEP_S = 300
DAYS = 35
START_S = 1_700_000_100
SETTINGS = DecisionSettings()
CURVE = ModelSettings(rules=(ModelRule(model=Model.FOURIER),))
INCIDENTS = {8000: (3, 2.2), 8800: (40, 0.3), 9500: (1, 3.0)}
"""First sample, how many, and what they are multiplied by: up, a long fall, a single spike."""


def shaped(seed: int, *, days: int = DAYS) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    count = days * 86_400 // STEP_S
    time_s = START_S + np.arange(count) * STEP_S
    phase = 2 * np.pi * (time_s % 86_400) / 86_400
    noise = np.random.default_rng(seed).standard_normal(count)
    return time_s * 10**9, (100 + 60 * np.sin(phase)) * (1 + 0.03 * noise)


def with_incidents(name: str, seed: int) -> PlainSeries:
    time_ns, value = shaped(seed)
    for first, (count, factor) in INCIDENTS.items():
        value[first : first + count] *= factor
    return PlainSeries(name=name, time_ns=time_ns, value=value)


def pages_of(*series: PlainSeries) -> list[ReplayedPage]:
    return replay(series, kind=Kind.GAUGE, settings=SETTINGS).pages


def holed() -> PlainSeries:
    time_ns, value = shaped(6)
    keep = np.random.default_rng(1).random(len(value)) > 0.3
    keep[3000:3900] = False
    return PlainSeries(name="holes", time_ns=time_ns[keep], value=value[keep])


@pytest.fixture(scope="module")
def found() -> dict[str, list[ReplayedPage]]:
    """The pages of each of the gauges."""
    time_ns, calm = shaped(2)
    _, restless = shaped(5)
    restless[8000:] += 400.0 * np.resize([1.0, -0.5], len(restless) - 8000)
    _, huge = shaped(7)
    huge[5000:5100] = 1e300
    given = [
        with_incidents("orders", 1),
        PlainSeries(name="calm", time_ns=time_ns, value=calm),
        PlainSeries(name="restless", time_ns=time_ns, value=restless),
        holed(),
        PlainSeries(name="lone", time_ns=time_ns[:1], value=calm[:1]),
        PlainSeries(name="huge", time_ns=time_ns, value=huge),
    ]
    pages = pages_of(*given)
    return {one.name: [page for page in pages if page.series == one.name] for one in given}


@pytest.mark.full
def test_the_curve_finds_them_too_and_is_another_expectation() -> None:
    given = [with_incidents("orders", 1)]
    plain = replay(given, kind=Kind.GAUGE, settings=SETTINGS).pages
    curve = replay(given, kind=Kind.GAUGE, settings=SETTINGS, models=CURVE).pages
    assert [page.start_s for page in curve] == [page.start_s for page in plain]
    assert [page.expected for page in curve] != [page.expected for page in plain]


def test_labelled_incidents_are_paged_at_their_first_sample_and_nothing_else_is(
    found: dict[str, list[ReplayedPage]],
) -> None:
    pages = found["orders"]
    starts = [int(page.start_s - START_S) // STEP_S for page in pages]
    assert starts == sorted(INCIDENTS)
    assert [page.direction for page in pages] == [1, -1, 1]
    assert all(page.score >= 1 for page in pages)
    held = [(page.end_s - page.start_s) / STEP_S for page in pages]
    assert all(hold >= count for hold, (count, _) in zip(held, INCIDENTS.values(), strict=True))
    assert held[2] <= 8


@pytest.mark.parametrize(
    "name",
    [
        "calm",
        pytest.param("holes", id="rows are missing"),
        pytest.param("lone", id="one row"),
        pytest.param("huge", id="values that float32 cannot hold"),
    ],
)
def test_what_is_usual_or_missing_has_no_page(
    found: dict[str, list[ReplayedPage]], name: str
) -> None:
    assert found[name] == []


def test_series_do_not_see_each_other_nor_what_comes_later() -> None:
    one, two = with_incidents("one", 3), with_incidents("two", 4)
    alone = pages_of(one)
    short = PlainSeries(name="two", time_ns=two.time_ns[500:7000], value=two.value[500:7000])
    cut = PlainSeries(name="cut", time_ns=one.time_ns[:8820], value=one.value[:8820])
    together = pages_of(short, one, cut)
    assert [page for page in together if page.series == "one"] == alone
    before = [page for page in together if page.series == "cut"]
    assert before
    assert [page.start_s for page in before] == [page.start_s for page in alone[: len(before)]]
    assert before[-1].end_s == int(one.time_ns[8819]) / 1e9


def test_a_change_that_stays_is_paged_again_ever_more_rarely(
    found: dict[str, list[ReplayedPage]],
) -> None:
    told = [page for page in found["restless"] if page.reason is not PageReason.WORSENED]
    gaps_h = np.diff([page.start_s for page in told[:3]]) / 3600
    assert gaps_h[0] >= 4
    assert gaps_h[1] >= 12


def test_it_says_how_many_windows_of_each_series_had_a_score() -> None:
    time_ns, value = shaped(8, days=3)
    short = PlainSeries(name="short", time_ns=time_ns[:300], value=value[:300])
    lone = PlainSeries(name="lone", time_ns=time_ns[:1], value=value[:1])
    whole = PlainSeries(name="whole", time_ns=time_ns, value=value)
    found = replay([short, lone, whole], kind=Kind.GAUGE, settings=SETTINGS).scored_count
    assert list(found) == ["short", "lone", "whole"]
    assert found["short"] == found["lone"] == 0
    assert 0 < found["whole"] <= 2 * 86_400 // STEP_S


@pytest.mark.parametrize("step_s", [3600, 420])
def test_windows_that_no_sidecar_has_are_replayed_with_a_fit_each_midnight(step_s: int) -> None:
    count = 60 * 86_400 // step_s
    time_s = START_S + np.arange(count) * step_s
    noise = np.random.default_rng(5).standard_normal(count)
    value = (100 + 60 * np.sin(2 * np.pi * (time_s % 86_400) / 86_400)) * (1 + 0.02 * noise)
    at = count - 86_400 // step_s
    value[at : at + 3] *= 3
    pages = pages_of(PlainSeries(name="orders", time_ns=time_s * 10**9, value=value))
    assert [page.start_s for page in pages] == [float(time_s[at])]


@pytest.mark.full
@pytest.mark.timeout(300)
def test_a_gap_of_years_is_one_of_some_weeks() -> None:
    """A first row of 1970 hung the command. Nothing looks back further than the longest lag of four weeks."""
    series = with_incidents("orders", 1)
    starts = {}
    for gap_days in (36, 20_000):
        first = series.time_ns[:1] - (gap_days * 86_400 + STEP_S) * 10**9
        longer = PlainSeries(
            name="orders",
            time_ns=np.concatenate([first, series.time_ns]),
            value=np.concatenate([[100.0], series.value]),
        )
        starts[gap_days] = [page.start_s for page in pages_of(longer)]
    assert starts[36] == starts[20_000] == [page.start_s for page in pages_of(series)]


@pytest.mark.parametrize("stray_days", [0, pytest.param(39, marks=pytest.mark.full)])
@pytest.mark.parametrize("calendar", [None, Calendar(zone="UTC", digest="made")])
def test_hours_of_the_week_are_those_of_the_files_dates(
    calendar: Calendar | None, stray_days: int
) -> None:
    """Each file's first day was taken for a Thursday: an hour of Sundays was told as one of Tuesdays."""
    time_s = START_S + np.arange(30 * 288) * STEP_S
    value = 100 + 4 * np.random.default_rng(3).standard_normal(time_s.size)
    # The first of January 1970 was a Thursday.
    value[(time_s // 3600 + 72) % 168 == 6 * 24 + 3] -= 70
    if stray_days:
        time_s = np.concatenate([time_s[:1] - stray_days * 86_400, time_s])
        value = np.concatenate([[100.0], value])
    series = PlainSeries(name="orders", time_ns=time_s * 10**9, value=value)
    found = replay([series], kind=Kind.GAUGE, settings=SETTINGS, calendar=calendar)
    spot = found.blind_spots["orders"]
    assert spot.worst_rise_ratio > 1.5 > 1.3 > spot.rise_ratio
    assert spot.worst_rise_hour == spot.worst_fall_hour == 6 * 24 + 3


def test_where_dates_count_a_stray_first_row_is_refused_and_named() -> None:
    """Half a century of windows was replayed without a word."""
    series = with_incidents("orders", 1)
    stray = PlainSeries(
        name="orders",
        time_ns=np.concatenate([[0], series.time_ns]),
        value=np.concatenate([[100.0], series.value]),
    )
    berlin = Calendar(zone="Europe/Berlin", offsets=((0, 3600),), digest="made")
    said = (
        "orders: there is nothing from 1970-01-01 to 2023-11-14; .* leave out the rows before it"
    )
    with pytest.raises(MalformedInputError, match=said):
        replay([stray], kind=Kind.GAUGE, settings=SETTINGS, calendar=berlin)
    days = PlainSeries(name="orders", time_ns=series.time_ns[:900], value=series.value[:900])
    replayed = replay([days], kind=Kind.GAUGE, settings=SETTINGS, calendar=berlin)
    assert replayed.scored_count["orders"] > 0


def test_a_time_line_that_never_ends_is_refused() -> None:
    steps = np.resize(np.array([1] * 3 + [10**8]), 200)
    series = PlainSeries(name="broken", time_ns=np.cumsum(steps) * 10**9, value=np.zeros(200))
    with pytest.raises(InputTooLargeError, match="broken: from its first row to its last"):
        pages_of(series)


def test_the_end_of_a_fall_is_no_rise_where_falls_are_ignored() -> None:
    """Latency fell to a third for an hour, rightly without a page, and its return to what is usual paged.

    A fall opens no incident there, so the level and the last residuals followed it down. A rise above what is
    usual pages also right after a fall.
    """
    given, ends_s = [], {}
    for hours in (1, 12):
        time_ns, value = shaped(9)
        value /= 500.0
        fall = slice(8000, 8000 + hours * 3600 // STEP_S)
        value[fall] *= 0.3
        given.append(PlainSeries(name=f"fallen {hours}", time_ns=time_ns, value=value))
        value = value.copy()
        value[fall.stop : fall.stop + 3] *= 3.0
        given.append(PlainSeries(name=f"risen {hours}", time_ns=time_ns, value=value))
        ends_s[f"risen {hours}"] = int(time_ns[fall.stop]) / 1e9
    pages = replay(given, kind=Kind.LATENCY, settings=SETTINGS).pages
    assert {page.series: page.start_s for page in pages} == ends_s
    assert len(pages) == len(ends_s)
