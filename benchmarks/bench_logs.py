"""How many log records one core reads, counts, redacts and encodes, and what following idle files costs.

Goals: 300,000 JSON records a second decoded and counted, before redaction; 20,000 a second when all of their text is redacted
and encoded to be handed on. Method: records of 360 bytes with 12 fields as a web service's logger writes them (method, route,
status, duration, trace id), in batches of 512 as the reader of files makes them, decoded, counted and added to a window that
is closed after every round; process CPU time, the median of several repetitions. Beside it: what a library alone takes for the
same bytes, lines of text, error lines with card numbers. Idle: the component with 100 files, by the real clock.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from machine import describe

from sentinel.core.model import SampleBatch
from sentinel.core.normalise.logs.joined import Record
from sentinel.core.normalise.logs.reader import LogReader
from sentinel.core.series import Aggregator, SeriesSettings
from sentinel.ports import Admission
from sentinel.receivers.log_files import LogFilesConfig, LogSourceConfig
from sentinel.receivers.log_files.component import LogFiles
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.metrics import Metrics

COUNTED_GOAL_PER_S = 300_000
REDACTED_GOAL_PER_S = 20_000
START_S = 1_790_000_000
BATCH = 512
BATCHES = 40


def json_line(rng: random.Random, number: int) -> bytes:
    """A line of a structured access log."""
    at_s = START_S + number * 8 // (BATCH * BATCHES)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
    return json.dumps(
        {
            "timestamp": f"{stamp}.{rng.randrange(10**6):06d}Z",
            "level": "info",
            "logger": "ledger.http",
            "event": "request_finished",
            "method": rng.choice(("GET", "POST")),
            "route": f"/v1/{rng.choice(('transfers', 'accounts', 'cards', 'quotes'))}/{{id}}",
            "path": f"/v1/transfers/{rng.randrange(10**8)}",
            "status": rng.choices((200, 202, 404, 500), (80, 15, 4, 1))[0],
            "duration_ms": round(rng.lognormvariate(2.5, 1.0), 3),
            "trace_id": f"{rng.getrandbits(128):032x}",
            "tenant": f"tenant-{rng.randrange(100)}",
            "pod": "ledger-7c9d8b6f5-x2x7k",
        }
    ).encode()


def text_line(rng: random.Random, number: int) -> bytes:
    at_s = START_S + number * 8 // (BATCH * BATCHES)
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s))
    what = rng.choice(("posted to", "refused by", "waits for", "was seen at"))
    return f"{stamp},{rng.randrange(1000):03d} INFO [worker-{rng.randrange(9)}] transfer {rng.randrange(10**8)} {what} account {rng.randrange(10**6)} in {rng.random():.4f} s".encode()


def access_line(rng: random.Random, number: int) -> bytes:
    at_s = START_S + number * 8 // (BATCH * BATCHES)
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(at_s))
    status = rng.choices((200, 404, 502), (95, 4, 1))[0]
    return f'10.0.{rng.randrange(256)}.{rng.randrange(256)} - - [{stamp}] "GET /v1/x/{rng.randrange(10**6)} HTTP/1.1" {status} {rng.randrange(9999)} "-" "Mozilla/5.0 (X11; Linux x86_64)" {rng.random():.3f}'.encode()


def batches(line: Callable[[random.Random, int], bytes]) -> list[list[Record]]:
    rng = random.Random(1)
    lines = [line(rng, number) for number in range(BATCH * BATCHES)]
    return [
        [Record(400 * at, "", text) for at, text in enumerate(lines[start : start + BATCH])]
        for start in range(0, len(lines), BATCH)
    ]


def measure(name: str, records: list[list[Record]], repetitions: int, *, ships: bool) -> float:
    reader = LogReader()
    seconds: list[float] = []
    now_ns = (START_S + 10) * 10**9
    series = 0
    for _ in range(repetitions + 1):
        aggregator = Aggregator(SeriesSettings(), start_ns=START_S * 10**9)
        began = time.process_time()
        for part in records:
            read = reader.read(
                part, service="ledger", now_ns=now_ns, uid="bench" if ships else None
            )
            aggregator.add(read.batch, now_ns)
        (window,) = aggregator.close(now_ns + 10**10).windows[:1]
        seconds.append(time.process_time() - began)
        series = len(window.keys)
    count = sum(map(len, records))
    size = sum(len(record.text) for part in records for record in part) / count
    # The first round fills the caches.
    rate = count / statistics.median(seconds[1:])
    print(
        f"{name:44s} {rate:10,.0f} records/s {1e6 / rate:7.2f} us each ({series} series, {size:.0f} bytes)"
    )
    return rate


def parse_alone(records: list[list[Record]], repetitions: int) -> None:
    for name, loads in (("json", json.loads), ("orjson", orjson.loads)):
        seconds = []
        for _ in range(repetitions):
            began = time.process_time()
            for part in records:
                for record in part:
                    loads(record.text)
            seconds.append(time.process_time() - began)
        count = sum(map(len, records))
        rate = count / statistics.median(seconds)
        print(f"{'  (' + name + '.loads alone)':44s} {rate:10,.0f} records/s")


class _Sink:
    def accept(self, batch: SampleBatch, *, size_bytes: int) -> Admission:  # noqa: ARG002  # the port's
        return Admission.ACCEPTED


async def idle(file_count: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "logs").mkdir()
        for number in range(file_count):
            (folder / "logs" / f"app-{chr(97 + number % 26)}{number}.log").write_text("x\n" * 50)
        source = LogSourceConfig(name="app", paths=(f"{folder}/logs/*.log",))
        surroundings = Surroundings(
            clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logging.getLogger("bench")
        )
        component = LogFiles(
            LogFilesConfig(sources=(source,)), name, Downstream(sink=_Sink()), surroundings
        )
        await component.start()
        await asyncio.sleep(1)
        began = time.process_time()
        await asyncio.sleep(seconds)
        used = (time.process_time() - began) / seconds
        await component.stop()
    print(f"{f'{file_count} idle files, looked at each 50 ms':44s} {100 * used:10.2f} % of a core")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--idle-seconds", type=float, default=10.0)
    options = parser.parse_args()
    print(f"{describe()}; CPU time of one core, median of {options.repetitions}")
    lines = batches(json_line)
    counted = measure("JSON, decoded and counted", lines, options.repetitions, ships=False)
    parse_alone(lines, options.repetitions)
    redacted = measure(
        "JSON, all text redacted and encoded as OTLP", lines, options.repetitions, ships=True
    )
    for name, line in (("access log", access_line), ("free text", text_line)):
        records = batches(line)
        measure(f"{name}, decoded and counted", records, options.repetitions, ships=False)
        measure(f"{name}, redacted and encoded as OTLP", records, options.repetitions, ships=True)
    for count in (1, 100):
        asyncio.run(idle(count, options.idle_seconds))
    for name, rate, goal in (
        ("before redaction", counted, COUNTED_GOAL_PER_S),
        ("after redaction", redacted, REDACTED_GOAL_PER_S),
    ):
        verdict = "reached" if rate >= goal else "NOT reached"
        print(f"goal {name}: {goal:,} records/s: {verdict}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
