"""Goal: an outage that only log files tell of pages, with the lines that say why and no secret in them; a stop of all lines does too.

Method: the whole program on a manual clock; nginx's access log and an application's JSON log in a folder, written window by
window, one of them rotated meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sentinel.receivers.log_files import LogFilesConfig, LogSourceConfig
from sentinel.receivers.log_files.config import StartAt
from sentinel.runtime.component import HealthStatus
from tests.support.alertmanager_server import collector
from tests.support.whole_app import SECOND_NS, Sidecar, config_of, sidecar

pytestmark = pytest.mark.timeout(60)

RECEIVED = "sentinel_component_received_total"


class Logs:
    """The two logs of a gateway, and a sidecar that has only them."""

    def __init__(self, side: Sidecar, folder: Path) -> None:
        self.side = side
        self.access = folder / "access.log"
        self.app = folder / "app.json"
        self.written = 0

    async def window(self, *, calls: int = 50, failed: int = 0, rotate: bool = False) -> None:
        """One window: so many calls, so many of them failed, with an error line for each of those."""
        side = self.side
        start_ns = side.next_ns
        await side.clock.advance((start_ns + 9 * SECOND_NS - side.clock.now_ns()) / SECOND_NS)
        if rotate:
            self.access.rename(self.access.with_name("access.log.1"))
        with self.access.open("a") as access, self.app.open("a") as app:
            for number in range(calls):
                at = datetime.fromtimestamp(start_ns // SECOND_NS + number * 8 // calls, UTC)
                status = 502 if number < failed else 200
                access.write(
                    f'127.0.0.1 - - [{at:%d/%b/%Y:%H:%M:%S} +0000] "POST /v1/pay HTTP/1.1" {status} 5 "-" "-" 0.050\n'
                )
                if number < failed:
                    line = {
                        "timestamp": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                        "level": "error",
                        "event": "card.refused",
                        "message": f"upstream {number} refused card 4111 1111 1111 1111 of jane@example.com",
                        "trace_id": f"{number + 1:032x}",
                    }
                    app.write(json.dumps(line) + "\n")
        self.written += calls + failed
        for _ in range(15):
            if self._received() == self.written:
                break
            await side.clock.advance(0.05)
            for _ in range(20):
                await asyncio.sleep(0.003)
        assert self._received() == self.written
        await side.close()

    def _received(self) -> float:
        labels = {"component": "receivers.log_files", "signal": "logs"}
        return self.side.metrics.value(RECEIVED, **labels)


@asynccontextmanager
async def logs(folder: Path, hook_url: str) -> AsyncIterator[Logs]:
    written = folder / "logs"
    written.mkdir()
    for name in ("access.log", "app.json"):
        (written / name).touch()
    source = LogSourceConfig(
        name="gateway",
        paths=(f"{written}/access.log", f"{written}/app.json"),
        service="gateway",
        start=StartAt.BEGINNING,
    )
    config = config_of(folder, webhook_url=hook_url)
    receivers = replace(config.receivers, log_files=LogFilesConfig(sources=(source,)))
    async with sidecar(replace(config, receivers=receivers)) as side:
        yield Logs(side, written)


async def test_failing_calls_page_with_the_lines_that_say_why(tmp_path: Path) -> None:
    with collector() as hook:
        async with logs(tmp_path, hook.url) as found:
            for number in range(6):
                await found.window(rotate=number == 3)
            assert hook.distinct() == []
            for _ in range(3):
                await found.window(failed=40)
            await found.side.sees(lambda: bool(hook.distinct()), "the page")
            page = hook.distinct()[0]
            assert page["labels"]["severity"] == "page"
            assert page["labels"]["service"] == "gateway"
            told = json.dumps(page["annotations"])
            assert "[ERROR] gateway (new) card.refused: upstream" in page["annotations"]["logs"]
            assert "[PAN]" in told
            assert "4111" not in told
            assert "jane@" not in told
            health = found.side.app.lifecycle.health()["receivers.log_files"]
            assert health.status is HealthStatus.OK


async def test_calls_that_stop_page(tmp_path: Path) -> None:
    """A file that can be read and says nothing tells that nothing was called."""
    with collector() as hook:
        async with logs(tmp_path, hook.url) as found:
            for _ in range(32):
                await found.window()
            for _ in range(8):
                await found.window(calls=0)
            await found.side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert "no calls at edge POST" in page["annotations"]["summary"]
