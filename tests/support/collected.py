"""What one process and several collectors with a scorer make of the same batches, for the tests that compare them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sentinel.core.model import SampleBatch, SeriesKey
from sentinel.core.series import Aggregator, ClosedWindow, SeriesSettings
from sentinel.core.series.collected import (
    COLLECTORS,
    CollectedWindow,
    Collecting,
    Merging,
    decode,
    encode,
)
from tests.support.batches import SECOND_NS, START_NS, at

Timed = tuple[float, SampleBatch]
"""When a batch comes, in seconds after the start, and the batch."""
Seen = dict[tuple[int, SeriesKey], tuple[str, float, bool]]


def seen(windows: Sequence[ClosedWindow]) -> Seen:
    """Value to the last bit, weight and whether it was heard, of every series of every window."""
    found: Seen = {}
    for window in windows:
        for position, key in enumerate(window.keys):
            if key != COLLECTORS:
                found[window.start_ns, key] = (
                    float(window.value[position]).hex(),
                    float(window.weight[position]),
                    bool(window.heard[position]),
                )
    return found


def evidence(windows: Sequence[ClosedWindow]) -> list[tuple[object, ...]]:
    """Exemplars in one order, and of which likes there were new lines: which of several of a time is new, arrival decides."""
    return [
        (
            window.start_ns,
            sorted(window.exemplars, key=lambda one: (one.key, one.time_ns, one.trace_id)),
            {(line.service, line.event, line.body) for line in window.logs if line.is_new},
        )
        for window in windows
    ]


def histograms(window: ClosedWindow) -> dict[SeriesKey, dict[int, int]]:
    """Buckets and counts of each latency series."""
    block = window.histograms
    if block is None:
        return {}
    return {
        window.keys[row]: dict(
            zip(
                block.bucket[block.offset[at_row] : block.offset[at_row + 1]].tolist(),
                block.count[block.offset[at_row] : block.offset[at_row + 1]].tolist(),
                strict=True,
            )
        )
        for at_row, row in enumerate(np.asarray(block.row).tolist())
    }


def in_one_process(
    batches: Sequence[Timed], *, windows: int, settings: SeriesSettings | None = None
) -> list[ClosedWindow]:
    """The windows of one process that hears all."""
    settings = settings or SeriesSettings()
    aggregator = Aggregator(settings, start_ns=START_NS)
    found: list[ClosedWindow] = []
    for number in range(windows):
        for come_s, batch in _of_window(batches, number):
            aggregator.add(batch, at(come_s))
        found += aggregator.close(at(10 * (number + 1) + 5)).windows
    return found


def parts_of(
    batches: Sequence[Timed],
    *,
    windows: int,
    collectors: int,
    whose: Sequence[int],
    settings: SeriesSettings | None = None,
) -> list[CollectedWindow]:
    """The parts of several collectors, of which each batch goes to the one that `whose` says."""
    settings = settings or SeriesSettings()
    made = [
        Collecting(
            settings, collector=f"c-{number}", incarnation=1, start_ns=START_NS, qualify=False
        )
        for number in range(collectors)
    ]
    parts: list[CollectedWindow] = []
    owner = {id(batch): number for (_, batch), number in zip(batches, whose, strict=True)}
    for number in range(windows):
        for come_s, batch in _of_window(batches, number):
            made[owner[id(batch)] % collectors].add(batch, at(come_s))
        for collecting in made:
            closed = collecting.close(at(10 * (number + 1) + 5))
            assert not closed.faults, closed.faults
            parts += closed.windows
    return parts


def merged_windows(
    parts: Sequence[CollectedWindow], *, windows: int, settings: SeriesSettings | None = None
) -> list[ClosedWindow]:
    """What a scorer makes of parts, each of which went over the wire."""
    merging = Merging(settings or SeriesSettings())
    merging.begin_after(START_NS)
    found: list[ClosedWindow] = []
    for number in range(windows):
        start_ns = START_NS + 10 * SECOND_NS * number
        own = [decode(encode(part).body) for part in parts if part.start_ns == start_ns]
        closed = merging.merge(start_ns, own)
        assert not closed.faults, closed.faults
        found += closed.windows
    return found


def _of_window(batches: Sequence[Timed], number: int) -> list[Timed]:
    """The batches that come after the last close and before the next."""
    first, last = 10 * number + 5 if number else 0, 10 * (number + 1) + 5
    return [one for one in batches if first <= one[0] < last]
