"""The table that the benchmark prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.detection.score import Figures, Tally, figures

BUDGETS = (1.0, 0.25)
"""False pages per series-week at which recall is compared."""

_HEADINGS = (
    ("detector", 26),
    ("series", 8),
    ("recall", 7),
    ("false/wk", 9),
    ("median", 7),
    ("precision", 10),
    ("F1", 6),
    ("delay", 6),
    *((f"<={budget:g}/wk", 11) for budget in BUDGETS),
    ("us/point", 9),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A detector on a data set.

    Attributes:
        detector: its name, and its setting where it has several.
        series_count: how many series it was measured on.
        figures: at its default setting.
        best: recall within each of `BUDGETS`, None where it cannot keep it.
        us_per_point: median over series of the process time a row; Sentinel's is that of the whole command.
    """

    detector: str
    series_count: int
    figures: Figures
    best: tuple[float | None, ...]
    us_per_point: float

    def document(self) -> dict[str, object]:
        """For programs."""
        best = {f"recall_within_{k:g}": value for k, value in zip(BUDGETS, self.best, strict=True)}
        return {
            "detector": self.detector,
            "series": self.series_count,
            **{
                name: None if value != value else value
                for name, value in asdict(self.figures).items()
            },
            **best,
            "us_per_point": self.us_per_point,
        }


def heading() -> str:
    """The line over the rows."""
    return "".join(
        _cell(name, width, is_first=not at) for at, (name, width) in enumerate(_HEADINGS)
    )


def line(row: Row) -> str:
    """One row."""
    now = row.figures
    cells = (
        row.detector,
        str(row.series_count),
        _number(now.recall_ratio, 3),
        _number(now.false_per_week, 2),
        _number(now.false_per_week_of_median_series, 2),
        _number(now.precision_ratio, 3),
        _number(now.f1_ratio, 3),
        _number(now.delay_rows, 0),
        *(_number(value, 3) for value in row.best),
        _number(row.us_per_point, 2),
    )
    return "".join(
        _cell(cell, width, is_first=not at)
        for at, (cell, (_, width)) in enumerate(zip(cells, _HEADINGS, strict=True))
    )


def worst(tallies: Mapping[str, Tally], *, count: int) -> list[str]:
    """Lines on the series with the most false pages: a few make most of them."""
    by_false = sorted(tallies.items(), key=lambda named: -named[1].false_count)[:count]
    return [
        f"    {name}: {one.false_count} false in {one.week_count:.1f} weeks,"
        f" {one.found_count} of {one.incident_count} found"
        for name, one in by_false
    ]


def halves(tallies: Sequence[Tally], *, count: int) -> str:
    """A line on `count` random halves of the series: between what 90 % of them lie.

    The same halves for every detector, so that two lines compare.
    """
    rng = np.random.default_rng(1)
    seen = []
    for _ in range(count):
        chosen = rng.permutation(len(tallies))[: (len(tallies) + 1) // 2]
        now = figures(tallies[at] for at in chosen)
        seen.append((now.recall_ratio, now.false_per_week))
    recall, false = (
        _between(np.array(found, np.float64), digits)
        for found, digits in zip(zip(*seen, strict=True), (3, 2), strict=True)
    )
    return (
        f"    {count} random halves of the series, 90 % of them: recall {recall}, false/wk {false}"
    )


def _between(found: NDArray[np.float64], digits: int) -> str:
    """The 5 and 95 % quantile, of halves in which something can be said."""
    known = found[np.isfinite(found)]
    if not known.size:
        return "-"
    low, high = np.quantile(known, (0.05, 0.95)).tolist()
    return f"{_number(low, digits)} to {_number(high, digits)}"


def _cell(text: str, width: int, *, is_first: bool) -> str:
    return text.ljust(width) if is_first else text.rjust(width)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}f}"
