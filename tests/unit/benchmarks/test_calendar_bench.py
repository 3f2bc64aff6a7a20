"""Goal: pages and incidents are counted on the kind of day that they lie on, and the first two months not at all.

Method: a file of half a year with two incidents, and pages placed by hand.
"""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.bench_calendar import _counted
from benchmarks.detection.sources import SeriesFile


def at(month: int, day: int, hour: int = 12) -> float:
    return datetime(2023, month, day, hour, tzinfo=UTC).timestamp()


def test_each_page_counts_where_it_lies(tmp_path: Path) -> None:
    first_s, last_s = int(at(1, 2, 0)), int(at(6, 30, 0))
    incidents = [at(4, 12), at(5, 31)]
    path = tmp_path / "one.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("timestamp,value,label\n")
        for time_s in range(first_s, last_s, 3600):
            label = int(any(begin <= time_s < begin + 7200 for begin in incidents))
            file.write(f"{time_s},1,{label}\n")
    one = SeriesFile(dataset="simulator", name="one", path=path, kind="traffic")
    pages = [
        at(2, 14),  # in the first two months
        at(3, 31),  # the last business day
        at(4, 3),  # the first one
        at(4, 7),  # Good Friday
        at(4, 25),  # payday
        at(4, 18),
        at(4, 12, 13),  # in an incident
        at(5, 20),
    ]
    counts = _counted([one], {"one": np.array(sorted(pages))})
    assert dict(counts.false) == {"month": 2, "special": 2, "other": 2}
    assert dict(counts.incidents) == {"other": 1, "month": 1}
    assert (counts.found["other"], counts.found["month"]) == (1, 0)
    assert not _counted([one], {}).false
