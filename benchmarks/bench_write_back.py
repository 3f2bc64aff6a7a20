"""How many windows of series a second `sentinel baseline export` judges and writes, as files and by remote write.

Method: a store as a backfill leaves it, series of traffic, errors and latency of services with ten places each; the
command's own code judges it into slices, and these go out three times: as OpenMetrics files, as remote write 1.0 and 2.0 to a receiver on
loopback that reads a request and says it is written. Seconds are of a processor, of this process alone; the receiver is another one.

    python benchmarks/bench_write_back.py [--series 300] [--days 7]
"""

from __future__ import annotations

import argparse
import http.server
import logging
import multiprocessing
import os
import resource
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from machine import describe

from sentinel.core.model import SeriesKey, WindowBlock, kind_of_signal
from sentinel.core.model.verdict_slices import VerdictSlice
from sentinel.history.writing import BLOCK_NS, OpenMetricsFiles, SampleNames, Written
from sentinel.history.writing.messages import Protocol
from sentinel.history.writing.remote_write import SLICE_NS, RemoteWriteSink
from sentinel.history.writing.runs import Runs
from sentinel.history.writing.sending import RemoteWriteEndpoint
from sentinel.pipeline.past_verdicts import Judging, SliceSpool, judge_unrecorded
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.metrics import Metrics
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from sentinel.storage.sqlite.reader import StoreReader

STEP_NS = 300_000_000_000
DAY_NS = 86_400_000_000_000
START_NS = 1_790_000_000_000_000_000 // DAY_NS * DAY_NS
SIGNALS = ("traffic", "errors", "latency")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=300)
    parser.add_argument("--days", type=int, default=7)
    args = parser.parse_args()
    print(f"{describe()}; {args.series} series of {args.days} days, windows of 5 min")
    keys = [
        SeriesKey(f"svc{at // 30}", "edge", f"GET /v1/items/{at // 3 % 10}", SIGNALS[at % 3])
        for at in range(args.series)
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        fill(store, keys, days=args.days)
        names = SampleNames(dict(enumerate(keys, start=1)), {"instance": "127.0.0.1:9640"})
        parts = judged(store, Path(folder), len(keys), args.days)
        files(parts, names, Path(folder))
    for protocol in Protocol:
        sent(parts, names, protocol)


def fill(folder: Path, keys: list[SeriesKey], *, days: int) -> None:
    surroundings = Surroundings(
        clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logging.getLogger("bench")
    )
    store = SqliteStore(StoreConfig(directory=str(folder)), surroundings)
    store.open()
    named = [(key, kind_of_signal(key.signal)) for key in keys]
    ids = np.array(store.register(named, now_ns=START_NS), np.int64)
    assert (np.diff(ids) > 0).all()
    rng = np.random.default_rng(0)
    count = days * DAY_NS // STEP_NS
    level = np.array(
        [{"traffic": 90.0, "errors": 0.01, "latency": 0.2}[key.signal] for key in keys]
    )
    for first in range(0, count, 48):
        at = np.arange(first, min(first + 48, count))
        day = 1 + 0.3 * np.sin(2 * np.pi * at * STEP_NS / DAY_NS)
        value = level * day[:, None] * rng.lognormal(0, 0.03, (at.size, len(keys)))
        store.append_history(
            WindowBlock(
                start_ns=START_NS + first * STEP_NS,
                step_ns=STEP_NS,
                series=ids,
                kind=np.array([kind for _, kind in named], np.int8),
                value=value.astype(np.float32),
                weight=np.full(value.shape, 27_000, np.float32),
                heard=np.ones(value.shape, np.bool_),
            )
        )
    store.close()


def judged(store: Path, folder: Path, series_count: int, days: int) -> list[VerdictSlice]:
    """Slices of an hour, from the spool that the command uses."""
    (folder / "spool").mkdir()
    spool = SliceSpool(folder / "spool", slice_ns=SLICE_NS)
    began_s = time.process_time()
    with StoreReader(store) as reader:
        judge_unrecorded(
            reader,
            spool,
            how=Judging(),
            step_ns=STEP_NS,
            slice_ns=SLICE_NS,
            from_ns=0,
            to_ns=2**62,
            wanted=np.arange(1, series_count + 1),
            begun_ns=2**62 - days * DAY_NS,
            on_group=lambda _done, _of: None,
        )
    parts = list(spool.read())
    tell("judged", time.process_time() - began_s, counted(parts))
    return parts


def counted(parts: list[VerdictSlice]) -> Written:
    written = Written()
    for part in parts:
        written.note(part)
    return written


def files(parts: list[VerdictSlice], names: SampleNames, folder: Path) -> None:
    (folder / "om").mkdir()
    sink = OpenMetricsFiles(folder / "om", names, split_ns=12 * BLOCK_NS)
    began_s = time.process_time()
    for part in parts:
        sink.write(part)
    sink.finish()
    spent_s = time.process_time() - began_s
    tell("files", spent_s, sink.written, f", {sink.size_bytes / 1e6:.0f} MB in {len(sink.files)}")


def sent(parts: list[VerdictSlice], names: SampleNames, protocol: Protocol) -> None:
    ours, theirs = multiprocessing.Pipe()
    receiver = multiprocessing.Process(target=receive, args=(theirs,), daemon=True)
    receiver.start()
    try:
        endpoint = RemoteWriteEndpoint(
            f"http://127.0.0.1:{ours.recv()}/api/v1/write",
            ClientConfig(),
            SystemClock(),
            protocol=protocol,
            give_up_after_s=10.0,
            on_news=print,
        )
        began_s = time.process_time()
        with RemoteWriteSink(endpoint, Runs(names, from_ns=0, to_ns=2**62)) as sink:
            for part in parts:
                sink.write(part)
            sink.finish()
        spent_s = time.process_time() - began_s
    finally:
        receiver.terminate()
        receiver.join()
    sizes = f", {endpoint.sent.wire_bytes / 1e6:.1f} MB in {endpoint.sent.requests} requests"
    tell(f"remote write {protocol}", spent_s, sink.written, sizes)


def receive(told: Connection) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.send_header("X-Prometheus-Remote-Write-Samples-Written", "5000")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    told.send(server.server_address[1])
    server.serve_forever()


def tell(what: str, spent_s: float, written: Written, more: str = "") -> None:
    rate = written.windows / spent_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{what}: {spent_s:.1f} s of a processor, {rate:,.0f} windows of series a second,"
        f" {written.samples / spent_s:,.0f} samples a second{more}; peak {peak_mb:.0f} MB"
    )


if __name__ == "__main__":
    main()
