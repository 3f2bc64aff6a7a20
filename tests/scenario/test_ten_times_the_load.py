"""Goal: ten times the load is taken, or turned away and taken later, all of it; an outage in it pages on time; memory has a bound.

Method: `sentinel run` as a process of its own with a queue that such a load fills; many senders that follow OTLP's rules for
retries, over HTTP and gRPC, as fast as they can; a service whose calls all fail from some moment on among them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import numpy as np
import pytest

from tests.support.alertmanager_server import collector
from tests.support.otlp_messages import traces
from tests.support.sidecar_process import sidecar_process
from tests.support.whole_app import Calls

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

LOGGER = logging.getLogger("sentinel.tests.load")
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
BATCH = 256
SENDERS = 12
MEMORY_MB = 256
PAGE_WITHIN_S = 15.0
DRAIN_WITHIN_S = 60.0
NUMBERS = itertools.count(1)
MARK = 0x5E57_11E1 << 32


@dataclass
class Ledger:
    """What was sent, what of it was taken, and how senders were turned away."""

    sent: int = 0
    taken: int = 0
    turned_away: int = 0


def config(folder: Path, webhook_url: str) -> Path:
    """Windows of a second, and bounds a sixteenth of the usual or less, so that a machine of any speed can fill them."""
    path = folder / "sentinel.yaml"
    path.write_text(
        f"""
receivers:
  otlp_http: {{listen: {{port: 0}}, intake: {{request_count_max: 4}}}}
  otlp_grpc: {{listen: {{port: 0}}, intake: {{request_count_max: 4}}}}
series: {{window: 1s, lateness: 1s, tick: 100ms, queue_count_max: 4, queue_max: 1MiB}}
overload: {{climb: 500ms, calm: 1s, settle: 2s, memory_max: {MEMORY_MB}MiB}}
store: {{directory: {folder / "store"}}}
incidents: {{hold: 3s, guards: {{error_window_count: 1}}}}
senders: {{webhooks: [{{name: hook, url: "{webhook_url}"}}]}}
web: {{listen: {{port: 0}}}}
"""
    )
    return path


class Batch:
    """One service's request, encoded once; times and ids are written into its bytes, so that sending costs little."""

    def __init__(self, service: str, *, failing: bool) -> None:
        calls = Calls(service=service, count=BATCH, failed_count=BATCH if failing else 0)
        spans = calls.spans(time.time_ns())
        for number, span in enumerate(spans):
            span.start_time_unix_nano, span.end_time_unix_nano = (
                MARK + 3 * number,
                MARK + 3 * number + 1,
            )
            span.span_id = (MARK + 3 * number + 2).to_bytes(8, "little")
        body = traces(*spans, service=service).SerializeToString()
        places = [body.index((MARK + number).to_bytes(8, "little")) for number in range(3 * BATCH)]
        self._at = np.array(places)[:, np.newaxis] + np.arange(8)
        self._bytes = np.frombuffer(bytearray(body), np.uint8)

    def fresh(self) -> bytes:
        """Calls of 10 ms that end now, with ids that no other has."""
        end = np.uint64(time.time_ns()) - np.arange(BATCH, dtype=np.uint64)
        ids = np.array([next(NUMBERS) for _ in range(BATCH)], np.uint64)
        words = np.column_stack((end - np.uint64(10_000_000), end, ids)).reshape(-1)
        self._bytes[self._at] = words.astype("<u8").view(np.uint8).reshape(-1, 8)
        return self._bytes.tobytes()


async def deliver_http(
    client: aiohttp.ClientSession, url: str, body: bytes, ledger: Ledger
) -> None:
    """Once more after each answer that OTLP lets a sender come back for; anything else ends the test."""
    headers = {"Content-Type": "application/x-protobuf"}
    while True:
        async with client.post(f"{url}/v1/traces", data=body, headers=headers) as reply:
            answer = await reply.read()
            if reply.status == 200:
                assert answer == b"", "nothing of it may be refused for good"
                return
            assert reply.status in {429, 503}, reply.status
            wait_s = float(reply.headers["Retry-After"])
        ledger.turned_away += 1
        await asyncio.sleep(wait_s / 4)  # impatient, as no sender should be


async def deliver_grpc(
    export: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes], body: bytes, ledger: Ledger
) -> None:
    while True:
        try:
            answer = await export(body, timeout=30)
        except grpc.aio.AioRpcError as error:
            refusal = error
        else:
            assert answer == b""
            return
        assert refusal.code() is grpc.StatusCode.UNAVAILABLE
        assert "grpc-status-details-bin" in str(refusal.trailing_metadata()), "without RetryInfo"
        ledger.turned_away += 1
        await asyncio.sleep(0.25)


async def load(
    side: dict[str, str], seconds: float, ledger: Ledger, *, failing_from_s: float
) -> float:
    """All senders for some seconds, and on until all is taken; when the outage began (monotonic)."""
    started_s = time.monotonic()
    outage_s = started_s + failing_from_s
    timeout = aiohttp.ClientTimeout(total=60)
    async with (
        aiohttp.ClientSession(timeout=timeout) as client,
        grpc.aio.insecure_channel(side["otlp_grpc_url"].removeprefix("http://")) as channel,
    ):
        export = channel.unary_unary(EXPORT, bytes, bytes)

        async def sender(number: int) -> None:
            service = f"service-{number}"
            calm, failed = Batch(service, failing=False), Batch(service, failing=True)
            while time.monotonic() < started_s + seconds:
                failing = number == 0 and time.monotonic() >= outage_s
                body = (failed if failing else calm).fresh()
                ledger.sent += BATCH
                if number % 2:
                    await deliver_grpc(export, body, ledger)
                else:
                    await deliver_http(client, side["otlp_http_url"], body, ledger)
                ledger.taken += BATCH

        async with asyncio.timeout(seconds + DRAIN_WITHIN_S), asyncio.TaskGroup() as group:
            for number in range(SENDERS):
                group.create_task(sender(number))
    return outage_s


def resident_mb(pid: int, field_name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field_name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    pytest.fail(f"no {field_name}")


def metric(text: str, name: str, **labels: str) -> float:
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith((f"{name}{{", f"{name} ")) and all(one in line for one in wanted)
    )


@pytest.mark.parametrize(
    "seconds", [6.0, pytest.param(60.0, marks=pytest.mark.full)], ids=["short", "minute"]
)
async def test_all_is_taken_in_the_end_and_an_outage_in_it_pages(
    tmp_path: Path, seconds: float
) -> None:
    ledger = Ledger()
    with collector() as hook, sidecar_process(config(tmp_path, hook.url)) as side:
        addresses = json.loads((tmp_path / "run.ready").read_text())
        began = asyncio.create_task(load(addresses, seconds, ledger, failing_from_s=seconds / 3))
        paged_s = 0.0
        while not began.done():
            await asyncio.sleep(0.05)
            if not paged_s and any(
                one["labels"]["service"] == "service-0" for one in hook.distinct()
            ):
                paged_s = time.monotonic()
        outage_s = await began
        for _ in range(round(PAGE_WITHIN_S / 0.05)):
            if paged_s:
                break
            await asyncio.sleep(0.05)
            if any(one["labels"]["service"] == "service-0" for one in hook.distinct()):
                paged_s = time.monotonic()
        assert paged_s, "nobody was paged"
        assert paged_s - outage_s < PAGE_WITHIN_S
        text = await asyncio.to_thread(side.get, "/metrics")
        peak_mb = resident_mb(side.pid, "VmHWM")
    assert ledger.turned_away > 0, "the load filled nothing"
    assert ledger.sent == ledger.taken
    assert metric(text, "sentinel_receiver_samples_total", signal="traces") == ledger.sent
    assert metric(text, "sentinel_receiver_rejected_samples_total") == 0
    assert metric(text, "sentinel_ingest_faulty_batches_total") == 0
    assert peak_mb < MEMORY_MB * 1.048576
    told = f"{ledger.sent} spans, turned away {ledger.turned_away} times, {peak_mb:.0f} MB at most"
    LOGGER.info("%s, paged after %.1f s", told, paged_s - outage_s)
