"""What a fit costs in its child: reading the history, the profile or the curve, and priming series that are new.

Method: a store with 28 days of five-minute windows in a temporary folder, the very child that the sidecar starts, once for each
row. `refit` is what happens every hour: all series are ready, nothing is primed. With a calendar older special days are read too,
where `--days` lets the store have some. Time is the child's own, its start included;
memory is its highest, and of its processor it is told which thread took it: the history is read beside the fitting, on the second core.
Goal: 10,000 series in 10 s on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.machine import describe

_DAYS = 28
_STEP_NS = 10_000_000_000
_DAY_NS = 86_400_000_000_000
_END_NS = 1_789_948_800_000_000_000
_GOAL_S = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument(
        "--days", type=int, default=_DAYS, help="of history (default: %(default)s)"
    )
    parser.add_argument("--build", metavar="DIR", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.build:
        build(args.build, args.series, args.days)
        return
    print(
        f"{describe()}; {args.series:,} series of {args.days} days; goal for 10,000: {_GOAL_S:g} s"
    )
    with tempfile.TemporaryDirectory(prefix="bench_fit_") as folder:
        # In a process of its own: a child's highest memory is never told as less than its parent's.
        command = [sys.executable, "-m", "benchmarks.bench_fit", "--series", str(args.series)]
        command += ["--days", str(args.days)]
        subprocess.run([*command, "--build", folder], check=True)
        for name, model in (("first fit, profile", "profile"), ("first fit, fourier", "fourier")):
            measure(name, folder, model=model, series_count=args.series)
        make_ready(folder)
        for name, model in (("refit, profile", "profile"), ("refit, fourier", "fourier")):
            measure(name, folder, model=model, series_count=args.series)
        name = "refit, with calendar"
        measure(name, folder, model="profile", series_count=args.series, country="DE")


def measure(
    name: str,
    folder: str,
    *,
    model: str,
    series_count: int,
    country: str = "",
    end_ns: int = _END_NS,
) -> float:
    """Run the child once and print what it took; the seconds it did."""
    from dataclasses import asdict

    from sentinel.app.calendar_section import CalendarConfig, PaydayConfig
    from sentinel.core.baseline import Model, ModelRule
    from sentinel.core.scoring import ScoringSettings
    from sentinel.pipeline.models import ModelSettings
    from sentinel.pipeline.plain_settings import settings_to_plain
    from sentinel.runtime.settings import Zone

    paydays = (PaydayConfig(),) if country else ()
    zone = Zone("Europe/Berlin" if country else "UTC")
    calendar = CalendarConfig(country=country, paydays=paydays)
    request = {
        "directory": folder,
        "now_ns": end_ns,
        "version": 1,
        "step_ns": _STEP_NS,
        "scoring": settings_to_plain(ScoringSettings()),
        "models": asdict(ModelSettings(rules=(ModelRule(model=Model(model)),))),
        "calendar": calendar.to_plain(zone),
    }
    with tempfile.TemporaryFile() as answer, tempfile.TemporaryFile() as asked:
        asked.write(json.dumps(request).encode())
        asked.seek(0)
        started_s = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-I", "-m", "sentinel.app.fit_worker"],
            stdin=asked,
            stdout=answer,
            env={"PATH": os.environ.get("PATH", ""), "OPENBLAS_NUM_THREADS": "1"},
        )
        status, usage, threads_s = ended(child.pid)
        wall_s = time.perf_counter() - started_s
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"the child ended with {child.returncode}")
        size = answer.seek(0, os.SEEK_END)
    cpu_s = usage.ru_utime + usage.ru_stime
    print(
        f"  {name:21} {wall_s:6.1f} s, {cpu_s:6.1f} s of a processor ({cpu_s / series_count * 1e3:.2f} ms/series),"
        f" {usage.ru_maxrss / 1024:.0f} MB at most, a fit of {size / 1e6:.0f} MB;"
        f" of the processor {threads_s[0]:.1f} s in the thread that fits, {sum(threads_s[1:]):.1f} in those that read",
        flush=True,
    )
    return wall_s


def ended(pid: int) -> tuple[int, resource.struct_rusage, list[float]]:
    """Wait for a child: its status and usage, and seconds of a processor of each of its threads, the first one first.

    Where the two cores are busy with others, its longest thread tells what it would take on free ones.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    used: dict[int, float] = {pid: 0.0}
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return status, usage, list(used.values())
        for task in Path(f"/proc/{pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                fields = task.read_text().rpartition(")")[2].split()
                used[int(task.parent.name)] = (int(fields[11]) + int(fields[12])) / ticks
        time.sleep(0.1)


def make_ready(folder: str, *, end_ns: int = _END_NS) -> None:
    """Store a state in which all series can be judged, in a process of its own."""
    code = (
        f"from benchmarks.bench_fit import store_ready_state as go\ngo({str(folder)!r}, {end_ns})"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def store_ready_state(folder: str, end_ns: int = _END_NS) -> None:
    """As after weeks: every series has a level and a spread."""
    import numpy as np

    from benchmarks.bench_store import opened
    from sentinel.core.decide import DecisionSettings, new_decision_state
    from sentinel.core.scoring import new_state
    from sentinel.ports import Snapshot

    store = opened(folder)
    ids = np.array([row.series_id for row in store.series()])
    detector = new_state(ids, step_ns=_STEP_NS, base_cut=4.0)
    detector.level[:] = 0.0
    detector.scale[:] = 1.0
    state = new_decision_state(step_ns=_STEP_NS, settings=DecisionSettings())
    state = state.primed(detector, settings=DecisionSettings().scoring)
    store.save_state(Snapshot(at_ns=end_ns, version=1, payload=state.to_bytes()))
    store.close()


def build(folder: str, series_count: int, day_count: int) -> None:
    """Fill a store: a third traffic, errors and latency each, a day at a time."""
    import numpy as np

    from benchmarks.bench_store import keys, opened
    from sentinel.core.model import WindowBlock
    from sentinel.pipeline.backfill import STEP_NS

    store = opened(folder)
    ids = np.array(store.register(keys(series_count), now_ns=_END_NS))
    rng = np.random.default_rng(1)
    level = rng.lognormal(3.0, 1.0, series_count).astype(np.float32)
    kind = (np.arange(series_count) % 3).astype(np.int8)
    level[kind == 1] = 0.01
    per_day = _DAY_NS // STEP_NS
    phase = 2 * np.pi * np.arange(per_day) / per_day
    shape = (1 + 0.5 * np.sin(phase)).astype(np.float32)[:, None]
    for day in range(day_count):
        noise = rng.standard_normal((per_day, series_count), np.float32)
        value = np.abs(level * shape * (1 + 0.05 * noise))
        store.append_history(
            WindowBlock(
                start_ns=_END_NS - (day_count - day) * _DAY_NS,
                step_ns=STEP_NS,
                series=ids,
                kind=kind,
                value=value,
                weight=np.full(value.shape, 3000, np.float32),
                heard=np.ones(value.shape, np.bool_),
            )
        )
    store.close()


if __name__ == "__main__":
    main()
