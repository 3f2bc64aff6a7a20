"""What watching NATS costs: the CPU of a sidecar's part and of the server's, with hundreds of consumers.

Method: a real server on loopback with JetStream, streams with consumers that each hold a backlog; messages come between polls. Polls follow one
another, each read, reduced, taken by the aggregator and closed as a window. The share is the CPU time of a poll over the
interval that lies between two of them when they are not hurried. The median over rounds is told.

    python benchmarks/bench_nats.py [--consumers 500] [--streams 10] [--polls 20] [--rounds 5] [--interval 10]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nats
import psutil
from machine import describe
from nats.js.api import ConsumerConfig, StreamConfig

sys.path.insert(0, str(Path(__file__).parents[1]))

from sentinel.core.series import Aggregator
from sentinel.core.series.settings import SeriesSettings
from sentinel.ports import Admission
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.settings import Duration
from sentinel.scrapers.nats.component import make_nats
from sentinel.scrapers.nats.config import NatsConfig
from tests.support.nats_servers import WHEEL, NatsProcess, debian_binary, nats_server

GOAL_PERCENT = 1.0


class Nowhere:
    """A sink that takes all."""

    def accept(self, batch: object, *, size_bytes: int) -> Admission:  # noqa: ARG002  # the port's
        """Take it."""
        return Admission.ACCEPTED


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumers", type=int, default=500)
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--polls", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--interval", type=float, default=10.0)
    args = parser.parse_args()
    print(
        f"{describe()}; {args.consumers} consumers of {args.streams} streams, asked every {args.interval:g} s"
    )
    for name, binary in (
        ("nats-server of the wheel", str(WHEEL)),
        ("nats-server of Debian", debian_binary()),
    ):
        version = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, check=True
        ).stdout.strip()
        with (
            tempfile.TemporaryDirectory() as folder,
            nats_server(Path(folder), binary=binary) as server,
        ):
            asyncio.run(measure(f"{name} ({version.split()[-1]})", server, args))


async def measure(name: str, server: NatsProcess, args: argparse.Namespace) -> None:
    """Fill a server, then ask it again and again."""
    client = await nats.connect(server.url)
    js = client.jetstream(timeout=30)
    for at in range(args.streams):
        await js.add_stream(StreamConfig(name=f"S{at}", subjects=[f"s{at}"]))
        for _ in range(50):
            await js.publish(f"s{at}", b"x" * 100)
    for number in range(args.consumers):
        at = number % args.streams
        await js.add_consumer(
            f"S{at}", ConsumerConfig(durable_name=f"c{number}", filter_subject=f"s{at}")
        )
    surroundings = Surroundings(
        clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logging.getLogger("bench")
    )
    config = NatsConfig(
        urls=(server.monitor_url,),
        interval=Duration(max(args.interval, 6.0)),
        consumers_max=max(300, args.consumers),
        client=ClientConfig(timeout=Duration(5.0)),
    )
    scraping = make_nats([config], Downstream(sink=Nowhere()), surroundings)
    (target,) = scraping._targets  # noqa: SLF001  # asked by hand, without waiting
    now_ns = time.time_ns() // 10**10 * 10**10
    aggregator = Aggregator(SeriesSettings(), start_ns=now_ns)
    assert server.process is not None
    other = psutil.Process(server.process.pid)
    ours: list[float] = []
    parts: list[float] = []
    theirs: list[float] = []
    longest_ms = 0.0
    samples = 0
    for round_number in range(args.rounds + 1):
        gc.collect()
        spent = polling = 0.0
        theirs_before = sum(other.cpu_times()[:2])
        for _ in range(args.polls):
            await js.publish("s0", b"x" * 100)
            before = time.process_time()
            polled = await target.poll(now_ns)
            middle = time.process_time()
            aggregator.add(polled.batch, now_ns)
            now_ns += 10**10
            aggregator.close(now_ns + 6 * 10**9)
            after = time.process_time()
            spent, polling = spent + after - before, polling + middle - before
            longest_ms = max(longest_ms, (middle - before) * 1e3) if round_number else 0.0
            samples = polled.batch.sample_count
        if round_number:
            ours.append(spent / args.polls)
            parts.append(polling / args.polls)
            theirs.append((sum(other.cpu_times()[:2]) - theirs_before) / args.polls)
    await scraping.stop()
    await client.close()
    share = statistics.median(ours) / args.interval * 100
    print(
        f"{name}: {samples} samples a poll; asked and reduced {statistics.median(parts) * 1e3:.1f} ms of CPU (longest {longest_ms:.1f}), "
        f"with windows {statistics.median(ours) * 1e3:.1f} ms: {share:.2f} % of a core (goal {GOAL_PERCENT:g}); "
        f"the server {statistics.median(theirs) * 1e3:.1f} ms: {statistics.median(theirs) / args.interval * 100:.2f} %",
        flush=True,
    )


if __name__ == "__main__":
    main()
