"""A process on a store, to be killed, starved of disk, or kept waiting by tests.

Run as `python -m tests.support.store_process ACTION DIRECTORY [NUMBER]`.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

from sentinel.core.model import Page
from sentinel.errors import StoreError, StoreFullError
from sentinel.pipeline.deliver import Deliver, DeliverConfig
from sentinel.ports import Tick
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.settings import ByteSize
from sentinel.storage.sqlite import SqliteStore, Store, StoreConfig
from tests.support.outbox import ScriptedDestination
from tests.support.store_blocks import STEP_NS, block, incident, keys, page
from tests.support.surroundings import make_surroundings

_SERIES_COUNT = 40


def opened(directory: str, *, reserve_bytes: int = 0) -> SqliteStore:
    """A store with one destination and its series registered."""
    config = StoreConfig(directory=directory, reserve_bytes=ByteSize(reserve_bytes))
    store = SqliteStore(config, make_surroundings())
    store.open()
    store.set_destinations(["am"])
    return store


def write_until_killed(directory: str, first: int) -> None:
    """Append windows with a page each; a page's number is printed once the store has it."""
    store = opened(directory)
    ids = store.register(keys(_SERIES_COUNT), now_ns=1)
    for at in range(first, first + 100_000):
        name = f"inc-{at}"
        store.append_tick(
            Tick(block=block(ids, at=at), incidents=(incident(name),), pages=(page(name),))
        )
        os.write(1, f"{at}\n".encode())


def hold(directory: str) -> None:
    """Keep the store open."""
    opened(directory)
    os.write(1, b"open\n")
    time.sleep(60)


def fill_the_disk(directory: str) -> None:
    """Fill a small disk, page while it is full, make room, and say what happened as JSON."""
    store = opened(directory, reserve_bytes=256 << 10)
    ids = store.register(keys(2000), now_ns=1)
    told: dict[str, object] = {}
    for at in range(20):
        store.append_tick(Tick(block=block(ids, at=at)))
    told["windows_before"] = _window_count(store)
    filler = Path(directory).parent / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), b"x" * 4096)
        except OSError:
            pass
    for at in range(20, 60):
        name = f"inc-{at}"
        store.append_tick(
            Tick(block=block(ids, at=at), incidents=(incident(name),), pages=(page(name),))
        )
    told["pages_while_full"] = len(store.entries(destination="am"))
    told["windows_while_full"] = _window_count(store)
    told["dropped"] = store._metrics.value(
        "sentinel_store_dropped_windows_total", reason="disk_full"
    )
    told["trouble"] = store.trouble
    store.close()
    store.open()
    told["pages_reopened_full"] = len(store.entries(destination="am"))
    filler.unlink()
    for at in range(60, 70):
        store.append_tick(Tick(block=block(ids, at=at)))
    told["windows_after"] = _window_count(store)
    told["trouble_after"] = store.trouble
    store.close()
    store.open()
    told["pages_after"] = len(store.entries(destination="am"))
    told["windows_reopened"] = _window_count(store)
    store.close()
    sys.stdout.write(json.dumps(told))


def meet_a_file_limit(directory: str) -> None:
    """Let writes fail half-way by a limit on file sizes, lift it, and say what happened as JSON."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = opened(directory)
    ids = store.register(keys(2000), now_ns=1)
    store.append_tick(Tick(block=block(ids)))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, hard))
    told: dict[str, object] = {}
    acknowledged = []
    for at in range(1, 30):
        try:
            store.append_tick(Tick(block=block(ids, at=at), pages=(page(f"inc-{at}"),)))
            acknowledged.append(f"inc-{at}/0")
        except StoreFullError as error:
            told["full"] = str(error)
        except StoreError as error:
            told["error"] = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    store.append_tick(Tick(block=block(ids, at=40), pages=(page("inc-40"),)))
    acknowledged.append("inc-40/0")
    found = {entry.page.page_id for entry in store.entries(destination="am")}
    told["acknowledged"] = acknowledged
    told["lost"] = sorted(set(acknowledged) - found)
    told["trouble_after"] = store.trouble
    store.close()
    sys.stdout.write(json.dumps(told))


def page_without_reserve(directory: str, first: int) -> None:
    """Open a store on a disk that is nearly full, page until nothing fits, and go on; told line by line as JSON.

    What evaluation does with a window that is not stored is done here: its pages are given to delivery with
    every further window. After a line from standard input there is room again.
    """
    asyncio.run(_page_without_reserve(directory, first))


async def _page_without_reserve(directory: str, first: int) -> None:
    surroundings = make_surroundings(SystemClock())
    store = Store(StoreConfig(directory=directory), surroundings)
    hook = ScriptedDestination("hook", forgets=False)
    deliver = Deliver(
        DeliverConfig(), store.sync, [hook], surroundings=surroundings, run_blocking=store.run
    )
    await store.start()
    await deliver.start()
    waiting: list[Page] = []
    is_freed = False
    for at in range(first, first + 10_000):
        waiting.append(page(f"inc-{at}"))
        tick = Tick(block=block([1], at=at), pages=tuple(waiting))
        try:
            await store.run(store.sync.append_tick, tick)
        except StoreError:
            deliver.pages_unstored(waiting)
            for _ in range(600):
                if len(hook.taken) > at - first:
                    break
                await asyncio.sleep(0.05)
            taken = [page_id for _, page_id in hook.taken]
            told = {
                "decided": at - first + 1,
                "waiting": len(waiting),
                "taken": len(taken),
                "different": len(set(taken)),
                "status": store.health().status,
                "sentence": store.health().sentence,
                "unrecorded": surroundings.metrics.value(
                    "sentinel_pages_unrecorded_total", destination="hook"
                ),
            }
            os.write(1, json.dumps(told).encode() + b"\n")
            sys.stdin.readline()
            is_freed = True
        else:
            deliver.pages_stored(waiting)
            waiting.clear()
            if is_freed:
                break
    await asyncio.sleep(1.0)
    await deliver.stop()
    left = await store.run(store.sync.entries, destination="hook")
    taken = [page_id for _, page_id in hook.taken]
    told = {
        "taken": len(taken),
        "different": len(set(taken)),
        "left": [entry.page.page_id for entry in left],
        "status": store.health().status,
    }
    await store.stop()
    os.write(1, json.dumps(told).encode() + b"\n")


def _window_count(store: SqliteStore) -> int:
    return sum(
        one.window_count for one in store.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62)
    )


if __name__ == "__main__":
    action, where = sys.argv[1:3]
    if action == "write":
        write_until_killed(where, int(sys.argv[3]))
    elif action == "hold":
        hold(where)
    elif action == "page":
        page_without_reserve(where, int(sys.argv[3]))
    elif action == "fill":
        fill_the_disk(where)
    else:
        meet_a_file_limit(where)
