"""Goal: one Kong that tells of its calls by file-log and by http-log, under two services, is counted once, and it is said.

Method: both receivers on one sink, a real file and real requests on loopback; each request is told of by both.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import aiohttp
import pytest

from sentinel.core.normalise.logs.settings import LogFormat
from sentinel.receivers.http_log import HttpLogConfig, HttpLogListenConfig
from sentinel.receivers.http_log.component import HttpLogReceiver
from sentinel.receivers.log_files import LogSourceConfig
from sentinel.receivers.log_files.config import StartAt
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import HealthStatus
from sentinel.runtime.intake.downstream import Downstream
from tests.support.kong_records import record
from tests.support.log_files import Followed, following
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

BATCH = 20


class Kong:
    """Answers requests and tells of them in its two ways."""

    def __init__(self, file: Path, url: str, client: aiohttp.ClientSession) -> None:
        self._file = file
        self._url = url
        self._client = client
        self._number = 0

    async def serve(self, *, by_file: bool = True, by_http: bool = True) -> None:
        """Some requests."""
        records = []
        for _ in range(BATCH):
            self._number += 1
            records.append(record(self._number, started_ms=int(time.time() * 1e3)))
        if by_file:
            with self._file.open("a") as file:
                file.writelines(json.dumps(one) + "\n" for one in records)
        await asyncio.sleep(0.03)
        if by_http:
            async with self._client.post(self._url, json=records) as reply:
                assert reply.status == 200


def calls_of(sink: ListSink, service: str) -> int:
    """How many calls of a service were counted."""
    return sum(
        one.calls.scopes[index].service == service
        for one in sink.batches
        if one.calls is not None
        for index in one.calls.scope_index.tolist()
    )


def of_file(followed: Followed, name: str, **labels: str) -> float:
    return followed.component._surroundings.metrics.value(name, **labels)


async def test_a_kong_that_tells_twice_is_counted_once_and_it_is_said(tmp_path: Path) -> None:
    """Services of different names were taken for two gateways: every call was in two services' traffic, and paged twice."""
    file = tmp_path / "kong.log"
    file.touch()
    sink = ListSink()
    source = LogSourceConfig(
        name="main",
        paths=(str(file),),
        service="gateway",
        format=LogFormat.KONG,
        start=StartAt.BEGINNING,
    )
    config = HttpLogConfig(enabled=True, listen=HttpLogListenConfig(port=0))
    async with following(source, state=tmp_path / "state", ships=False, sink=sink) as followed:
        downstream = followed.component._downstream
        receiver = HttpLogReceiver(config, downstream, make_surroundings(SystemClock()))
        await receiver.start()
        try:
            async with aiohttp.ClientSession() as client:
                kong = Kong(file, receiver.url, client)
                duplicates = {"component": "receivers.log_files", "reason": "duplicate"}
                dropped = "sentinel_component_dropped_total"
                served = 0
                while not of_file(followed, dropped, **duplicates):
                    assert served < 100
                    await kong.serve()
                    served += 1
                health = followed.component.health()
                assert health.status is HealthStatus.DEGRADED
                assert health.sentence.startswith("Counted once, told of twice: main")
                # From here on the file adds nothing, and is not said to be heard.
                before, batches = calls_of(sink, "gateway"), len(sink.batches)
                for _ in range(10):
                    await kong.serve()
                served += 10
                read = "sentinel_component_received_total"
                own = {"component": "receivers.log_files", "signal": "logs"}
                await followed.sees(
                    lambda: of_file(followed, read, **own) == served * BATCH, "all lines"
                )
                assert calls_of(sink, "gateway") == before
                assert calls_of(sink, "kong") == served * BATCH
                later = sink.batches[batches:]
                assert not any("gateway" in one.services for one in later)
                twice = receiver._surroundings.metrics.value(
                    "sentinel_log_requests_told_twice_total", source="main"
                ) + of_file(followed, "sentinel_log_requests_told_twice_total", source="main")
                assert twice > 0.8 * served * BATCH
        finally:
            await receiver.stop()


async def test_two_kongs_are_counted_each(tmp_path: Path) -> None:
    file = tmp_path / "kong.log"
    file.touch()
    sink = ListSink()
    source = LogSourceConfig(
        name="main", paths=(str(file),), service="gateway", format=LogFormat.KONG
    )
    config = HttpLogConfig(enabled=True, listen=HttpLogListenConfig(port=0))
    async with following(source, state=tmp_path / "state", ships=False, sink=sink) as followed:
        downstream: Downstream = followed.component._downstream
        receiver = HttpLogReceiver(config, downstream, make_surroundings(SystemClock()))
        await receiver.start()
        try:
            async with aiohttp.ClientSession() as client:
                kong = Kong(file, receiver.url, client)
                for _ in range(10):
                    await kong.serve(by_http=False)
                    await kong.serve(by_file=False)
                await followed.sees(
                    lambda: calls_of(sink, "gateway") == 10 * BATCH, "the file's calls"
                )
                assert calls_of(sink, "kong") == 10 * BATCH
                assert followed.component.health().status is HealthStatus.OK
        finally:
            await receiver.stop()
