"""docs/band.md and its picture: how the band is made, step by step, over a series that the live code judged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sentinel.app.docs.chart import Chart, Panel
from sentinel.app.docs.sample_band import SampleBand, sample_band

_TITLE = (
    "Four days of calls a second over the band that was expected for them; at night on the third day they triple for an"
    " hour and on the fourth afternoon two in five stay away: both times the value leaves the band, the score rises above 1"
    " and an incident opens"
)
_BAND, _EXPECTED, _VALUE, _STRANGE = "#d7e3f4", "#5b7aa6", "#222222", "#c62828"
_SCORE_TOP = 4.0
_INTRO = """\
![The value over its band, red where it is outside, and the score below](band.svg)

The grey band is what was expected of each window **before** it came; the line is what came. Where it is outside the band it is red, and there the score below is above 1: the band is
the score turned round, not a second opinion. The red stretches at the top are the incidents, which go on until the value has stayed inside for a while.
Everything in the picture is computed by the code that judges live, on a made-up series of six weeks: a shop's calls a second, with a report at four each morning, fewer calls at weekends,
an hour on Wednesday night with three times the calls, and an hour and a half on Thursday afternoon in which two in five stayed away. `make docs` draws it anew.
"""
_STEPS = """\
## How it is made

| Step | What is done | Where to read on |
|---|---|---|
| 1. Windows | Calls, failed calls and durations are reduced to windows of ten seconds for each service, stage and route | [ingest](components/ingest.md) |
| 2. Expected by the calendar | The median of the same time of day 1, 2, 3, 4, 7, 14, 21 and 28 days ago, refitted each hour. A median, so one bad day is not repeated; of the last days only those that foretell as well as the weeks. In the picture: the report at four is expected | [fit](components/fit.md), [models](components/fit.md#models) |
| 3. Expected by the present | The expectation is moved by how far the last hours have been off (the *seasonal view*), and a second one follows the last windows (the *view of the last windows*). So a day that is 5 % busier as a whole is not strange all day long | [verdicts](components/verdicts.md#factors) |
| 4. How far is far | Each view has a scale: what the series usually misses it by, over the last fourteen days, for each hour of the day. So a series has its own width, and each of its hours | [fit](components/fit.md) |
| 5. One statistic | The mean of both views' distances, each in its own scale. It is linear in the value, so the edges of the band follow from it by arithmetic, and band and score cannot disagree | [decision 0011](decisions/0011-level-frozen-spread-clipped.md) |
| 6. The series' own threshold | A series whose peaks often go just beyond the common cut gets a higher one; a series with rare, far peaks does not | [verdicts](components/verdicts.md#gates) |
| 7. What people ask besides | A least distance, a least ratio, a direction: errors and latency are strange above only, traffic by less than 30 % never. In the picture that is what makes the band: this shop's own noise is much smaller. The score is divided by what all this leaves, and 1 is the cut | [configuration](configuration.md), `scoring.series` |
| 8. Longer horizons | Means of 1, 5 and 30 minutes are held against the same expectation, which shows what no single window does | [decision 0021](decisions/0021-horizons.md) |
| 9. Incident, page | One window far outside, or two in a row, open an incident; series of a service join one incident; learning stands still while it is open, so that an outage does not become usual | [page](page.md) |

Shares of failed calls and latency take one more thought: a share of few calls is judged together with the calls before it
([0015](decisions/0015-errors-by-their-calls.md)), and latency by its share of slow calls ([0024](decisions/0024-latency-by-its-slow-calls.md)).

"""


def band_lines() -> Iterator[str]:
    """docs/band.md."""
    yield _INTRO
    yield _STEPS
    yield "## Read one window"
    yield ""
    yield from _window_lines(sample_band())
    yield "## Of your own series"
    yield ""
    yield "`/metrics/series` has `sentinel_value`, `sentinel_expected`, `sentinel_lower`, `sentinel_upper` and `sentinel_score` of each; the boards in `dashboards/` draw"
    yield "them like this. `sentinel incidents ID` says the same in words, and `sentinel preview` what it would have been over your past. What no band shows is said in [limits](limits.md)."


def _window_lines(band: SampleBand) -> Iterator[str]:
    """Three windows in numbers: one inside, one of the rise, one of the fall."""
    outside = band.score >= 1
    rise = int(np.argmax(band.value - band.upper))
    fall = int(np.argmax(band.lower - band.value))
    inside = int(np.flatnonzero(~outside)[len(band.value) // 3])
    yield "| Window | value | expected | band | score |"
    yield "|---|---|---|---|---|"
    for at, word in ((inside, "an ordinary one"), (rise, "in the rise"), (fall, "in the fall")):
        moment = np.datetime64(band.start_ns + at * band.step_ns, "ns").astype("datetime64[m]")
        yield (
            f"| {str(moment).replace('T', ' ')}, {word} | {band.value[at]:.1f} | {band.expected[at]:.1f}"
            f" | {band.lower[at]:.1f} to {band.upper[at]:.1f} | {max(float(band.score[at]), 0):.1f} |"
        )
    yield ""


def band_picture() -> str:
    """docs/band.svg."""
    band = sample_band()
    outside = band.score >= 1
    chart = Chart(
        title=_TITLE,
        width=960,
        count=len(band.value),
        label_every=86_400_000_000_000 // band.step_ns,
    )
    top = float(np.max(band.upper)) * 1.12
    values = Panel(chart, top_px=34, height_px=250, low=0.0, high=top, unit="calls/s")
    for first, last in band.incidents:
        values.span(first, last, colour="#f6c8c8")
    values.area(band.lower, band.upper, colour=_BAND)
    values.line(band.expected, colour=_EXPECTED, dashes="4 3")
    values.line(band.value, colour=_VALUE)
    values.points(_only(band.value, outside), colour=_STRANGE)
    scores = Panel(chart, top_px=322, height_px=70, low=0.0, high=_SCORE_TOP, unit="score")
    scores.line(np.clip(band.score, 0, _SCORE_TOP), colour=_VALUE)
    scores.level(1.0, colour=_STRANGE, word="1 is the cut")
    chart.legend(
        [
            (_VALUE, "value"),
            (_EXPECTED, "expected"),
            (_BAND, "band"),
            (_STRANGE, "outside: score of 1 and more"),
            ("#f6c8c8", "incident open"),
        ]
    )
    chart.days(band.start_ns, band.step_ns, top_px=34, bottom_px=392)
    return chart.text(height=426)


def _only(value: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(where, value, np.float32(np.nan))
