"""The reference ledger under load on one machine, with everything beside it: `make bench-ledger`.

Load generator, edge, NATS, PostgreSQL, poster and a sidecar that takes every span, each a process of its own; what else the
ledger starts is measured with it, and what it does not start is said. Open loop: 600 writes and 900 reads a second, then 1,500 writes, then
the highest rate that holds each limit; latency counts from when a request was due. From acceptance to commit is the
server's own commit time less the edge's time of acceptance. After each load every id that was answered 202 is looked for.

Goals: accept p50, p95, p99 at most 10, 50, 100 ms; to the commit 500 ms for 99 of 100; nothing lost, no drift. Nothing is
sampled. `--kill N` kills a process under load, N times. Exit code 0: every limit of the first load was held, and of the kills all.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ledger.killing import audit_verifies, kill_one
from benchmarks.ledger.limits import Outcome, measure
from benchmarks.ledger.stack import Stack, stack, tenants
from benchmarks.ledger.telemetry_cost import telemetry_cost
from benchmarks.machine import describe

USUAL = (600.0, 900.0)
_VERIFIED_EACH = 10
EXPECTED = {
    "replica": "a replica for reads",
    "audit": "the audit trail's signer",
    "edge": "the edge",
    "poster": "the poster",
    "nats": "NATS",
    "postgres": "PostgreSQL",
}


def show(outcome: Outcome) -> None:
    """Print one load's figures."""
    rate, load = outcome.writes + outcome.reads, outcome.load
    print(
        f"\n{rate:g} requests/s: {outcome.writes:g} writes, {outcome.reads:g} reads; "
        f"{load['ended_s'] - load['began_s']:.0f} s, {len(tenants())} tenants in all cohorts"
    )
    for name, kind in (("accept", load["writes"]), ("read", load["reads"])):
        if kind["sent"]:
            print(f"  {name:<18}{_milliseconds(kind['latency_ms'])}  {kind['statuses']}", end="")
            print(f", not sent {kind['shed']}" if kind["shed"] else "")
    print(f"  {'accept to commit':<18}{_milliseconds(outcome.commit_ms)}")
    late = load["writes"]["left_late_ms"]
    print(f"  {'left late by':<18}{_milliseconds(late)}  {load['connections']} connections")
    books = outcome.books
    print(
        f"  books             accepted {books.accepted:,} so far, posted {books.posted:,}, rejected {books.rejected:,}, "
        f"lost {books.lost}; drift {books.drift_count} ({books.drift_minor} minor); drained in {books.drained_s:.1f} s"
    )
    print(f"  processors        {_shares(outcome.shares)}")
    print(
        f"                    busy {outcome.busy:.2f} with all else on the machine, stolen {outcome.stolen:.2f}, "
        f"load average {outcome.load_average}"
    )
    for limit, held in outcome.holds().items():
        print(f"  {'held' if held else 'NOT HELD':<9} {limit}")


def show_parts(running: Stack) -> None:
    """Print what runs, and what does not."""
    there = running.pids()
    print(f"runs: {', '.join(sorted(there))}{', sidecar' if running.sidecar_pid else ''}")
    absent = [
        text for name, text in EXPECTED.items() if not any(one.startswith(name) for one in there)
    ]
    if running.sidecar_pid is None:
        absent.append("the sidecar")
    if absent:
        print(f"not there, so not in these figures: {', '.join(absent)}")


def _milliseconds(found: dict[str, float]) -> str:
    parts = [f"{name} {found[name]:g}" for name in ("p50", "p95", "p99", "max") if name in found]
    return f"{', '.join(parts)} ms" if parts else "none"


def _shares(by_name: dict[str, float]) -> str:
    return ", ".join(f"{name} {share:.2f}" for name, share in by_name.items() if share >= 0.005)


async def search(running: Stack, *, seconds: float, most: float) -> None:
    """The highest rate of the usual mixture that holds each limit."""
    highest: dict[str, float] = {}
    broken: dict[str, str] = {}
    rate = sum(USUAL)
    while rate <= most:
        writes = rate * USUAL[0] / sum(USUAL)
        outcome = await measure(running, writes=writes, reads=rate - writes, seconds=seconds)
        show(outcome)
        for limit, held in outcome.holds().items():
            if held and limit not in broken:
                highest[limit] = rate
            elif limit not in broken:
                broken[limit] = f"{rate:.0f} requests/s; full: {outcome.saturated()}"
        if len(broken) >= len(outcome.holds()) - 1:  # nothing is ever lost, it is hoped
            break
        rate *= 1.2
    print("\nhighest rate that holds each limit (40 % writes, steps of a fifth)")
    for limit in {**highest, **broken}:
        found = f"{highest[limit]:.0f} requests/s" if limit in highest else "none that was tried"
        print(f"  {limit:<32}{found}; broken at {broken.get(limit, 'none that was tried')}")


async def kills(running: Stack, count: int) -> bool:
    """Kill processes in turn; whether the books were sound after each."""
    sound = True
    for number in range(count):
        kill = await kill_one(running, number, writes=200, reads=100)
        sound = sound and kill.books.sound
        print(
            f"kill {number + 1:>3} {kill.name:<10} back after {kill.back_s:4.1f} s, accepted {kill.accepted:>5}, lost "
            f"{kill.books.lost}, drift {kill.books.drift_count} ({kill.books.drift_minor} minor), drained in "
            f"{kill.books.drained_s:.1f} s{'' if kill.books.sound else '  NOT SOUND'}",
            flush=True,
        )
        if number + 1 == count or (number + 1) % _VERIFIED_EACH == 0:
            verified = await audit_verifies(running)
            sound = sound and verified is not False
            told = {True: "verifies", False: "DOES NOT VERIFY", None: "is not there"}[verified]
            print(f"the audit trail {told}", flush=True)
    print(f"{count} kills: {'all books sound' if sound else 'NOT SOUND'}")
    return sound


def show_telemetry() -> None:
    """Print what tracing everything costs."""
    for what, cost_us in telemetry_cost().items():
        print(f"{cost_us:7.1f} us  {what}")


async def bench(given: argparse.Namespace) -> bool:
    """Run what was asked for; whether the limits were held."""
    print(describe())
    async with stack(
        with_sidecar=not given.without_sidecar, more_up=tuple(given.up.split())
    ) as running:
        show_parts(running)
        if given.kill:
            return await kills(running, given.kill)
        writes, reads = given.writes, given.reads
        usual = await measure(running, writes=writes, reads=reads, seconds=given.seconds)
        show(usual)
        if not given.usual_only:
            show(await measure(running, writes=1500, reads=0, seconds=given.seconds))
            await search(running, seconds=min(given.seconds, 30), most=given.most)
    return all(usual.holds().values())


def main() -> int:
    """Run it."""
    # Whoever ends this by a signal has all that it started stopped, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=300, help="of each load; a search's are 30 at most"
    )
    parser.add_argument("--writes", type=float, default=USUAL[0])
    parser.add_argument("--reads", type=float, default=USUAL[1])
    parser.add_argument("--usual-only", action="store_true", help="the first load alone")
    parser.add_argument("--most", type=float, default=6000, help="where the search ends")
    parser.add_argument(
        "--kill", type=int, default=0, metavar="N", help="kill processes under load instead"
    )
    parser.add_argument("--without-sidecar", action="store_true")
    parser.add_argument(
        "--up", default="", help="more arguments of `sentinel-ledger up`, in one word"
    )
    parser.add_argument(
        "--telemetry", action="store_true", help="what tracing everything costs, instead"
    )
    given = parser.parse_args()
    if given.telemetry:
        print(describe())
        show_telemetry()
        return 0
    return 0 if asyncio.run(bench(given)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
