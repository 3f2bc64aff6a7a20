"""Slices of verdicts for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey
from sentinel.core.model.verdict_slices import VERDICT_COLUMNS, VerdictSlice

HOUR_NS = 3600 * 10**9
STEP_NS = 300 * 10**9
BEGIN_NS = 1_790_000_000 * 10**9 // (24 * HOUR_NS) * 24 * HOUR_NS
NAN = float("nan")


def many_keys(count: int) -> dict[int, SeriesKey]:
    return {
        one: SeriesKey(f"svc{one}", "edge", f"GET /{one}", "traffic")
        for one in range(1, count + 1)
    }


def hour(number: int, values: dict[int, list[float]], *, step_ns: int = STEP_NS) -> VerdictSlice:
    """An hour of windows, all five columns alike; a list that is shorter goes on as unknown."""
    count = HOUR_NS // step_ns
    columns = np.full((len(VERDICT_COLUMNS), count, len(values)), np.nan, np.float32)
    for at, own in enumerate(values.values()):
        columns[:, : len(own), at] = own
    return VerdictSlice(
        start_ns=BEGIN_NS + number * HOUR_NS - step_ns,
        step_ns=step_ns,
        series=np.array(list(values), np.int64),
        columns=columns,
    )


class Kept:
    """A sink that keeps."""

    def __init__(self) -> None:
        self.parts: list[VerdictSlice] = []

    def write(self, part: VerdictSlice) -> None:
        """Take a part."""
        self.parts.append(part)


Table = dict[tuple[int, int], bytes]
"""The five columns as they are in memory, by time and series: what is not known is equal to nothing as a number."""


def table(parts: list[VerdictSlice]) -> Table:
    found: Table = {}
    for part in parts:
        for row, at_ns in enumerate(part.times_ns.tolist()):
            for at, one in enumerate(part.series.tolist()):
                cells = part.columns[:, row, at]
                if np.isnan(cells).all():
                    continue
                assert (at_ns, one) not in found
                found[at_ns, one] = cells.tobytes()
    return found


def scores_of(found: Table) -> NDArray[np.float32]:
    """The scores of a table."""
    return np.array([np.frombuffer(cells, np.float32)[4] for cells in found.values()])
