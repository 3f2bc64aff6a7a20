"""Goal: backups stop when they are told to, and outlive a disk that is full. Method: an upload that never ends in a loop that is ended, and a backup that the scratch folder refuses."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from typing import Any

import pytest

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.operate.storage import schedule
from sentinel.reference.ledger.operate.storage.daemon import in_daemon
from sentinel.reference.ledger.operate.storage.schedule import Schedule, ScheduleConfig
from sentinel.reference.ledger.wire.config import PostgresConfig
from tests.support.ledger_servers import recorded


def test_a_loop_ends_at_once_while_a_call_goes_on() -> None:
    """With a thread of the loop's own it waited for its end."""
    goes_on = threading.Event()

    async def main() -> None:
        call = asyncio.create_task(in_daemon(lambda: goes_on.wait(20)))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.wait({call})
        assert call.cancelled()

    began = time.monotonic()
    try:
        asyncio.run(main())
        assert time.monotonic() - began < 10
    finally:
        goes_on.set()


async def test_what_a_call_returns_or_raises_is_its_callers() -> None:
    assert await in_daemon(lambda: 7) == 7

    def refused() -> None:
        message = "away"
        raise UnavailableError(message)

    with pytest.raises(UnavailableError, match="away"):
        await in_daemon(refused)


class _Empty:
    """An archive that holds nothing and has no rules."""

    def keys(self, _: str) -> list[str]:
        return []

    def expiring(self) -> list[str]:
        return []


async def test_a_full_disk_is_counted_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0
    stop = asyncio.Event()

    async def full(*_: object) -> Any:
        nonlocal tried
        tried += 1
        if tried == 2:
            stop.set()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(schedule, "take_backup", full)
    made = recorded("ledger-backup")
    await Schedule(
        ScheduleConfig(every_s=60.0, retry_s=0.01),
        _Empty(),  # type: ignore[arg-type]  # all that is asked of it
        PostgresConfig(url="postgresql://nobody"),
        made.telemetry,
    ).run(stop)
    assert tried == 2
    assert made.values("ledger.backup.failed")[("OSError",)] >= 1
