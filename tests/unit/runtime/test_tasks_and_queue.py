"""Goal: nothing grows without a bound and no crash is silent.

Method: the queue and the task group with values; the crash is a task that raises once.
"""

from __future__ import annotations

import asyncio

import pytest

from sentinel.runtime.backoff import Backoff
from sentinel.runtime.queue import BoundedQueue
from sentinel.runtime.tasks import TaskGroup
from tests.support.surroundings import make_surroundings


def test_queue_refuses_and_counts_over_either_bound() -> None:
    queue: BoundedQueue[str] = BoundedQueue(item_count_max=2, size_bytes_max=10)
    assert queue.offer("a", size_bytes=6)
    assert not queue.offer("too heavy", size_bytes=5)
    assert queue.offer("b", size_bytes=4)
    assert not queue.offer("too many", size_bytes=0)
    assert queue.refused_count == 2
    assert queue.take_all() == ["a", "b"]
    assert (len(queue), queue.size_bytes) == (0, 0)


def test_an_item_larger_than_the_bound_passes_an_empty_queue() -> None:
    """Otherwise its sender would be told to retry for ever."""
    queue: BoundedQueue[str] = BoundedQueue(item_count_max=2, size_bytes_max=10)
    assert queue.offer("giant", size_bytes=11)
    assert not queue.offer("next", size_bytes=1)


async def test_queue_wakes_its_reader_and_gives_up_in_time() -> None:
    queue: BoundedQueue[int] = BoundedQueue(item_count_max=2, size_bytes_max=10)
    assert not await queue.wait(timeout_s=0.01)
    waiting = asyncio.ensure_future(queue.wait(timeout_s=5))
    await asyncio.sleep(0)
    queue.offer(1, size_bytes=1)
    assert await waiting


async def test_a_crashed_task_is_counted_and_started_again() -> None:
    surroundings = make_surroundings()
    group = TaskGroup("tests", metrics=surroundings.metrics, logger=surroundings.logger)
    runs: list[int] = []
    done = asyncio.Event()

    async def crash_once() -> None:
        runs.append(1)
        if len(runs) == 1:
            msg = "first run fails"
            raise RuntimeError(msg)
        done.set()

    group.spawn("worker", crash_once, backoff=Backoff(first_s=0.01))
    await asyncio.wait_for(done.wait(), 5)
    assert len(runs) == 2
    crashed = surroundings.metrics.value(
        "sentinel_task_crashes_total", component="tests", task="worker"
    )
    assert crashed == 1
    await group.close()
    await group.close()


@pytest.mark.parametrize("attempts", [1, 3, 100])
def test_backoff_waits_between_half_and_whole_of_its_ceiling(attempts: int) -> None:
    backoff = Backoff(first_s=1.0, limit_s=30.0)
    wait_s = backoff.wait_s(attempts)
    assert backoff.ceiling_s(attempts) / 2 <= wait_s <= backoff.ceiling_s(attempts) <= 30.0


def test_backoff_honours_what_the_other_side_asked_for() -> None:
    assert Backoff(first_s=1.0).wait_s(1, retry_after_s=7.0) >= 7.0
