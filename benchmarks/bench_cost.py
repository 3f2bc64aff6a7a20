"""What 10,000 spans a second cost, reduced, stored and scored, beside a Rust collector that drops the same bytes.

Goal: 6 % of a core over HTTP in batches of 512, 9 % in batches of 50, 7 % and 14 % over gRPC, and none refused.
Method: the real program on its defaults (validation, limits, exemplars, the store, a decision on each window) and
`rotel` with its blackhole exporter run side by side; a batch is stamped as it is sent, over one connection, at a steady
rate, to one and then to the other, in turn; CPU time of the process and its children from /proc, the median of the
rounds. The spans that a sidecar says it took must be those that were sent.

    python benchmarks/bench_cost.py [--seconds 20] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import rotel_child
from bench_memory import Sidecar, sidecar_in
from machine import describe
from paced import Batch, grpc_sender, http_sender, send_paced

SPANS_PER_S = 10_000
VARIANTS = 24
WARM_S = 3.0
GOALS = {("http", 512): 6.0, ("http", 50): 9.0, ("grpc", 512): 7.0, ("grpc", 50): 14.0}
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * _TICK_S


async def cost(
    pid: int, port: int, transport: str, batches: list[Batch], seconds: float
) -> tuple[float, int, int]:
    """Percent of a core at the rate, spans taken, spans refused."""
    sender = http_sender if transport == "http" else grpc_sender
    async with sender(port) as send:
        began = cpu_s(pid)
        taken, refused = await send_paced(send, batches, spans_per_s=SPANS_PER_S, seconds=seconds)
        # A sender that was held up by others on the machine sent less.
        return 100.0 * (cpu_s(pid) - began) * SPANS_PER_S / taken, taken, refused


async def measure(
    sidecar: Sidecar, rotel: rotel_child.Rotel | None, *, seconds: float, rounds: int
) -> bool:
    """Print a line a transport and size; whether all goals are reached and all spans were counted."""
    reached = True
    print(f"{'sent as':12} {'sentinel':>9} {'goal':>6} {'rotel':>7}  {'taken':>9} {'refused':>8}")
    for (transport, span_count), goal in GOALS.items():
        batches = [Batch(seed, span_count) for seed in range(VARIANTS)]
        ours: list[float] = []
        theirs: list[float] = []
        taken_all = refused_all = 0
        before = sidecar.metric("sentinel_receiver_samples_total")
        for round_number in range(rounds + 1):
            warm = round_number == 0
            for_s = WARM_S if warm else seconds
            share, taken, refused = await cost(
                sidecar.pid, sidecar.port(transport), transport, batches, for_s
            )
            taken_all, refused_all = taken_all + taken, refused_all + refused
            if not warm:
                ours.append(share)
            if rotel is not None:
                port = rotel.http_port if transport == "http" else rotel.grpc_port
                share, _, _ = await cost(rotel.pid, port, transport, batches, for_s)
                if not warm:
                    theirs.append(share)
        ours_median = statistics.median(ours)
        beside = f"{statistics.median(theirs):6.1f}%" if theirs else "      -"
        counted = round(sidecar.metric("sentinel_receiver_samples_total") - before)
        fine = ours_median <= goal and not refused_all and counted == taken_all
        reached &= fine
        print(
            f"{transport} x {span_count:<5} {ours_median:8.1f}% {goal:5.0f}% {beside}"
            f"  {taken_all:9,} {refused_all:8,}{'' if fine else '  NOT reached'}",
            flush=True,
        )
        if counted != taken_all:
            print(f"  the sidecar counted {counted:,} spans")
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each round lasts")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, the median counts")
    args = parser.parse_args()
    print(f"{describe()}; {SPANS_PER_S:,} spans/s, % of a core, median of {args.rounds}")
    with ExitStack() as stack:
        rotel = None
        if rotel_child.agent() is None:
            print("rotel is not installed, so nothing stands beside: make bench-deps")
        else:
            rotel = stack.enter_context(rotel_child.running())
            print(f"beside: {rotel_child.version()}, blackhole exporter")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sidecar = stack.enter_context(sidecar_in(folder, fit_every_s=3600))
        reached = asyncio.run(measure(sidecar, rotel, seconds=args.seconds, rounds=args.rounds))
        late = sidecar.metric("sentinel_samples_late_total")
        windows = sidecar.metric("sentinel_decide_seconds_count")
        print(
            f"{sidecar.series_count():,} series, {windows:.0f} windows decided, {late:.0f} spans late,"
            f" {sidecar.memory_mb():.0f} MB resident"
        )
    print(f"goals: {'reached' if reached else 'NOT reached'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
