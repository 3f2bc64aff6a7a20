"""Goal: a reader that goes on from any of its marks gives what it would have given.

Method: the same past as CSV (plain and gzip), OpenMetrics and Parquet, in small batches; from each mark on, with the series of then.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from sentinel.core.model import SeriesKey
from sentinel.errors import MalformedInputError
from sentinel.history import HistoryRows, Mark, OpenMetricsFile, SeriesNumbers, read_long
from sentinel.history import parquet as parquet_module
from sentinel.history import rows as rows_module
from sentinel.history.parquet import ParquetFile

FIRST_S = 1_789_000_000
NOW_NS = 1_790_000_000_000_000_000
NAMES = ("timestamp", "service", "stage", "route", "signal", "value", "weight")
ROWS = [
    (FIRST_S + 60 * at, "shop", "edge", f"/{route}", "traffic", at + route / 3, at)
    for at in range(60)
    for route in range(5)
    if at > 20 or route < 3
]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_ROWS_A_BATCH", 17)
    monkeypatch.setattr(parquet_module, "_ROWS_A_BATCH", 17)


def written(folder: Path, form: str, *, last: str = "") -> Path:
    path = folder / form
    csv = "".join(",".join(map(str, row)) + "\n" for row in [NAMES, *ROWS]) + last
    if form == "h.csv":
        path.write_text(csv)
    elif form == "h.csv.gz":
        path.write_bytes(gzip.compress(csv.encode()))
    elif form == "h.om":
        lines = ["# TYPE traffic gauge\n", "other 1 1\n", "# TYPE c counter\n", "c_total 2 2\n"]
        lines += [
            f'traffic{{service="{row[1]}",stage="{row[2]}",route="{row[3]}"}} {row[5]} {row[0]}\n'
            for row in ROWS
        ]
        path.write_text("".join(lines) + last + "# EOF\n")
    else:
        columns = dict(zip(NAMES, map(list, zip(*ROWS, strict=True)), strict=True))
        pq.write_table(pa.table(columns), path, row_group_size=40)
    return path


def batches(path: Path, numbers: SeriesNumbers, mark: Mark | None) -> Iterator[HistoryRows]:
    if path.name == "h.om":
        return OpenMetricsFile(path).rows(numbers, not_after_ns=NOW_NS, mark=mark)
    if path.name == "h.parquet":
        return ParquetFile(path).rows(numbers, not_after_ns=NOW_NS, mark=mark)
    return read_long(path, numbers, not_after_ns=NOW_NS, mark=mark)


def joined(found: list[HistoryRows]) -> list[list[float]]:
    return [
        np.concatenate([getattr(one, name) for one in found]).tolist()
        for name in ("series", "time_ns", "value")
    ]


@pytest.mark.parametrize("form", ["h.csv", "h.csv.gz", "h.om", "h.parquet"])
def test_from_any_mark_on_it_gives_the_rest(form: str, tmp_path: Path) -> None:
    path = written(tmp_path, form)
    numbers = SeriesNumbers()
    whole, marks = [], []
    for one in batches(path, numbers, None):
        whole.append(one)
        if one.mark is not None:
            marks.append((len(whole), json.loads(json.dumps(one.mark)), list(numbers.keys)))
    assert len(marks) >= 5
    for count, mark, keys in marks:
        again = SeriesNumbers(keys)
        rest = list(batches(path, again, mark))
        assert joined([*whole[:count], *rest]) == joined(whole), count
        assert again.keys == numbers.keys


def test_what_was_left_out_before_a_mark_stays_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "h.om")
    numbers = SeriesNumbers()
    first = next(OpenMetricsFile(path).rows(numbers, not_after_ns=NOW_NS))
    again = OpenMetricsFile(path)
    list(again.rows(SeriesNumbers(numbers.keys), not_after_ns=NOW_NS, mark=first.mark))
    assert again.skipped_count == 2


@pytest.mark.parametrize(
    ("form", "last", "said"),
    [
        ("h.csv", f"{FIRST_S + 60 * 59},shop,edge,/4,traffic,1,1\n", "is there twice"),
        ("h.csv", f"{FIRST_S + 60},shop,edge,/4,traffic,1,1\n", "goes back in time"),
        (
            "h.om",
            f'traffic{{service="shop",stage="edge",route="/0"}} 1 {FIRST_S}\n',
            "not after the one before",
        ),
    ],
)
def test_what_a_row_must_follow_is_known_after_a_mark(
    form: str, last: str, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, form, last=last)
    numbers = SeriesNumbers()
    marks: list[tuple[Mark | None, list[SeriesKey]]] = []

    def read() -> None:
        for one in batches(path, numbers, None):
            marks.append((one.mark, list(numbers.keys)))  # noqa: PERF401  # it ends by raising

    with pytest.raises(MalformedInputError, match=said) as whole:
        read()
    mark, keys = marks[-1]
    with pytest.raises(MalformedInputError, match=said) as caught:
        list(batches(path, SeriesNumbers(keys), mark))
    assert str(caught.value) == str(whole.value)
