"""Goal: windows that nobody decided are judged as the preview judges them, whichever services are taken together, at their true times.

Method: a small store as a backfill leaves it; the same span in one group and in many, whole and from an instant on, and with
a gap of two months, which a replay by itself would shorten.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sentinel.core.model import SeriesKey
from sentinel.pipeline.past_verdicts import Judged, Judging, judge_unrecorded
from sentinel.storage.sqlite import StoreReader
from tests.support.past_store import DAY_NS, STEP_NS, past_store
from tests.support.slices import BEGIN_NS, HOUR_NS, Kept, Table, scores_of, table

KEYS = tuple(
    SeriesKey(service, "edge", "GET /x", signal)
    for service in ("a", "b", "c")
    for signal in ("traffic", "errors")
)
DAYS = 1.5


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("past")
    return past_store(folder, start_ns=BEGIN_NS, days=DAYS, keys=KEYS)


def judged(
    store: Path,
    *,
    from_ns: int = 0,
    to_ns: int = BEGIN_NS + 3 * DAY_NS,
    wanted: tuple[int, ...] = tuple(range(1, 7)),
    cells_a_group: int = 10**9,
    begun_ns: int = BEGIN_NS,
) -> tuple[Table, Judged]:
    kept = Kept()
    groups: list[tuple[int, int]] = []
    with StoreReader(store) as reader:
        found = judge_unrecorded(
            reader,
            kept,
            how=Judging(),
            step_ns=STEP_NS,
            slice_ns=2 * HOUR_NS,
            from_ns=from_ns,
            to_ns=to_ns,
            wanted=np.array(wanted, np.int64),
            begun_ns=begun_ns,
            on_group=lambda done, of: groups.append((done, of)),
            cells_a_group=cells_a_group,
        )
    assert sum(done for done, _ in groups) == groups[0][1]
    return table(kept.parts), found


def test_neither_groups_nor_the_span_change_what_was_expected(store: Path) -> None:
    whole, found = judged(store)
    assert found.series_count == len(KEYS)
    assert np.isfinite(scores_of(whole)).sum() > 200
    from_ns = BEGIN_NS + DAY_NS + 17 * STEP_NS
    to_ns = BEGIN_NS + round(DAYS * DAY_NS) - 5 * STEP_NS
    for cells_a_group in (1, 4 * 450):
        part, _ = judged(store, from_ns=from_ns, to_ns=to_ns, cells_a_group=cells_a_group)
        assert part == {at: one for at, one in whole.items() if from_ns <= at[0] < to_ns}

    # A single series is judged beside the others of its service, and that service alone.
    one, found = judged(store, wanted=(3,))
    assert one == {at: cells for at, cells in whole.items() if at[1] == 3}
    assert found.series_count == 2


def test_what_lies_beyond_a_long_gap_keeps_its_dates(tmp_path: Path) -> None:
    gap_ns = 61 * DAY_NS
    for start_ns in (BEGIN_NS - gap_ns, BEGIN_NS):
        past_store(tmp_path, start_ns=start_ns, days=1.5, keys=KEYS[:2], holes=False)
    both, _ = judged(tmp_path, wanted=(1, 2), begun_ns=BEGIN_NS - gap_ns)
    days = {at_ns // DAY_NS for at_ns, _ in both}
    first = BEGIN_NS // DAY_NS
    assert days == {first - 61, first - 60, first, first + 1}
    late = {at: one for at, one in both.items() if at[0] >= BEGIN_NS}
    assert np.isfinite(scores_of(late)).sum() > 30
