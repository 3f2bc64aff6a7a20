"""What `sentinel preview` reads: a series a file, or many series a file as `sentinel baseline backfill` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sentinel.cli.options import unreadable
from sentinel.core.model import Kind, SeriesKey
from sentinel.errors import InputError, InputTooLargeError, MalformedInputError
from sentinel.history import (
    HistoryRows,
    OpenMetricsFile,
    SeriesNumbers,
    beyond_bounds,
    bounds_of,
    form_of,
    read_long,
    read_series,
)
from sentinel.pipeline.replay.grid import PlainSeries, by_width, kind_of, on_grid

DONE, WRONG, UNREADABLE = 0, 1, 3
_SUFFIXES = (".csv", ".csv.gz")
_ROWS_MAX = 20_000_000
_ANY_TIME_NS = 2**63 - 1
"""The past is what the file says; nothing here looks at a clock."""


@dataclass(slots=True)
class PastData:
    """Series that were read, what there is to say about the files, and the exit code.

    Attributes:
        series: by name.
        said: sentences, in order.
        code: 0; 1 when a file is wrong, 3 when one cannot be read, whatever else is.
    """

    series: dict[str, PlainSeries] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    code: int = DONE

    def fault(self, sentence: str, code: int) -> None:
        """Note a fault; what cannot be read weighs more than what is wrong."""
        self.said.append(sentence)
        self.code = max(self.code, code)

    def take(self, path: Path, series: PlainSeries, kind: Kind) -> None:
        """Take a series, unless there is one of its name, or its values or its time line cannot be."""
        if series.name in self.series:
            self.fault(f"{path}: a series named {series.name} was given already", WRONG)
            return
        own = kind_of(series, kind)
        lowest, highest = bounds_of(own)
        impossible = np.flatnonzero((series.value < lowest) | (series.value > highest))
        if impossible.size:
            first = int(impossible[0])
            place = f"{path}: at {series.time_ns[first] / 1e9:.15g}"
            self.fault(f"{place}: {beyond_bounds(own, float(series.value[first]))}", WRONG)
            return
        self.series[series.name] = series

    def leave_out_endless(self, *, keeps_dates: bool) -> None:
        """Leave out series, and whole services, whose time line would have too many windows or, where dates count, too long a gap."""
        for step_ns, group in by_width(list(self.series.values())).items():
            together: dict[str, list[PlainSeries]] = {}
            for one in group:
                name = one.name if one.key is None else f"service {one.key.service}"
                together.setdefault(name, []).append(one)
            for name, own in together.items():
                try:
                    on_grid(own, step_ns, keeps_dates=keeps_dates)
                except (InputTooLargeError, MalformedInputError) as error:
                    left_out = "" if own[0].key is None else f"; {name} is left out"
                    self.fault(f"{error}{left_out}", WRONG)
                    for one in own:
                        del self.series[one.name]


def read_past(paths: Sequence[Path], kind: Kind) -> PastData:
    """Read files, and those in folders; a fault in one leaves the others as they are.

    `kind` is what the values are in files that do not say.
    """
    past = PastData()
    files = _files(paths, past)
    if not files and past.code == DONE:
        past.fault("no file named *.csv or *.csv.gz was found", WRONG)
    numbers = SeriesNumbers()
    long_rows: list[HistoryRows] = []
    for path in files:
        try:
            form = form_of(path)
            if form == "series":
                past.take(path, _series(path), kind)
            else:
                long_rows.extend(_long_rows(path, form, numbers, past, before=long_rows))
        except OSError as error:
            past.fault(unreadable(path, error), UNREADABLE)
        except InputError as error:
            for line in str(error).splitlines():
                past.fault(line, WRONG)
    if long_rows:
        for one in _by_series(long_rows, numbers.keys, past):
            past.take(Path(one.name), one, kind)
    return past


def _files(paths: Sequence[Path], past: PastData) -> list[Path]:
    """The files that were named or lie in a folder that was."""
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        try:
            inside = sorted(path.iterdir())
        except OSError as error:
            past.fault(unreadable(path, error), UNREADABLE)
            continue
        folder_count = sum(one.is_dir() for one in inside)
        if folder_count:
            folders = "1 folder" if folder_count == 1 else f"{folder_count} folders"
            past.said.append(f"{path}: {folders} inside left out; name what is to be read")
        named = [one for one in inside if one.name.endswith(_SUFFIXES) and not one.is_dir()]
        for one in named:
            # A pipe would be waited for.
            if one.exists() and not one.is_file():
                past.fault(f"{one}: is no regular file", WRONG)
            else:
                files.append(one)
    return files


def _series(path: Path) -> PlainSeries:
    samples = read_series(path)
    return PlainSeries(
        name=path.name.removesuffix(".gz").removesuffix(".csv"),
        time_ns=samples.times_ns,
        value=samples.values,
        weight=samples.weights,
    )


def _long_rows(
    path: Path,
    form: str,
    numbers: SeriesNumbers,
    past: PastData,
    *,
    before: Sequence[HistoryRows],
) -> list[HistoryRows]:
    """The rows of a file with many series; all or, when it has a fault, none."""
    metrics = OpenMetricsFile(path) if form == "openmetrics" else None
    if metrics is None:
        batches = read_long(path, numbers, not_after_ns=_ANY_TIME_NS)
    else:
        batches = metrics.rows(numbers, not_after_ns=_ANY_TIME_NS)
    rows: list[HistoryRows] = []
    row_count = sum(one.time_ns.size for one in before)
    for one in batches:
        rows.append(one)
        row_count += one.time_ns.size
        if row_count > _ROWS_MAX:
            msg = f"{path}: more than {_ROWS_MAX} rows in all files"
            raise InputTooLargeError(msg, size_bytes=28 * row_count, limit_bytes=28 * _ROWS_MAX)
    if metrics is not None and metrics.skipped_count:
        past.said.append(f"{path}: {metrics.skipped_count} samples are no gauge of a series")
    return rows


def _by_series(
    rows: Sequence[HistoryRows], keys: Sequence[SeriesKey], past: PastData
) -> list[PlainSeries]:
    """The rows of each series in order of time, from whichever files they came."""
    series = np.concatenate([one.series for one in rows])
    time_ns = np.concatenate([one.time_ns for one in rows])
    order = np.lexsort((time_ns, series))  # stable: of two files the later one's row comes later
    series, time_ns = series[order], time_ns[order]
    is_first = np.ones(series.size, np.bool_)
    is_first[1:] = (np.diff(series) != 0) | (np.diff(time_ns) != 0)
    at = np.cumsum(is_first) - 1
    columns = []
    # In OpenMetrics value and weight of one instant are samples of their own.
    for name in ("value", "weight"):
        given = np.concatenate([getattr(one, name) for one in rows])[order]
        known = ~np.isnan(given)
        column = np.full(int(is_first.sum()), np.nan)
        column[at[known]] = given[known]
        columns.append(column)
        twice = int(np.count_nonzero(known) - np.count_nonzero(~np.isnan(column)))
        if twice and name == "value":
            rows_are = "row is" if twice == 1 else "rows are"
            past.said.append(f"{twice} {rows_are} there in two files; the later file's counts")
    series, time_ns = series[is_first], time_ns[is_first]
    bounds = np.searchsorted(series, np.arange(len(keys) + 1))
    return [
        PlainSeries(
            name=str(key),
            time_ns=time_ns[first:last],
            value=columns[0][first:last],
            weight=columns[1][first:last],
            key=key,
        )
        for key, first, last in zip(keys, bounds[:-1], bounds[1:], strict=True)
        if last > first
    ]
