"""Goal: slices hold every decided sample of the span exactly once, however a replay cuts its pieces; a spool gives them back by time.

Method: verdicts made by chance, cut at chance; beside them a plain table by time and series.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from sentinel.core.decide import Decision
from sentinel.core.model import VerdictBlock, WindowBlock
from sentinel.core.model.verdict_slices import VERDICT_COLUMNS, VerdictSlice
from sentinel.pipeline.past_verdicts import SliceCutter, SliceSpool
from tests.support.slices import BEGIN_NS, HOUR_NS, Kept, Table, table


def block_of(start_ns: int, step_ns: int, series: list[int], columns: Any) -> VerdictBlock:
    given = dict(zip(VERDICT_COLUMNS, columns, strict=True))
    unused = np.zeros(columns.shape[1:], np.int8)
    return VerdictBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=np.array(series, np.int64),
        weight=given["value"],
        direction=unused,
        reason=unused,
        **given,
    )


def note(cutter: SliceCutter, verdicts: VerdictBlock) -> None:
    block = cast(WindowBlock, None)
    cutter.note(block, cast(Decision, SimpleNamespace(verdicts=verdicts)))


@pytest.mark.parametrize("step_s", [10, 300, 420, 3600, 21600])
@pytest.mark.parametrize("seed", range(4))
def test_each_sample_of_the_span_is_in_one_slice(step_s: int, seed: int) -> None:
    rng = np.random.default_rng([seed, step_s])
    step_ns, count = step_s * 10**9, 50
    begin_ns = BEGIN_NS // step_ns * step_ns + int(rng.integers(0, 5)) * step_ns
    columns = rng.normal(size=(len(VERDICT_COLUMNS), count, 4)).astype(np.float32)
    from_ns, to_ns = (
        begin_ns + int(rng.integers(0, count)) * step_ns // 2,
        begin_ns + int(rng.integers(count, 2 * count)) * step_ns // 2 + int(rng.integers(0, 2)),
    )
    kept = Kept()
    cutter = SliceCutter(
        kept,
        slice_ns=HOUR_NS,
        from_ns=from_ns,
        to_ns=to_ns,
        series=np.array([20, 30, 40]),
        ids={1: 40, 2: 10, 3: 20, 4: 30},
    )
    expected: Table = {}
    cuts = sorted({0, count, *rng.integers(0, count, 6).tolist()})
    for first, last in pairwise(cuts):
        # Not all series are watched all the time.
        own = sorted(
            rng.choice([1, 2, 3, 4], size=int(rng.integers(1, 5)), replace=False).tolist()
        )
        cells = columns[:, first:last][:, :, [one - 1 for one in own]]
        note(cutter, block_of(begin_ns + first * step_ns, step_ns, own, cells))
        for row in range(first, last):
            at_ns = begin_ns + (row + 1) * step_ns
            for one in own:
                if from_ns <= at_ns < to_ns and one != 2:
                    name = {1: 40, 3: 20, 4: 30}[one]
                    expected[at_ns, name] = columns[:, row, one - 1].tobytes()
    cutter.finish()
    assert table(kept.parts) == expected
    numbers = [int(part.times_ns[0]) // HOUR_NS for part in kept.parts]
    assert numbers == sorted(set(numbers))
    for part, number in zip(kept.parts, numbers, strict=True):
        assert set((part.times_ns // HOUR_NS).tolist()) == {number}
        assert part.series.tolist() == sorted(part.series.tolist())


def test_a_spool_gives_parts_by_time_and_keeps_nothing(tmp_path: Path) -> None:
    spool = SliceSpool(tmp_path, slice_ns=HOUR_NS)
    kept = Kept()
    rng = np.random.default_rng(1)
    for series in ([1, 2], [3], [4, 5, 6]):
        for hour in (0, 1, 3):
            part = VerdictSlice(
                start_ns=BEGIN_NS + hour * HOUR_NS - 10**10,
                step_ns=10**10,
                series=np.array(series, np.int64),
                columns=rng.normal(size=(5, 360, len(series))).astype(np.float32),
            )
            spool.write(part)
            kept.write(part)
    assert spool.size_bytes == sum(one.stat().st_size for one in tmp_path.iterdir())
    found = list(spool.read())
    starts = [(part.start_ns, part.series.tolist()) for part in found]
    assert starts == sorted(starts)
    assert table(found) == table(kept.parts)
    assert list(tmp_path.iterdir()) == []
    assert list(spool.read()) == []
