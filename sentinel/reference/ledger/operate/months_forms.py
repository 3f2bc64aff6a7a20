"""How simulated months are written: long CSV, OpenMetrics, or a labelled CSV file a series.

Nothing known is an empty value in the long CSV and no sample in the other two.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sentinel.reference.ledger.domain.simulator import SIGNALS, StreamWindows
from sentinel.reference.ledger.operate.history import CSV_HEADER, escaped

INDEX_HEADER: Final = "dataset,series,kind,group,step_s,n,days,label_runs,incidents,anomaly_frac"
_DAY_S: Final = 86_400
# Runs of labels nearer than this many windows are one incident.
_INCIDENT_GAP: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesName:
    """The labels of one series."""

    service: str
    stage: str
    route: str
    signal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesSummary:
    """A line of the index: what one file holds."""

    stem: str
    signal: str
    group: str
    step_s: int
    count: int
    days: float
    runs_count: int
    incidents_count: int
    labelled_count: int


def file_stems(names: Sequence[SeriesName]) -> list[str]:
    """Return a file name a series, without suffix: what may stand in one, and no two alike."""
    stems: list[str] = []
    for name in names:
        parts = (name.service, name.stage, name.route, name.signal)
        stem = ".".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)
        same = sum(1 for other in stems if re.fullmatch(rf"{re.escape(stem)}(\.\d+)?", other))
        stems.append(f"{stem}.{same + 1}" if same else stem)
    return stems


def long_csv(
    names: Sequence[SeriesName], pieces: Iterable[Sequence[StreamWindows]]
) -> Iterator[tuple[str, int, int]]:
    """Give text, its rows and the rows of a whole piece, sorted by time; a piece has all streams."""
    yield f"{CSV_HEADER}\n", 0, 0
    prefixes = []
    for name in names:
        labels = io.StringIO()
        csv.writer(labels, lineterminator="").writerow(
            [name.service, name.stage, name.route, name.signal]
        )
        prefixes.append(labels.getvalue())
    for streams in pieces:
        columns = []
        numbered = iter(prefixes)
        for windows in streams:
            weights = ["" if calls < 0 else str(calls) for calls in windows.calls.tolist()]
            for signal in SIGNALS:
                prefix = f",{next(numbered)},".replace("%", "%%")
                row = (prefix + "%.6g,%s\n").__mod__
                unknown = (prefix + ",%s\n").__mod__
                columns.append(
                    [
                        row((value, weight)) if value == value else unknown(weight)  # NaN
                        for value, weight in zip(
                            windows.values[signal].tolist(), weights, strict=True
                        )
                    ]
                )
        stamps = streams[0].starts.tolist()
        lines = [
            stamp + row
            for stamp, rows in zip(map(str, stamps), zip(*columns, strict=True), strict=True)
            for row in rows
        ]
        yield "".join(lines), len(lines), len(lines)


def openmetrics(
    names: Sequence[SeriesName], windows: Callable[[int], Iterator[StreamWindows]]
) -> Iterator[tuple[str, int, int]]:
    """Give text, its rows and their number if none were missing.

    A family's samples, and in it a series', stand together. The streams are simulated once for each family, which costs less than holding them.
    """
    for family, help_text in (
        ("sentinel_value", "Simulated value of a series."),
        ("sentinel_weight", "Requests behind the value."),
    ):
        yield f"# TYPE {family} gauge\n# HELP {family} {help_text}\n", 0, 0
        for stream in range(len(names) // len(SIGNALS)):
            pieces = list(windows(stream))
            for at, signal in enumerate(SIGNALS):
                name = names[len(SIGNALS) * stream + at]
                labels = ",".join(
                    f'{label}="{escaped(getattr(name, label))}"'
                    for label in ("service", "stage", "route", "signal")
                )
                row = (f"{family}{{{labels}}} ".replace("%", "%%") + "%.6g %d\n").__mod__
                for piece in pieces:
                    values = piece.values[signal]
                    if family == "sentinel_weight":
                        values = np.where(piece.calls < 0, np.nan, piece.calls)
                    known = np.isfinite(values)
                    pairs = zip(values[known].tolist(), piece.starts[known].tolist(), strict=True)
                    yield "".join(map(row, pairs)), int(known.sum()), known.size
    yield "# EOF\n", 0, 0


def write_series(
    path: Path, *, stem: str, signal: str, group: str, pieces: Sequence[StreamWindows]
) -> SeriesSummary:
    """Write `timestamp,value,label,weight` of one series, gzipped, and say what it holds; weight is its calls.

    The same series gives the same bytes: no time of writing is kept in the file.

    Raises:
        OSError: it cannot be written.
    """
    labels: list[NDArray[np.bool_]] = []
    # Level 1: the files are a fifth larger than at 9, and written several times as fast.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as file:
        file.write(b"timestamp,value,label,weight\n")
        for piece in pieces:
            known = np.isfinite(piece.values[signal])
            label = piece.labels[signal][known]
            labels.append(label)
            rows = zip(
                piece.starts[known].tolist(),
                piece.values[signal][known].tolist(),
                label.astype(np.int64).tolist(),
                piece.calls[known].tolist(),
                strict=True,
            )
            file.write("".join(map("%d,%.6g,%d,%d\n".__mod__, rows)).encode("ascii"))
    label = np.concatenate(labels)
    begins = np.flatnonzero(label & ~np.concatenate([[False], label[:-1]]))
    ends = np.flatnonzero(label & ~np.concatenate([label[1:], [False]]))
    starts = np.concatenate([piece.starts for piece in pieces])
    step_s = int(starts[1] - starts[0])
    return SeriesSummary(
        stem=stem,
        signal=signal,
        group=group,
        step_s=step_s,
        count=label.size,
        days=starts.size * step_s / _DAY_S,
        runs_count=begins.size,
        incidents_count=int(begins.size and 1 + (begins[1:] - ends[:-1] > _INCIDENT_GAP).sum()),
        labelled_count=int(label.sum()),
    )


def write_index(path: Path, *, dataset: str, summaries: Sequence[SeriesSummary]) -> None:
    """Write the folder's index, a line a series.

    Raises:
        OSError: it cannot be written.
    """
    lines = [INDEX_HEADER]
    lines += [
        f"{dataset},{one.stem},{one.signal},{one.group},{one.step_s},{one.count},{one.days:.1f},"
        f"{one.runs_count},{one.incidents_count},{one.labelled_count / max(one.count, 1):.5f}"
        for one in summaries
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
