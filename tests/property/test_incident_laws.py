"""Laws of incidents: any split of a history into blocks agrees, and a snapshot resumes as if nothing had been.

Random histories of a few series (quiet, strange, failing, silent) are tracked whole, window by window, in
random pieces, and through bytes between pieces; transitions, pages, the mask and the final bytes are compared.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.incidents import (
    GuardSettings,
    IncidentSettings,
    Tracked,
    TrackerState,
    from_bytes,
    to_bytes,
    track,
)
from sentinel.core.model import SeriesKey, VerdictBlock, WindowBlock
from tests.support.incident_blocks import block_of, verdicts_of

KEYS = {
    1: SeriesKey("pay", "edge", "POST /x", "traffic"),
    2: SeriesKey("pay", "edge", "POST /x", "errors"),
    5: SeriesKey("pay", "database", "UPDATE a", "latency"),
    6: SeriesKey("pay", "queue", "orders", "pending"),
    9: SeriesKey("fx", "edge", "GET /y", "traffic"),
    12: SeriesKey("fx", "edge", "GET /y", "latency"),
}
SETTINGS = IncidentSettings(
    hold_ns=0,
    hold_window_count=3,
    worsen_gap_ns=30_000_000_000,
    reminder_ns=0,
    reminder_window_count=4,
    page_count_max_per_minute=2,
    guards=GuardSettings(
        stopped_after_ns=30_000_000_000,
        stopped_window_count=2,
        blind_after_ns=20_000_000_000,
        blind_heard_ns=30_000_000_000,
        forget_after_ns=200_000_000_000,
    ),
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[WindowBlock, VerdictBlock]:
    window_count = draw(st.integers(2, 40))
    seed = draw(st.integers(0, 2**32 - 1))
    trouble = draw(st.sampled_from([0.02, 0.1, 0.4]))
    rng = np.random.default_rng(seed)
    shape = (window_count, len(KEYS))
    value = rng.choice([0.0, 0.3, 0.9, 2.0, 7.0], size=shape).astype(np.float32)
    silent = np.repeat(rng.random((window_count, 2)) < trouble, [4, 2], axis=1)
    silent[1:] |= silent[:-1] & (rng.random((window_count - 1, 1)) < 0.7)
    value[silent] = np.nan
    score = np.where(rng.random(shape) < trouble, rng.choice([1.0, 1.3, 4.0], size=shape), 0.2)
    score[np.isnan(value)] = np.nan
    block = block_of(KEYS, value.tolist(), heard=(~silent).tolist())
    verdicts = verdicts_of(block, score.tolist(), direction=int(rng.choice([-1, 1])))
    return block, verdicts


def follow(
    block: WindowBlock, verdicts: VerdictBlock, cuts: list[int], *, through_bytes: bool
) -> tuple[list[Tracked], bytes]:
    state = TrackerState()
    results: list[Tracked] = []
    edges = [0, *sorted(set(cuts)), block.window_count]
    for first, last in pairwise(edges):
        tracked = track(
            state, block.windows(first, last), verdicts.windows(first, last), KEYS, SETTINGS
        )
        state = from_bytes(to_bytes(tracked.state)) if through_bytes else tracked.state
        results.append(tracked)
    return results, to_bytes(state)


@settings(max_examples=120, deadline=None)
@given(history=histories(), data=st.data(), through_bytes=st.booleans())
def test_any_split_gives_the_same_incidents_and_pages(
    *, history: tuple[WindowBlock, VerdictBlock], data: st.DataObject, through_bytes: bool
) -> None:
    block, verdicts = history
    cuts = data.draw(st.lists(st.integers(1, block.window_count - 1), max_size=8))
    whole, whole_bytes = follow(block, verdicts, [], through_bytes=False)
    pieces, pieces_bytes = follow(block, verdicts, cuts, through_bytes=through_bytes)
    assert repr([t for part in pieces for t in part.transitions]) == repr(
        list(whole[0].transitions)
    )
    assert [p for part in pieces for p in part.pages] == list(whole[0].pages)
    assert pieces_bytes == whole_bytes
    assert np.array_equal(pieces[-1].frozen, whole[0].frozen)


@settings(max_examples=120, deadline=None)
@given(histories())
def test_every_page_keeps_its_identity_and_its_order(
    history: tuple[WindowBlock, VerdictBlock],
) -> None:
    block, verdicts = history
    results, _ = follow(block, verdicts, [], through_bytes=False)
    by_incident: dict[str, list[int]] = {}
    labels: dict[str, dict[str, str]] = {}
    for page in results[0].pages:
        by_incident.setdefault(page.incident_id, []).append(page.sequence)
        assert labels.setdefault(page.incident_id, page.labels) == page.labels
        assert (page.reason == "opened") == (page.sequence == 0)
        assert (page.ends_ns is not None) == (page.status == "resolved")
        assert page.page_id == f"{page.incident_id}-{page.sequence}"
    for sequences in by_incident.values():
        assert sequences == list(range(len(sequences)))
