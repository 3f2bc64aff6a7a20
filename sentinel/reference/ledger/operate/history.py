"""`sentinel-ledger history`: simulated history as CSV or OpenMetrics.

A row's timestamp is the start of its window. CSV is sorted by time; OpenMetrics, whose rules ask
that a family's samples stand together, by series and then by time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TextIO

import numpy as np
import orjson
from numpy.typing import NDArray

from sentinel.reference.ledger.domain import LedgerError, UnreadableError, UsageError
from sentinel.reference.ledger.domain.history import (
    SimulatedSeries,
    routes_at_rate,
    simulate,
    with_levels,
)
from sentinel.reference.ledger.domain.shape import DAY_S, local_s

CSV_HEADER = "timestamp,service,stage,route,signal,value,weight"
_HOUR_S = 3600
_WINDOWS_COUNT_MAX = 2_000_000
_END_S_MAX = 7_258_118_400
_RATE_MAX = 1e9
_SHORTEST_DAY_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryConfig:
    """How much history, how fine, ending when, and at which levels."""

    end_s: float
    weeks: float = 6.0
    step_s: int = 300
    seed: int = 1
    rate: float = 20.0
    zone: str = "UTC"
    levels_file: Path | None = None
    day_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse spans that hold no window, or more than fit in memory."""
        if (
            self.step_s < 1
            or not isfinite(self.weeks)
            or not 1 <= self.windows_count <= _WINDOWS_COUNT_MAX
        ):
            message = f"weeks and step must make 1 to {_WINDOWS_COUNT_MAX} windows"
            raise UsageError(message)
        check_common(end_s=self.end_s, seed=self.seed, rate=self.rate)
        check_day(self.day_s)

    @property
    def windows_count(self) -> int:
        """Number of windows."""
        return int(self.weeks * 7 * 86_400 // self.step_s)


def check_common(*, end_s: float, seed: int, rate: float) -> None:
    """Refuse an end that no clock shows, and what the random numbers cannot be drawn for.

    Raises:
        UsageError: one of these.
    """
    if not 0 <= end_s < _END_S_MAX:
        message = "--end must lie between 1970 and 2199, in Unix seconds"
        raise UsageError(message)
    if seed < 0:
        message = "--seed must not be negative"
        raise UsageError(message)
    if not 0 <= rate <= _RATE_MAX:
        message = f"the rate must not be negative, nor above {_RATE_MAX:g} a second"
        raise UsageError(message)


def check_day(day_s: float | None) -> None:
    """Refuse a day that is too short for the steps between its hours, or longer than one.

    Raises:
        UsageError: one of these.
    """
    if day_s is not None and not _SHORTEST_DAY_S <= day_s <= DAY_S:
        message = f"--day-seconds must be {_SHORTEST_DAY_S:g} to {DAY_S:g}"
        raise UsageError(message)


def write_history(config: HistoryConfig, *, form: str, out: TextIO) -> int:
    """Simulate and write the history; returns the number of samples.

    Raises:
        UnreadableError: the levels' file cannot be read.
        LedgerError: it makes no sense.
    """
    last = int(config.end_s // config.step_s) * config.step_s
    starts = last - config.step_s * np.arange(config.windows_count, 0, -1, dtype=np.int64)
    routes = routes_at_rate(config.rate)
    if config.levels_file is not None:
        try:
            routes = with_levels(routes, read_levels(config.levels_file))
        except ValueError as error:
            message = f"{config.levels_file}: {error}"
            raise LedgerError(message) from error
    series = simulate(
        routes,
        local_s=wall_clocks(starts, config.zone),
        step_s=config.step_s,
        seed=config.seed,
        day_s=config.day_s,
    )
    lines = _csv_lines(starts, series) if form == "csv" else _openmetrics_lines(starts, series)
    for line in lines:
        out.write(line)
    return len(series) * config.windows_count


def wall_clocks(starts: NDArray[np.int64], zone: str) -> NDArray[np.float64]:
    """Return wall clocks; a zone's offset changes on the hour, so one look an hour is enough."""
    hours, place = np.unique(starts // _HOUR_S, return_inverse=True)
    offsets = np.array([local_s(h * _HOUR_S, zone) - h * _HOUR_S for h in hours.tolist()])
    return np.asarray(starts + offsets[place], dtype=np.float64)


def read_levels(path: Path) -> dict[tuple[str, str, str, str], float]:
    """Read the levels the shape should have at the end.

    Raises:
        UnreadableError: the file cannot be read.
        ValueError: it makes no sense.
    """
    try:
        document = orjson.loads(path.read_bytes())
        return {
            (str(row["service"]), str(row["stage"]), str(row["route"]), str(row["signal"])): float(
                row["value"]
            )
            for row in document
        }
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise UnreadableError(message) from error
    except (KeyError, TypeError, AttributeError) as error:
        message = "must be a list of {service, stage, route, signal, value}"
        raise ValueError(message) from error


def _csv_lines(starts: NDArray[np.int64], series: Sequence[SimulatedSeries]) -> Iterator[str]:
    yield f"{CSV_HEADER}\n"
    columns = []
    for one in series:
        labels = io.StringIO()
        csv.writer(labels, lineterminator="").writerow(
            [one.service, one.stage, one.route, one.signal]
        )
        prefix = labels.getvalue()
        columns.append(
            [
                f",{prefix},{value:.6g},{weight}\n"
                for value, weight in zip(one.values.tolist(), one.weights.tolist(), strict=True)
            ]
        )
    for start, rows in zip(starts.tolist(), zip(*columns, strict=True), strict=True):
        stamp = str(start)
        yield "".join([stamp + row for row in rows])


def _openmetrics_lines(
    starts: NDArray[np.int64], series: Sequence[SimulatedSeries]
) -> Iterator[str]:
    stamps = starts.tolist()
    for family, help_text in (
        ("sentinel_value", "Simulated value of a series."),
        ("sentinel_weight", "Requests behind the value."),
    ):
        yield f"# TYPE {family} gauge\n# HELP {family} {help_text}\n"
        for one in series:
            labels = ",".join(
                f'{name}="{escaped(getattr(one, name))}"'
                for name in ("service", "stage", "route", "signal")
            )
            values = one.values if family == "sentinel_value" else one.weights
            prefix = f"{family}{{{labels}}}"
            yield "".join(
                [
                    f"{prefix} {value:.6g} {stamp}\n"
                    for value, stamp in zip(values.tolist(), stamps, strict=True)
                ]
            )
    yield "# EOF\n"


def escaped(text: str) -> str:
    """Return a label's value as OpenMetrics writes it between quotes."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
