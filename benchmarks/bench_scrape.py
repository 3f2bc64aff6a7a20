"""What a scraped sample costs, beside Debian's Prometheus scraping the same target at the same time.

Goal: half the CPU. Method: one child serves a page of 5,000 samples, every one of which changes from second to second; another is our
scraper with ingest and aggregator, closing windows; Prometheus runs beside it. Both ask once a second. CPU time of each
process a sample it took, the median of several rounds, and what the library's parser takes for the page alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import logging
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web
from machine import describe
from prometheus_client.parser import text_string_to_metric_families

from sentinel.core.normalise.prometheus import DefaultPlacing, MetricsParser, PlacingRules
from sentinel.core.series import Aggregator, ClosedWindows
from sentinel.pipeline.ingest import Ingest, IngestConfig
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.settings import Duration
from sentinel.scrapers.prometheus import PrometheusTargetConfig
from sentinel.scrapers.prometheus.component import PrometheusScraper

PAGES = 60
SAMPLES = 5000
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
CALLS, SIZES, COUNTERS = 100, 60, 1700
TEXT = "text/plain; version=0.0.4; charset=utf-8"
GOAL_RATIO = 0.5
PROMETHEUS = "/usr/bin/prometheus"


def pages(seed: int = 1) -> list[bytes]:
    """Pages of one target, a second apart: histograms of calls and of sizes, counters, gauges."""
    rng = random.Random(seed)
    counts = [[0] * len(BOUNDS) for _ in range(CALLS + SIZES)]
    sums = [0.0] * (CALLS + SIZES)
    counters = [float(rng.randrange(10**6)) for _ in range(COUNTERS)]
    made = []
    for _ in range(PAGES):
        lines: list[str] = []
        for first, end, name in (
            (0, CALLS, "http_request_duration_seconds"),
            (CALLS, CALLS + SIZES, "queue_message_size_bytes"),
        ):
            lines += [f"# HELP {name} Of the bench.", f"# TYPE {name} histogram"]
            for at in range(first, end):
                added = rng.randrange(1, 40)
                for bucket in range(rng.randrange(4, 9), len(BOUNDS)):
                    counts[at][bucket] += added
                for bucket in range(len(BOUNDS)):
                    counts[at][bucket] = max(
                        counts[at][bucket], counts[at][bucket - 1] if bucket else 0
                    )
                sums[at] += added * rng.random()
                labels = f'code="{"200" if at % 5 else "500"}",handler="/api/v1/items/{at}",method="GET"'
                lines += [
                    f'{name}_bucket{{{labels},le="{bound}"}} {count}'
                    for bound, count in zip(BOUNDS, counts[at], strict=True)
                ]
                lines += [
                    f"{name}_sum{{{labels}}} {sums[at]!r}",
                    f"{name}_count{{{labels}}} {counts[at][-1]}",
                ]
        lines += ["# HELP jobs_total Of the bench.", "# TYPE jobs_total counter"]
        for at in range(COUNTERS):
            counters[at] += rng.randrange(1, 100) if at % 3 else rng.random()
            value = f"{counters[at]:.0f}" if at % 3 else repr(counters[at])
            lines.append(
                f'jobs_total{{kind="kind-{at}",queue="queue-{at % 40}",zone="eu-west-1"}} {value}'
            )
        lines += ["# HELP depth Of the bench.", "# TYPE depth gauge"]
        left = SAMPLES - sum(not line.startswith("#") for line in lines)
        lines += [
            f'depth{{partition="{at}",topic="topic-{at % 30}"}} {rng.random() * 1e4!r}'
            for at in range(left)
        ]
        made.append(("\n".join(lines) + "\n").encode())
    return made


async def serve_target() -> None:
    """The target: prints its port, serves until its input ends."""
    plain = pages()
    packed = [gzip.compress(page, 6) for page in plain]
    started_s = time.monotonic()

    async def answer(request: web.Request) -> web.Response:
        """The page of this second; both who ask see the same."""
        at = int(time.monotonic() - started_s) % PAGES
        headers = {"Content-Type": TEXT}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=packed[at], headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=plain[at], headers=headers)

    application = web.Application()
    application.router.add_get("/metrics", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


async def scrape(port: int) -> None:
    """Our side: prints when it runs, then for each line it is told, how many samples it took so far."""
    surroundings = Surroundings(
        clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logging.getLogger("bench")
    )
    config = IngestConfig()
    closed_count = 0

    async def take(closed: ClosedWindows) -> None:
        """Windows end here; deciding on them is measured by bench_tick."""
        nonlocal closed_count
        closed_count += sum(len(window.keys) > 1000 for window in closed.windows)

    ingest = Ingest(config, Aggregator(config.series_settings()), take, surroundings)
    target = PrometheusTargetConfig(
        name="bench",
        url=f"http://127.0.0.1:{port}/metrics",
        interval=Duration(1.0),
        client=ClientConfig(timeout=Duration(1.0), connect_timeout=Duration(0.5)),
    )
    scraper = PrometheusScraper((target,), (), Downstream(sink=ingest), surroundings)
    await ingest.start()
    await scraper.start()
    print("running", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        labels = {"scraper": scraper.name, "target": "bench", "result": "ok"}
        scrapes = surroundings.metrics.value("sentinel_scrapes_total", **labels)
        print(round(scrapes), closed_count, flush=True)
    await scraper.stop()
    await ingest.stop()


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """One of our own children."""
    process = subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=10)


@contextmanager
def prometheus(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Debian's Prometheus, asking the target once a second."""
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f"scrape_configs: [{{job_name: bench, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=20)


def cpu_s(process_id: int) -> float:
    """CPU time of all threads of a process that live, to the nanosecond."""
    spent_ns = 0
    for task in Path(f"/proc/{process_id}/task").iterdir():
        spent_ns += int((task / "schedstat").read_text().split()[0])
    return spent_ns / 1e9


def resident_mb(process_id: int) -> float:
    """Resident memory."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def alone() -> None:
    """What reading a page takes, without the socket."""
    made = pages()
    parser = MetricsParser("bench", DefaultPlacing(PlacingRules(service="bench")), service="bench")
    for number, page in enumerate(made):
        parser.parse(page, content_type=TEXT, time_ns=number * 10**9)
    own, library = [], []
    for _ in range(5):
        started_s = time.process_time()
        for number, page in enumerate(made):
            parser.parse(page, content_type=TEXT, time_ns=number * 10**9)
        own.append((time.process_time() - started_s) / PAGES / SAMPLES * 1e6)
        started_s = time.process_time()
        count = sum(
            len(family.samples) for family in text_string_to_metric_families(made[0].decode())
        )
        library.append((time.process_time() - started_s) / count * 1e6)
    ours, theirs = statistics.median(own), statistics.median(library)
    print(f"  page to columns, known page        {ours:6.3f} us a sample")
    print(
        f"  prometheus_client's parser         {theirs:6.3f} us a sample, {theirs / ours:.0f} times as much"
    )


def asked(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Scrapes and closed windows of our side."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    scrapes, closed = process.stdout.readline().split()
    return int(scrapes), int(closed)


def side_by_side(rounds: int, round_s: float, warm_s: float) -> None:
    with tempfile.TemporaryDirectory() as folder, child("--target") as target:
        assert target.stdout is not None
        port = int(target.stdout.readline())
        with child("--scrape", str(port)) as ours, prometheus(port, Path(folder)) as theirs:
            assert ours.stdout is not None
            assert ours.stdout.readline() == "running\n"
            time.sleep(warm_s)
            own, other = [], []
            for _ in range(rounds):
                scrapes, _ = asked(ours)
                own_s, other_s, began_s = cpu_s(ours.pid), cpu_s(theirs.pid), time.monotonic()
                time.sleep(round_s)
                own_s, other_s = cpu_s(ours.pid) - own_s, cpu_s(theirs.pid) - other_s
                took = asked(ours)[0] - scrapes
                other_took = round(time.monotonic() - began_s)
                assert took >= 0.9 * other_took, f"{took} scrapes in {other_took} s"
                own.append(own_s / took / SAMPLES * 1e6)
                other.append(other_s / other_took / SAMPLES * 1e6)
                print(
                    f"  round: ours {own[-1]:.3f}, Prometheus {other[-1]:.3f} us a sample",
                    flush=True,
                )
            assert asked(ours)[1] >= rounds * round_s / 10 - 1, "windows were closed"
            ratio = statistics.median(own) / statistics.median(other)
            print(
                f"  Sentinel, fetch to closed window   {statistics.median(own):6.3f} us a sample, {resident_mb(ours.pid):.0f} MB"
            )
            print(
                f"  Prometheus {prometheus_version():22}  {statistics.median(other):6.3f} us a sample, {resident_mb(theirs.pid):.0f} MB"
            )
            verdict = "reached" if ratio <= GOAL_RATIO else "missed"
            print(f"  ratio {ratio:.2f}, goal {GOAL_RATIO} ({verdict})")


def prometheus_version() -> str:
    said = subprocess.run([PROMETHEUS, "--version"], capture_output=True, text=True, check=True)
    return (said.stdout + said.stderr).split()[2]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--target", action="store_true")
    arguments.add_argument("--scrape", type=int, default=0)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--round-seconds", type=float, default=20.0)
    arguments.add_argument("--warm-seconds", type=float, default=25.0)
    given = arguments.parse_args()
    if given.target:
        asyncio.run(serve_target())
    elif given.scrape:
        asyncio.run(scrape(given.scrape))
    else:
        print(describe())
        print(f"scraping {SAMPLES} samples a second, each of which changes:")
        alone()
        if shutil.which(PROMETHEUS) is None:
            sys.exit("Debian's prometheus is not here: make system-deps")
        side_by_side(given.rounds, given.round_seconds, given.warm_seconds)


if __name__ == "__main__":
    main()
