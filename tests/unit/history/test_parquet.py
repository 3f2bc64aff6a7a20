"""Goal: Parquet says the same as CSV with the same columns, whatever types writers give them; what is wrong is told with its row.

Method: one table written in several ways, beside the CSV of it; files with one thing wrong; files cut off.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from sentinel.core.model import SeriesKey
from sentinel.errors import InputError, InputTooLargeError, MalformedInputError
from sentinel.history import HistoryRows, SeriesNumbers, read_long
from sentinel.history import parquet as parquet_module
from sentinel.history.parquet import ParquetFile

FIRST_S = 1_789_000_000
NOW_NS = 1_790_000_000_000_000_000
NAMES = ("timestamp", "service", "stage", "route", "signal", "value", "weight")


def table(count: int = 300) -> dict[str, list[Any]]:
    rng = random.Random(1)
    places = [("shop", "edge", f"GET /{at}", "traffic") for at in range(3)]
    places += [("shop", "edge", "GET /0", "errors"), ("shop", "db", 'a,"b', "depth")]
    rows: dict[str, list[Any]] = {name: [] for name in NAMES}
    for at in range(count):
        for place in places:
            rows["timestamp"].append(FIRST_S + 60 * at)
            for name, text in zip(NAMES[1:5], place, strict=True):
                rows[name].append(text)
            rows["value"].append(None if rng.random() < 0.1 else rng.random())
            rows["weight"].append(None if rng.random() < 0.1 else rng.randrange(9))
    return rows


def read(path: Path) -> tuple[list[SeriesKey], list[tuple[Any, ...]]]:
    numbers = SeriesNumbers()
    return _gathered(list(ParquetFile(path).rows(numbers, not_after_ns=NOW_NS)), numbers)


def _gathered(
    batches: list[HistoryRows], numbers: SeriesNumbers
) -> tuple[list[SeriesKey], list[tuple[Any, ...]]]:
    rows = [
        (
            numbers.keys[number],
            time_ns,
            None if np.isnan(value) else value,
            None if np.isnan(weight) else weight,
        )
        for batch in batches
        for number, time_ns, value, weight in zip(
            batch.series.tolist(),
            batch.time_ns.tolist(),
            batch.value.tolist(),
            batch.weight.tolist(),
            strict=True,
        )
    ]
    return sorted(numbers.keys), sorted(rows, key=str)


def written(path: Path, rows: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(rows), path, **options)
    return path


def test_it_says_what_the_csv_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_module, "_ROWS_A_BATCH", 64)
    rows = table()
    csv = tmp_path / "h.csv"
    with csv.open("w") as file:
        file.write(",".join(NAMES) + "\n")
        for row in zip(*rows.values(), strict=True):
            texts = ["" if one is None else str(one) for one in row]
            texts[3] = '"' + texts[3].replace('"', '""') + '"'
            file.write(",".join(texts) + "\n")
    numbers = SeriesNumbers()
    expected = _gathered(list(read_long(csv, numbers, not_after_ns=NOW_NS)), numbers)
    assert len(expected[1]) == 1500

    seconds = pa.array(rows["timestamp"], pa.int64())
    by_series = sorted(range(1500), key=lambda at: (rows["route"][at], rows["signal"][at]))
    ways: list[dict[str, Any]] = [
        {"timestamp": seconds},
        {"timestamp": pa.array([float(one) for one in rows["timestamp"]])},
        {"timestamp": seconds.cast(pa.timestamp("s")).cast(pa.timestamp("us", "UTC"))},
        {"timestamp": seconds.cast(pa.timestamp("s")).cast(pa.timestamp("ns"))},
        {name: pa.array(rows[name]).dictionary_encode() for name in NAMES[1:5]},
        {"value": pa.array(rows["value"], pa.float64()), "more": pa.array(["x"] * 1500)},
        {"route": pa.array(rows["route"], pa.large_string())},
        # In this order files of one series after the other are; each ascends for itself.
        {name: [values[at] for at in by_series] for name, values in rows.items()},
    ]
    for number, way in enumerate(ways):
        path = written(tmp_path / f"{number}.parquet", {**rows, **way}, row_group_size=200)
        assert read(path) == expected, number


def test_calls_may_be_left_out(tmp_path: Path) -> None:
    rows = table(2)
    rows.pop("weight")
    _, found = read(written(tmp_path / "h.parquet", rows))
    assert [weight for *_, weight in found] == [None] * 10


def wrong(name: str, row: int, value: Any) -> dict[str, Any]:
    rows = table(4)
    rows[name][row] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (wrong("timestamp", 7, None), ":8: timestamp is missing"),
        (wrong("timestamp", 7, -5), ":8: timestamp is missing"),
        (wrong("timestamp", 7, FIRST_S * 1000), ":8: timestamp is missing"),
        (wrong("timestamp", 19, NOW_NS // 10**9 + 1), ":20: timestamp lies in the future"),
        (wrong("timestamp", 12, FIRST_S), ":13: timestamp is not after the one before"),
        (wrong("service", 3, None), ":4: service is empty"),
        (wrong("route", 3, "a\x1b[31m"), "cannot be printed"),
        (wrong("signal", 3, "trafic"), "did you mean traffic"),
        (wrong("value", 0, -1.0), ":1: value -1 cannot be: traffic"),
        (wrong("value", 3, 50.0), ":4: value 50 cannot be: errors"),
        (wrong("value", 4, float("inf")), ":5: value is out of range"),
        (wrong("weight", 4, -1), ":5: weight is negative"),
    ],
)
def test_what_is_wrong_is_told_with_its_row(
    rows: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(MalformedInputError) as caught:
        read(written(tmp_path / "bad.parquet", rows))
    assert said in str(caught.value)
    assert "bad.parquet" in str(caught.value)


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ({"route": None}, "no column route"),
        ({"value": ["x"] * 10}, "column value has the type string"),
        ({"service": list(range(10))}, "column service has the type int64"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    way: dict[str, Any], said: str, tmp_path: Path
) -> None:
    rows = {name: values for name, values in {**table(2), **way}.items() if values is not None}
    with pytest.raises(MalformedInputError, match=said):
        read(written(tmp_path / "bad.parquet", rows))


def test_a_row_group_too_large_for_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_module, "_ROW_GROUP_BYTES_MAX", 1000)
    with pytest.raises(InputTooLargeError, match="smaller ones"):
        read(written(tmp_path / "h.parquet", table()))


def test_what_is_cut_off_is_refused_and_what_is_scrambled_does_nothing_worse(
    tmp_path: Path,
) -> None:
    good = written(tmp_path / "h.parquet", table(20), compression="none").read_bytes()
    rng = random.Random(2)
    refused = 0
    path = tmp_path / "bad.parquet"
    for at in range(60):
        data = bytearray(good)
        if at % 2:
            del data[rng.randrange(len(data)) :]
        else:
            for _ in range(20):
                data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        if at % 2:
            with pytest.raises(InputError):
                read(path)
            continue
        # A byte of a number is another number: nobody can tell. Nothing else is made of what is read.
        try:
            _, rows = read(path)
        except InputError:
            refused += 1
            continue
        assert len(rows) <= len(table(20)["value"])
    assert refused > 20
