"""Goal: files are whole OpenMetrics in the order that it demands, none shares a block with another, and none grows without end.

Method: slices made by hand; the strict parser of prometheus_client reads what was written.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sentinel.core.model import SeriesKey
from sentinel.core.model.verdict_slices import VERDICT_COLUMNS, VerdictSlice
from sentinel.history.writing import BLOCK_NS, OpenMetricsFiles, SampleNames, checked_label
from sentinel.history.writing.samples import METRICS
from tests.support.slices import BEGIN_NS, NAN, STEP_NS, many_keys

COUNT = BLOCK_NS // STEP_NS


def two_hours(number: int, series: list[int], seed: int = 0) -> VerdictSlice:
    rng = np.random.default_rng([seed, number])
    columns = rng.normal(size=(len(VERDICT_COLUMNS), COUNT, len(series))).astype(np.float32)
    columns[rng.random(columns.shape) < 0.2] = NAN
    columns[3][rng.random(columns[3].shape) < 0.2] = math.inf
    return VerdictSlice(
        start_ns=BEGIN_NS + number * BLOCK_NS - STEP_NS,
        step_ns=STEP_NS,
        series=np.array(series, np.int64),
        columns=columns,
    )


def expected_of(parts: list[VerdictSlice]) -> dict[tuple[str, str, float], float]:
    found = {}
    for part in parts:
        for column, metric in enumerate(METRICS):
            for row, at_ns in enumerate(part.times_ns.tolist()):
                for at, one in enumerate(part.series.tolist()):
                    value = float(part.columns[column, row, at])
                    if math.isnan(value) or (metric.endswith("er") and math.isinf(value)):
                        continue
                    found[metric, f"svc{one}", at_ns / 1e9] = float(f"{value:.9g}")
    return found


def read(text: str) -> dict[tuple[str, str, float], float]:
    found = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]
        assert family.type == "gauge"
        for sample in family.samples:
            assert sample.timestamp is not None
            assert sample.labels["instance"] == "here"
            key = (sample.name, sample.labels["service"], float(sample.timestamp))
            assert key not in found
            found[key] = sample.value
    return found


def files_of(
    folder: Path, parts: list[VerdictSlice], *, split_ns: int, cells_a_file: int = 10**9
) -> list[Path]:
    names = SampleNames(many_keys(4), {"instance": "here"})
    files = OpenMetricsFiles(folder, names, split_ns=split_ns, cells_a_file=cells_a_file)
    for part in parts:
        files.write(part)
    files.finish()
    assert files.size_bytes == sum(one.stat().st_size for one in files.files)
    assert sorted(folder.iterdir()) == sorted(files.files)
    return files.files


@pytest.mark.parametrize(("split", "count"), [(1, 5), (2, 3), (12, 1)])
def test_what_was_given_is_in_the_files_and_each_block_in_one_of_them(
    tmp_path: Path, split: int, count: int
) -> None:
    parts = [two_hours(at, own) for at in (0, 1, 2, 3, 4) for own in ([1, 3], [2, 4])]
    files = files_of(tmp_path, parts, split_ns=split * BLOCK_NS)
    assert len(files) == count
    found: dict[tuple[str, str, float], float] = {}
    blocks: set[int] = set()
    for file in files:
        own = read(file.read_text())
        inside = {int(at_s * 1e9) // BLOCK_NS for _, _, at_s in own}
        assert not inside & blocks
        blocks |= inside
        found |= own
    assert found == expected_of(parts)


def test_a_large_past_is_cut_sooner_and_nothing_is_written_of_nothing(tmp_path: Path) -> None:
    parts = [two_hours(at, [1, 2]) for at in range(6)]
    # What a kill left behind half written is written whole, under the name that only what is whole has.
    (tmp_path / "sentinel-20260921T0400Z.om.part").write_text("# TYPE sentinel_va")
    files = files_of(tmp_path, parts, split_ns=12 * BLOCK_NS, cells_a_file=4 * COUNT)
    assert [one.name for one in files] == [
        f"sentinel-20260921T{hour:02d}00Z.om" for hour in (0, 4, 8)
    ]
    empty = two_hours(0, [1])
    empty.columns[:] = NAN
    (tmp_path / "empty").mkdir()
    assert files_of(tmp_path / "empty", [empty], split_ns=BLOCK_NS) == []


def test_series_of_two_widths_share_a_file(tmp_path: Path) -> None:
    hourly = VerdictSlice(
        start_ns=BEGIN_NS - 3600 * 10**9,
        step_ns=3600 * 10**9,
        series=np.array([4], np.int64),
        columns=np.ones((5, 2, 1), np.float32),
    )
    parts = [two_hours(0, [1, 2]), hourly]
    (file,) = files_of(tmp_path, parts, split_ns=BLOCK_NS)
    assert read(file.read_text()) == expected_of(parts)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("instance", "is no label"),
        ("=x", "is no label"),
        ("a-b=x", "is no label"),
        ("__name__=x", "is no label"),
        ("service=x", "which series"),
        ("job=", "1 to 1024"),
        ("job=a\nb", "printable"),
    ],
)
def test_a_label_that_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        checked_label(text)


def test_labels_without_a_value_are_none() -> None:
    names = SampleNames({1: SeriesKey("b\udcff", "", "r", "s")}, {"Zone": "x"})
    assert names.of(1) == (("Zone", "x"), ("route", "r"), ("service", "b?"), ("signal", "s"))
