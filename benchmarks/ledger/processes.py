"""Who used the processors: the ledger's processes, the database's by what they do, the sidecar, and all that is not ours."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.ledger.stack import Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """Processor seconds by process, and of the machine, at one moment."""

    at_s: float
    by_name: dict[str, float]
    busy_s: float
    stolen_s: float


def used(running: Stack) -> Used:
    """Look now; a process that has gone takes its seconds with it."""
    by_name: dict[str, float] = {}
    roots = dict(running.pids())
    if running.sidecar_pid is not None:
        roots["sidecar"] = running.sidecar_pid
    if running.up is not None:
        roots["up"] = running.up.pid
    for name, pid in roots.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            _add(by_name, name, process)
            if name == "up":
                continue  # its children are named in its state
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    _add(by_name, _child_name(name, child), child)
    times = psutil.cpu_times()
    idle = times.idle + times.iowait
    return Used(
        at_s=time.monotonic(),
        by_name=by_name,
        busy_s=sum(times[:8]) - idle,
        stolen_s=times.steal,
    )


def shares(before: Used, after: Used) -> tuple[dict[str, float], float, float]:
    """Parts of one processor between two looks: by process, of the whole machine, and stolen from it."""
    passed_s = after.at_s - before.at_s
    by_name = {
        name: (seconds - before.by_name.get(name, 0.0)) / passed_s
        for name, seconds in after.by_name.items()
    }
    return (
        dict(sorted(by_name.items(), key=lambda one: -one[1])),
        (after.busy_s - before.busy_s) / passed_s,
        (after.stolen_s - before.stolen_s) / passed_s,
    )


def go_first(nice: int) -> int:
    """Give all that this process has started precedence over the rest of the machine; returns how many processes took it.

    Where the kernel groups processes by session, a process's own niceness counts for nothing outside of its group, and here
    nearly each is a session: so groups are given it, too. It needs root.
    """
    count = 0
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.Error, OSError):
            process.nice(nice)
            Path(f"/proc/{process.pid}/autogroup").write_text(str(nice), encoding="ascii")
            count += 1
    return count


def load_average() -> str:
    """The machine's, of one, five and fifteen minutes."""
    return " ".join(f"{one:.1f}" for one in os.getloadavg())


def _add(by_name: dict[str, float], name: str, process: psutil.Process) -> None:
    spent = process.cpu_times()
    by_name[name] = by_name.get(name, 0.0) + spent.user + spent.system


def _child_name(parent: str, child: psutil.Process) -> str:
    if not parent.startswith(("postgres", "replica")):
        return parent
    title = Path(f"/proc/{child.pid}/cmdline").read_text(errors="replace").split("\0")[0]
    what = title.partition(": ")[2]
    # A session's title goes on with database, address and what it does; a worker's is its name.
    return f"{parent}: {what.split()[0] if '(' in what else what.strip()}" if what else parent
