"""What each mode of durability costs where it is paid, at the queue: `make bench-durability`.

The ledger's own connection publishes transfers of 300 bytes, each of which is answered when the stream has acknowledged it as the mode
says: to a server as `up` starts it, and to a cluster of three with three replicas. One at a time, which is the shortest time an
acceptance can take; then 64 at a time, spread over the four streams, which is the most that they take together.

Beside the times: how long the machine's disk takes for one small write that must be on it, and how much of a processor the servers
take for a message, which a machine that is not quiet says better than any time. Nobody reads the streams meanwhile. Exit code 0.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import describe
from sentinel.reference.ledger.domain.durability import Durability
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT
from sentinel.reference.ledger.operate.children import Child
from sentinel.reference.ledger.operate.servers import start_cluster, start_nats
from sentinel.reference.ledger.operate.single import patiently
from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.durability import syncs_always
from sentinel.reference.ledger.wire.envelope import transfer_subject
from sentinel.reference.ledger.wire.nats import Queue

PAYLOAD = b"x" * 300
AT_ONCE = 64
DISK_WRITES_COUNT = 200


@asynccontextmanager
async def queue_of(
    folder: Path, durability: Durability, nodes: int
) -> AsyncIterator[tuple[Queue, list[Child]]]:
    """The ledger's connection to streams that are kept as the mode says, by so many servers, and these."""
    if nodes > 1:
        found, children = await start_cluster(folder, nodes, durability)
        urls = ",".join(one.url for one in found.values())
        monitors = [one.monitor_url for one in found.values()]
    else:
        server = await start_nats(folder, durability=durability)
        children, urls, monitors = {"nats": server.child}, server.url, [server.monitor_url]
    try:
        for url in monitors:
            assert await syncs_always(url) is (durability is Durability.MACHINE)
        config = NatsConfig(url=urls, stream_replicas_count=nodes, publish_timeout_s=30.0)
        queue = await patiently(
            lambda: Queue.connect(config, name="bench", on_change=lambda *_: None)
        )
        try:
            yield queue, list(children.values())
        finally:
            await queue.close()
    finally:
        for child in children.values():
            await child.stop(with_signal=signal.SIGTERM, timeout_s=5.0)


async def publish(queue: Queue, numbers: itertools.count[int], until_s: float) -> list[float]:
    """Publish one after the other until then; what each took."""
    took = []
    while (began := time.perf_counter()) < until_s:
        message = uuid.uuid4()
        await queue.publish(
            subject=transfer_subject(cohort=next(numbers) % COHORTS_COUNT, asked_id=message),
            payload=PAYLOAD,
            message_id=str(message),
            headers={},
        )
        took.append(time.perf_counter() - began)
    return took


async def measure(durability: Durability, nodes: int, seconds: float) -> dict[str, object]:
    """One mode's figures."""
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix="bench-durability-") as folder:
        async with queue_of(Path(folder), durability, nodes) as (queue, servers):
            alone = await publish(queue, numbers, time.perf_counter() + seconds)
            before_s, began = processor_s(servers), time.perf_counter()
            many = await asyncio.gather(
                *(publish(queue, numbers, began + seconds) for _ in range(AT_ONCE))
            )
            together_s = time.perf_counter() - began
            servers_s = processor_s(servers) - before_s
    together = [one for some in many for one in some]
    return {
        "durability": str(durability),
        "stream_replicas": nodes,
        "alone_ms": _percentiles(alone),
        "together_ms": _percentiles(together),
        "together_per_s": round(len(together) / together_s),
        "servers_us_a_message": round(1e6 * servers_s / len(together)),
    }


def processor_s(servers: list[Child]) -> float:
    """What the servers have taken of a processor so far."""
    times = [psutil.Process(one.pid).cpu_times() for one in servers]
    return sum(one.user + one.system for one in times)


def disk_ms() -> dict[str, float]:
    """How long a small write takes to be on the disk that temporary files are on."""
    took = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(DISK_WRITES_COUNT):
            began = time.perf_counter()
            file.write(PAYLOAD)
            file.flush()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return _percentiles(took)


def _percentiles(took_s: list[float]) -> dict[str, float]:
    ordered = sorted(took_s)
    return {
        f"p{part}": round(1000 * ordered[min(len(ordered) * part // 100, len(ordered) - 1)], 2)
        for part in (50, 95, 99)
    }


async def bench(given: argparse.Namespace) -> None:
    """Measure each mode and print it."""
    machine, disk = describe(), disk_ms()
    print(f"{machine}\na write of {len(PAYLOAD)} bytes is on the disk after {disk} ms")
    found = []
    for nodes, durability in itertools.product((1, 3), Durability):
        one = await measure(durability, nodes, given.seconds)
        found.append(one)
        print(
            f"durability {one['durability']:<8} replicas {nodes}  one at a time {one['alone_ms']} ms; "
            f"{AT_ONCE} at a time {one['together_ms']} ms, {one['together_per_s']} a second, servers {one['servers_us_a_message']} us of a processor a message",
            flush=True,
        )
    if given.json is not None:
        given.json.write_text(
            json.dumps({"machine": machine, "disk_ms": disk, "modes": found}, indent=1) + "\n"
        )


def main() -> int:
    """Run it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10, help="of each load")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    asyncio.run(bench(parser.parse_args()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
