"""Goal: while logs are given up, the calls that Kong's file-log tells of are counted and page as ever, and other files wait, unread.

Method: the whole program on a manual clock; Kong's file-log and an application's log in a folder, nothing else; the pressure is
the test's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.core.model import SIGNAL_TRAFFIC, Reason, Rung, SeriesKey
from sentinel.core.normalise.logs.settings import LogFormat
from sentinel.receivers.log_files import LogFilesConfig, LogSourceConfig
from sentinel.receivers.log_files.config import StartAt
from tests.support.alertmanager_server import collector
from tests.support.kong_records import record
from tests.support.whole_app import SECOND_NS, Sidecar, config_of, sidecar

pytestmark = pytest.mark.timeout(60)

CALLS_A_WINDOW = 50
TRAFFIC = SeriesKey("kong", "edge", "orders-v1", SIGNAL_TRAFFIC)


class Files:
    """The two files, and a sidecar that has only them."""

    def __init__(self, side: Sidecar, folder: Path) -> None:
        self.side = side
        self.gateway, self.app = folder / "kong.log", folder / "app.log"
        self._number = 0

    async def window(self, *, failed: int = 0, read_lines: bool = True) -> None:
        """One window: calls in the gateway's file, so many of them failed, and as many lines in the application's."""
        side, start_ns = self.side, self.side.next_ns
        await side.clock.advance((start_ns + 9 * SECOND_NS - side.clock.now_ns()) / SECOND_NS)
        before = self.calls(), self.lines()
        with self.gateway.open("a") as gateway, self.app.open("a") as app:
            for number in range(CALLS_A_WINDOW):
                self._number += 1
                at_ms = start_ns // 10**6 + number * 8000 // CALLS_A_WINDOW
                status = 502 if number < failed else 200
                made = record(self._number, started_ms=at_ms, status=status)
                gateway.write(json.dumps(made) + "\n")
                line = {"time": at_ms / 1e3, "level": "info", "event": "served", "message": "ok"}
                app.write(json.dumps(line) + "\n")
        await self.sees(lambda: self.calls() == before[0] + CALLS_A_WINDOW, "the gateway's calls")
        if read_lines:
            await self.sees(lambda: self.lines() > before[1], "the application's lines")
        await side.close()

    async def sees(self, true: Callable[[], bool], what: str) -> None:
        """Let reading go on until it is true."""
        for _ in range(60):
            if true():
                return
            await self.side.clock.advance(0.02)
            for _ in range(20):
                await asyncio.sleep(0.003)
        msg = f"waited in vain for {what}"
        raise AssertionError(msg)

    def calls(self) -> float:
        """Calls that were taken."""
        return self._taken("traces")

    def lines(self) -> float:
        """Lines that were taken."""
        return self._taken("logs")

    def _taken(self, signal: str) -> float:
        labels = {"component": "pipeline.ingest", "signal": signal}
        return self.side.metrics.value("sentinel_component_received_total", **labels)

    def value_of(self, key: SeriesKey) -> tuple[Reason, float]:
        """Why the last verdict of a series is what it is, and of which value."""
        latest = self.side.app.evaluate.latest
        assert latest is not None
        at = latest.keys.index(key)
        return Reason(int(latest.verdicts.reason[0, at])), float(latest.block.value[0, at])


@asynccontextmanager
async def files(folder: Path, hook_url: str) -> AsyncIterator[Files]:
    written = folder / "logs"
    written.mkdir()
    sources = []
    for name, path, kind in (
        ("gateway", "kong.log", LogFormat.KONG),
        ("app", "app.log", LogFormat.JSON),
    ):
        (written / path).touch()
        sources.append(
            LogSourceConfig(
                name=name,
                paths=(f"{written}/{path}",),
                service="kong" if name == "gateway" else "shop",
                format=kind,
                start=StartAt.BEGINNING,
            )
        )
    config = config_of(folder, webhook_url=hook_url)
    receivers = replace(config.receivers, log_files=LogFilesConfig(sources=tuple(sources)))
    async with sidecar(replace(config, receivers=receivers)) as side:
        yield Files(side, written)


async def test_calls_are_counted_and_page_while_logs_are_given_up(tmp_path: Path) -> None:
    pressure = 0.0
    with collector() as hook:
        async with files(tmp_path, hook.url) as found:
            side = found.side
            side.app.overload._pressures = {"queue": lambda: pressure}
            for _ in range(6):
                await found.window()
            served = SeriesKey("shop", "logs", "served", "logs_info")
            assert found.value_of(served)[1] == CALLS_A_WINDOW / 10

            pressure = 0.85
            await side.clock.advance(2.6)
            pressure = 0.6
            assert side.app.overload.shed.rungs == (Rung.TRACES, Rung.LOGS)
            read = found.lines()
            gateways = SeriesKey("kong", "logs", "kong.request", "logs_info")
            for _ in range(2):
                await found.window(read_lines=False)
                reason, value = found.value_of(TRAFFIC)
                assert (reason is Reason.SHED, value) == (False, CALLS_A_WINDOW / 10)
                reason, value = found.value_of(served)
                assert (reason, value != value) == (Reason.SHED, True)
                assert found.value_of(gateways)[0] is Reason.SHED
            assert found.lines() - read <= 2 * CALLS_A_WINDOW, "the gateway's at most"
            assert hook.distinct() == []
            for _ in range(3):
                await found.window(failed=CALLS_A_WINDOW, read_lines=False)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert page["labels"]["service"] == "kong"
            assert "shedding traces and logs" in page["annotations"]["overload"]

            pressure = 0.0
            before = found.lines()
            await side.clock.advance(31.0)
            assert not side.app.overload.sheds(Rung.TRACES)
            waited = 5 * CALLS_A_WINDOW
            await found.sees(lambda: found.lines() - before >= waited, "what waited in the file")
            assert {one["labels"]["alertname"] for one in hook.distinct()} == {
                page["labels"]["alertname"]
            }
