"""How long the past of 10,000 series takes to come in from a Prometheus, and then to fit.

Run as `make bench-backfill`. Debian's Prometheus, filled by promtool with 1,000 series of a value in five minutes; each is asked for under
ten names (`label_replace`), so the server answers 10,000 series without 80 million samples having to be written first. Reading is bounded by
the server, which has a process of its own on the same cores: both sides' CPU time is printed. The fit is the sidecar's own child over what
was stored: as after the first start, when it also primes series that are new with two weeks of their history, and alone. Goal: the fit of
10,000 series in 10 s on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.bench_fit import make_ready, measure
from benchmarks.machine import describe

_STORED = 1_000
_NAMES = 10
_STEP_S = 300
_DAY_S = 86_400
_GOAL_S = 10.0
_LISTENING = re.compile(rb"Listening on.*?address=127\.0\.0\.1:(\d+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=_STORED * _NAMES)
    parser.add_argument("--days", type=int, default=28)
    args = parser.parse_args()
    stored = max(1, args.series // _NAMES)
    end_s = (int(time.time()) - 4 * 3600) // 7200 * 7200
    start_s = end_s - args.days * _DAY_S
    print(f"{describe()}; {stored * _NAMES:,} series of {args.days} days", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench_backfill_") as name:
        folder = Path(name)
        fill(folder, stored, start_s, end_s)
        log = folder / "prometheus.log"
        with log.open("wb") as output:
            server = subprocess.Popen(
                [
                    shutil.which("prometheus") or "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--storage.tsdb.retention.time=1y",
                    "--web.listen-address=127.0.0.1:0",
                ],
                stdout=output,
                stderr=output,
            )
        try:
            url = address_of(server, log)
            before_s = cpu_s_of(server.pid)
            ours_s, value_count = read(folder, url, start_s, end_s)
            server_s = cpu_s_of(server.pid) - before_s
        finally:
            server.terminate()
            server.wait(60)
        print(
            f"  the server's side of it {server_s:6.1f} s of a processor, {server_s / ours_s:.1f} times ours;"
            f" a value is {server_s / value_count * 1e6:.2f} us there and {ours_s / value_count * 1e6:.2f} us here"
        )
        store, count = str(folder / "store"), stored * _NAMES
        wall_s = measure(
            "with priming", store, model="profile", series_count=count, end_ns=end_s * 10**9
        )
        make_ready(store, end_ns=end_s * 10**9)
        measure("fit alone", store, model="profile", series_count=count, end_ns=end_s * 10**9)
    print(
        f"  all after the last value was read {wall_s:.1f} s; goal {_GOAL_S:g} s for 10,000 series"
    )


def fill(folder: Path, stored: int, start_s: int, end_s: int) -> None:
    """Blocks by promtool, a day at a time: it reads its file anew for each block."""
    (folder / "prometheus.yml").write_text("{}\n")
    import numpy as np

    rng = np.random.default_rng(1)
    level = rng.lognormal(3.0, 1.0, stored)
    began_s = time.perf_counter()
    for day_s in range(start_s, end_s, _DAY_S):
        times = range(day_s, min(day_s + _DAY_S, end_s), _STEP_S)
        shape = 1 + 0.5 * np.sin(2 * np.pi * np.array(times) / _DAY_S)
        path = folder / "day.om"
        with path.open("w") as file:
            file.write("# TYPE rate gauge\n")
            for one in range(stored):
                noise = 1 + 0.05 * rng.standard_normal(len(times))
                head = f'rate{{service="s{one // 50}",route="/{one}"}}'
                values = (level[one] * shape * noise).clip(0).tolist()
                file.writelines(
                    f"{head} {value:.4f} {at}\n" for at, value in zip(times, values, strict=True)
                )
            file.write("# EOF\n")
        made = ["promtool", "tsdb", "create-blocks-from", "--max-block-duration=24h"]
        made += ["openmetrics", "--quiet", str(path), str(folder / "data")]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        path.unlink()
    print(f"  filled by promtool in {time.perf_counter() - began_s:.0f} s", flush=True)


def address_of(server: subprocess.Popen[bytes], log: Path) -> str:
    """Where it listens, once it is ready."""
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s and server.poll() is None:
        found = _LISTENING.search(log.read_bytes())
        if found:
            url = f"http://127.0.0.1:{int(found[1])}"
            try:
                with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                    return url
            except OSError:
                pass
        time.sleep(0.2)
    raise SystemExit("prometheus is not ready:\n" + log.read_text()[-2000:])


def cpu_s_of(pid: int) -> float:
    """Seconds of a processor that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read(folder: Path, url: str, start_s: int, end_s: int) -> tuple[float, int]:
    """Backfill by the command, as a person does, and print what it took; our seconds of a processor, and how many values came."""
    queries = []
    for number in range(_NAMES):
        signal, scale = (("traffic", 1.0), ("errors", 1e-4), ("latency", 1e-3))[number % 3]
        query = f'label_replace(rate, \\"copy\\", \\"{number}\\", \\"\\", \\"\\")'
        queries.append(
            f'{{name: q{number}, signal: {signal}, scale: {scale}, series_max: 100000, query: "{query}"}}'
        )
    config = folder / "sentinel.yaml"
    config.write_text(
        f"scrapers:\n  prometheus_queries:\n    - {{name: main, url: '{url}', queries: [{', '.join(queries)}]}}\n"
    )
    words = ["--config", str(config), "--store", str(folder / "store")]
    words += ["--start", iso(start_s), "--end", iso(end_s), "--step", "5m", "-o", "json"]
    began_s = time.perf_counter()
    report = folder / "report.json"
    with report.open("wb") as answer:
        child = subprocess.Popen(
            [sys.executable, "-m", "sentinel", "baseline", "backfill", *words],
            env={"PATH": os.environ.get("PATH", ""), "OPENBLAS_NUM_THREADS": "1"},
            stdout=answer,
        )
    _, status, usage = os.wait4(child.pid, 0)
    wall_s = time.perf_counter() - began_s
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"the backfill ended with {child.returncode}")
    cpu_s = usage.ru_utime + usage.ru_stime
    print(
        f"  reading and storing {wall_s:6.1f} s, {cpu_s:6.1f} s of a processor, {usage.ru_maxrss / 1024:.0f} MB at most",
        flush=True,
    )
    told = json.loads(report.read_text())
    print(
        f"    of it waiting for slices and decoding them {told['read_s'] - told['store_s']:.1f} s, reducing and storing {told['store_s']:.1f} s"
    )
    return cpu_s, int(told["value_count"])


def iso(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


if __name__ == "__main__":
    main()
