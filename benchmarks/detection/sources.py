"""Where labelled series come from: a folder of them, and how one is laid on a grid of equal steps.

A folder holds `<dataset>/<series>.csv.gz` (or `.csv`) with the header `timestamp,value,label[,weight]` (Unix seconds; label 1
inside an incident), an `index.csv` with at least the columns dataset and series, and, where the history of some series ends at
a known instant, `kpi_test_from.json` (series: Unix seconds). Every source of series is brought to this form first.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_HISTORY_RATIO = {"nab": 0.15}
"""Share of a series' time that is history; half of it where nothing else is said."""
KINDS = frozenset({"traffic", "errors", "latency"})
GAUGE = "gauge"
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFile:
    """A series by name, not read yet.

    Attributes:
        dataset, name: folder and stem of the file.
        path: the file.
        scored_from_s: Unix seconds at which its history ends; None for the data set's usual share.
        kind: what its values are, in the words of `sentinel preview --kind`.
    """

    dataset: str
    name: str
    path: Path
    scored_from_s: int | None = None
    kind: str = GAUGE

    def read(self) -> LabelledSeries:
        """The series, in time order."""
        # numpy unpacks a file whose name ends in .gz itself.
        table = np.loadtxt(self.path, delimiter=",", skiprows=1, ndmin=2)
        table = table[np.argsort(table[:, 0], kind="stable")]
        time_s = table[:, 0].astype(np.int64)
        from_s = self.scored_from_s
        if from_s is None:
            share = _HISTORY_RATIO.get(self.dataset, 0.5)
            from_s = int(time_s[0] + (time_s[-1] - time_s[0]) * share)
        return LabelledSeries(
            time_s=time_s, value=table[:, 1], is_incident=table[:, 2] > 0, scored_from_s=from_s
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSeries:
    """Rows of one file.

    Attributes:
        time_s: Unix seconds, rising; missing samples are missing rows.
        value: of each row.
        is_incident: whether a person marked the row.
        scored_from_s: pages before this instant do not count.
    """

    time_s: Ints
    value: Floats
    is_incident: npt.NDArray[np.bool_]
    scored_from_s: int

    @property
    def step_s(self) -> int:
        """Usual distance of two rows."""
        return int(np.median(np.diff(self.time_s)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What a peer may see of a series: values at equal steps, no label.

    Attributes:
        time_s: Unix seconds of each row.
        value: of each row, NaN where there is no sample.
        step_s: distance of two rows.
        history_count: rows of history, before the first that is scored.
    """

    time_s: Ints
    value: Floats
    step_s: int
    history_count: int

    def rows_of(self, duration_s: float) -> int:
        """How many rows a duration takes, one at least."""
        return max(1, round(duration_s / self.step_s))

    @property
    def day_count(self) -> int:
        """Rows of a day."""
        return self.rows_of(_DAY_S)


def on_grid(series: LabelledSeries) -> Grid:
    """Lay rows on equal steps; of two rows in one step the later counts."""
    step_s = max(1, series.step_s)
    row = (series.time_s - series.time_s[0]) // step_s
    value = np.full(int(row[-1]) + 1, np.nan)
    value[row] = series.value
    time_s = series.time_s[0] + np.arange(value.size, dtype=np.int64) * step_s
    time_s[row] = series.time_s
    return Grid(
        time_s=time_s,
        value=value,
        step_s=step_s,
        history_count=int(np.searchsorted(time_s, series.scored_from_s)),
    )


def datasets_of(folder: Path) -> list[str]:
    """Names of the data sets in a folder, as its index lists them."""
    return list(dict.fromkeys(row["dataset"] for row in _index(folder)))


def series_of(folder: Path, dataset: str) -> list[SeriesFile]:
    """Series of one data set, in the order of the index.

    Raises:
        FileNotFoundError: there is no index, or a series in it has no file.
    """
    ends = folder / "kpi_test_from.json"
    scored_from_s = json.loads(ends.read_text()) if dataset == "kpi_final" else {}
    return [
        SeriesFile(
            dataset=dataset,
            name=row["series"],
            path=_file_of(folder / dataset, row["series"]),
            scored_from_s=scored_from_s.get(row["series"]),
            kind=row["kind"] if row.get("kind") in KINDS else GAUGE,
        )
        for row in _index(folder)
        if row["dataset"] == dataset
    ]


def _index(folder: Path) -> Iterable[dict[str, str]]:
    with (folder / "index.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def _file_of(folder: Path, name: str) -> Path:
    for suffix in (".csv.gz", ".csv"):
        path = folder / f"{name}{suffix}"
        if path.exists():
            return path
    raise FileNotFoundError(f"{name}: no .csv.gz and no .csv in {folder}")
