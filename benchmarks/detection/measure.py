"""Runs detectors over the series of a data set, in processes, each with a limit of time."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from types import FrameType

import numpy as np

from benchmarks.detection.ours import preview
from benchmarks.detection.peers import PEERS, Peer
from benchmarks.detection.protocol import Swept, sweep
from benchmarks.detection.score import Tally, incidents_of, tally
from benchmarks.detection.sources import SeriesFile, on_grid


def sweep_all(
    peer: Peer,
    files: Sequence[SeriesFile],
    *,
    jobs: int,
    limit_s: float,
    with_reminders: bool,
) -> dict[str, Swept]:
    """Scores of a peer by series, under every threshold; a series that the limit of time cut off is not in it."""
    deadline_s = time.monotonic() + limit_s
    one = partial(_sweep_one, peer.name, deadline_s=deadline_s, with_reminders=with_reminders)
    # Spawned, so that a limit in a worker meets none of this process's threads.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        swept = list(pool.map(one, files))
    return {
        file.name: found for file, found in zip(files, swept, strict=True) if found is not None
    }


def sweep_one(peer: Peer, file: SeriesFile, *, with_reminders: bool = False) -> Swept:
    """Score one series with a peer, and its pages under every threshold."""
    series = file.read()
    grid = on_grid(series)
    scorer = peer.scorer()
    began_s = time.process_time()
    score = scorer(grid)
    cpu_s = time.process_time() - began_s
    return Swept(
        tallies=sweep(
            score,
            own_threshold=peer.own_threshold,
            grid=grid,
            series=series,
            incidents=incidents_of(series),
            with_reminders=with_reminders,
        ),
        cpu_s=cpu_s,
        row_count=grid.value.size,
    )


def tally_ours(
    files: Sequence[SeriesFile],
    *,
    sensitivity: str,
    limit_s: float,
    with_reminders: bool,
    options: Sequence[str] = (),
) -> tuple[dict[str, Tally], float]:
    """Tallies of the previewed pages by series, and the process time a row; `options` are further ones of the preview.

    Raises:
        PreviewError: the preview failed or took too long.
    """
    seen = preview(
        files,
        sensitivity=sensitivity,
        with_reminders=with_reminders,
        limit_s=limit_s,
        options=options,
    )
    tallies: dict[str, Tally] = {}
    row_count = 0
    for file in files:
        series = file.read()
        row_count += series.value.size
        starts = seen.page_s.get(file.name, np.empty(0))
        tallies[file.name] = tally(starts, series, incidents_of(series))
    return tallies, seen.cpu_s / row_count


def _sweep_one(
    name: str, file: SeriesFile, *, deadline_s: float, with_reminders: bool
) -> Swept | None:
    peer = next(peer for peer in PEERS if peer.name == name)
    remaining_s = deadline_s - time.monotonic()
    if remaining_s <= 0:
        return None
    try:
        with limit(remaining_s):
            return sweep_one(peer, file, with_reminders=with_reminders)
    except TooSlowError:
        return None


class TooSlowError(Exception):
    """The limit of time of a peer was reached."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raise `TooSlowError` in the body when it takes longer; of a process's main thread only."""

    def too_slow(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, too_slow)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
