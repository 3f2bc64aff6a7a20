"""Past data as Parquet: the columns of the long CSV, read a batch of a row group at a time.

pyarrow is in the extra `parquet` and takes 60 MB, so this module is imported by the command that reads such a file, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey, kind_of_signal
from sentinel.errors import InputTooLargeError, MalformedInputError
from sentinel.history.lines import Faults
from sentinel.history.rows import (
    HistoryRows,
    Mark,
    SeriesNumbers,
    beyond_bounds,
    bounds_of,
    check_label,
    check_signal,
)

_LABELS = ("service", "stage", "route", "signal")
_NUMBERS = ("value", "weight")
_COLUMNS = ("timestamp", *_LABELS, *_NUMBERS)
_ROWS_A_BATCH = 100_000
_ROW_GROUP_BYTES_MAX = 512 << 20
_NS = 1_000_000_000
_UNIT_NS = {"s": _NS, "ms": 1_000_000, "us": 1_000, "ns": 1}
_AFTER_S = 7_258_118_400
_FLOAT32_MAX = 3.4028234663852886e38

Mask = NDArray[np.bool_]


class ParquetFile:
    """One file, read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number_of: dict[tuple[str, ...], int] = {}
        self._lowest: list[float] = []
        self._highest: list[float] = []
        self._last_ns: dict[int, int] = {}

    def rows(
        self, numbers: SeriesNumbers, *, not_after_ns: int, mark: Mark | None = None
    ) -> Iterator[HistoryRows]:
        """The rows, batch by batch.

        With the `mark` of a batch, which the last of a row group has, it goes on after that; `numbers` must be those of then.

        `timestamp` is a timestamp, or Unix seconds as a number; a null in `value` or `weight`, and NaN, is missing. `weight` may be left
        out, and other columns are not looked at. The rows of a series ascend in time, however series lie among one another.

        Raises:
            MalformedInputError: it is no Parquet, breaks a rule, has a row after `not_after_ns`, or a value that its signal cannot
                have; the message has a line a fault, each with file and row. What was given until then is not to be used.
            InputTooLargeError: a row group is over the bound.
            OSError: it cannot be read.
        """
        faults = Faults(self._path)
        first_row = 1
        try:
            with self._path.open("rb") as handle, pq.ParquetFile(handle) as file:
                columns = self._checked(file)
                first_group = 0
                if mark is not None:
                    first_group, first_row = int(mark["group"]), int(mark["row"])
                    self._last_ns = {int(number): int(at) for number, at in mark["last"]}
                for group in range(first_group, file.metadata.num_row_groups):
                    left = file.metadata.row_group(group).num_rows
                    for batch in file.iter_batches(
                        batch_size=_ROWS_A_BATCH, row_groups=[group], columns=columns
                    ):
                        rows = self._rows(
                            batch, numbers, faults, first_row=first_row, not_after_ns=not_after_ns
                        )
                        first_row += batch.num_rows
                        left -= batch.num_rows
                        if left == 0:
                            last = list(self._last_ns.items())
                            done = (first_row - 1) / file.metadata.num_rows
                            at = {"group": group + 1, "row": first_row, "last": last, "of": done}
                            rows = replace(rows, mark=at)
                        if not faults:
                            yield rows
        except (pa.ArrowException, EOFError, UnicodeDecodeError, OverflowError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the system's; pyarrow calls what is damaged an OSError, too
            msg = f"{self._path}: not Parquet that can be read: {_first_line(error)}"
            raise MalformedInputError(msg) from error
        faults.raise_any()

    def _checked(self, file: Any) -> list[str]:
        """The columns to read, when all that is needed is there and no row group is over the bound."""
        schema = file.schema_arrow
        names = [name for name in _COLUMNS if name in schema.names]
        missing = [name for name in _COLUMNS if name not in names and name != "weight"]
        if missing:
            msg = (
                f"{self._path}: has no column {', '.join(missing)}; it needs {', '.join(_COLUMNS)}"
            )
            raise MalformedInputError(msg)
        for name in names:
            kind = schema.field(name).type
            if pa.types.is_dictionary(kind):
                kind = kind.value_type
            if not _fits(name, kind):
                msg = f"{self._path}: column {name} has the type {kind}"
                raise MalformedInputError(msg)
        needed = {at for at, name in enumerate(schema.names) if name in names}
        for group in range(file.metadata.num_row_groups):
            described = file.metadata.row_group(group)
            size = sum(
                described.column(at).total_uncompressed_size
                for at in range(described.num_columns)
                if at in needed
            )
            if size > _ROW_GROUP_BYTES_MAX:
                msg = f"{self._path}: row group {group} is too large; write smaller ones"
                raise InputTooLargeError(msg, size_bytes=size, limit_bytes=_ROW_GROUP_BYTES_MAX)
        return names

    def _rows(
        self,
        batch: Any,
        numbers: SeriesNumbers,
        faults: Faults,
        *,
        first_row: int,
        not_after_ns: int,
    ) -> HistoryRows:
        def note(wrong: Mask, reason: str) -> None:
            for at in np.flatnonzero(wrong)[:1].tolist():
                faults.add(first_row + at, reason)

        time_ns, is_time = _times(batch.column("timestamp"))
        note(~is_time, "timestamp is missing, or no time after 1970 and before 2200")
        note(is_time & (time_ns > not_after_ns), "timestamp lies in the future")
        series = self._series(batch, numbers, faults, first_row=first_row)
        value = _numbers(batch, "value")
        weight = _numbers(batch, "weight")
        note(np.abs(value) > _FLOAT32_MAX, "value is out of range")
        note(np.isinf(weight) | (weight < 0), "weight is negative, or out of range")
        known = series >= 0
        lowest, highest = np.array([*self._lowest, 0.0]), np.array([*self._highest, 0.0])
        beyond = known & ((value < lowest[series]) | (value > highest[series]))
        for at in np.flatnonzero(beyond)[:1].tolist():
            kind = kind_of_signal(numbers.keys[int(series[at])].signal)
            faults.add(first_row + at, beyond_bounds(kind, float(value[at])))
        self._check_order(series, time_ns, known & is_time, faults, first_row=first_row)
        keep = known & is_time
        return HistoryRows(
            series=series[keep], time_ns=time_ns[keep], value=value[keep], weight=weight[keep]
        )

    def _series(
        self, batch: Any, numbers: SeriesNumbers, faults: Faults, *, first_row: int
    ) -> NDArray[np.int32]:
        """The number of each row's series; -1 where it has no name, which is noted."""
        code = np.zeros(batch.num_rows, dtype=np.int64)
        texts = []
        for name in _LABELS:
            column = batch.column(name)
            if not pa.types.is_dictionary(column.type):
                column = pc.dictionary_encode(column, null_encoding="encode")
            known = column.dictionary.to_pylist()
            index = np.asarray(
                pc.fill_null(column.indices, len(known)).to_numpy(zero_copy_only=False), np.int64
            )
            texts.append([*known, None])
            code = code * (len(known) + 1) + index
        unique, first, inverse = np.unique(code, return_index=True, return_inverse=True)
        found = np.full(unique.size, -1, dtype=np.int32)
        for at, one in enumerate(unique.tolist()):
            parts = []
            for known in reversed(texts):
                one, index = divmod(one, len(known))  # the number is taken apart
                parts.append(known[index] or "")
            try:
                found[at] = self._numbered(tuple(reversed(parts)), numbers)
            except ValueError as error:
                faults.add(first_row + int(first[at]), error)
        return found[inverse.reshape(-1)]

    def _numbered(self, labels: tuple[str, ...], numbers: SeriesNumbers) -> int:
        number = self._number_of.get(labels)
        if number is not None:
            return number
        for name, text in zip(_LABELS, labels, strict=True):
            check_label(name, text)
        key = SeriesKey(*labels)
        check_signal(key.signal)
        number = self._number_of[labels] = numbers.number(key)
        while len(self._lowest) <= number:  # those between are other files'
            self._lowest.append(0.0)
            self._highest.append(0.0)
        self._lowest[number], self._highest[number] = bounds_of(kind_of_signal(key.signal))
        return number

    def _check_order(
        self,
        series: NDArray[np.int32],
        time_ns: NDArray[np.int64],
        known: Mask,
        faults: Faults,
        *,
        first_row: int,
    ) -> None:
        rows = np.flatnonzero(known)
        rows = rows[np.argsort(series[rows], kind="stable")]
        own, times = series[rows], time_ns[rows]
        is_first = np.diff(own, prepend=-1) != 0
        before = np.concatenate(([0], times[:-1])) if times.size else times
        for at in np.flatnonzero(is_first).tolist():
            before[at] = self._last_ns.get(int(own[at]), -1)
        wrong = rows[times <= before]
        if wrong.size:
            reason = "timestamp is not after the one before it in the same series"
            faults.add(first_row + int(wrong.min()), reason)
        is_last = np.diff(own, append=-1) != 0
        self._last_ns.update(zip(own[is_last].tolist(), times[is_last].tolist(), strict=True))


def _fits(name: str, kind: Any) -> bool:
    if name in _LABELS:
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return bool(is_number or (name == "timestamp" and pa.types.is_timestamp(kind)))


def _times(column: Any) -> tuple[NDArray[np.int64], Mask]:
    """Nanoseconds, and whether each is a time that can be."""
    there = np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False), np.bool_)
    if pa.types.is_timestamp(column.type):
        unit_ns = _UNIT_NS[column.type.unit]
        ticks = np.asarray(
            pc.fill_null(column.cast(pa.int64()), 0).to_numpy(zero_copy_only=False), np.int64
        )
        good = there & (ticks >= 0) & (ticks < _AFTER_S * (_NS // unit_ns))
        return np.where(good, ticks, 0) * unit_ns, good
    seconds = np.asarray(
        pc.fill_null(column.cast(pa.float64(), safe=False), -1.0).to_numpy(zero_copy_only=False),
        np.float64,
    )
    good = there & (seconds >= 0) & (seconds < _AFTER_S)
    whole = np.floor(np.where(good, seconds, 0.0))
    fraction = np.round((np.where(good, seconds, 0.0) - whole) * 1e6).astype(np.int64)
    return whole.astype(np.int64) * _NS + fraction * 1_000, good


def _numbers(batch: Any, name: str) -> NDArray[np.float64]:
    if name not in batch.schema.names:
        return np.full(batch.num_rows, np.nan)
    column = batch.column(name).cast(pa.float64(), safe=False)
    return np.array(pc.fill_null(column, float("nan")).to_numpy(zero_copy_only=False), np.float64)


def _first_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return "".join(one if one.isprintable() else " " for one in text)[:200]
