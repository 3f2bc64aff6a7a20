"""The reference ledger under load on one machine, with everything beside it: `make bench-ledger`, and `make bench-kills`.

Load generator, edge, NATS, PostgreSQL, its replica, poster, audit trail and a sidecar that takes every span, each a process of its
own; what else the ledger starts is measured with it, and what it does not start is said. Open loop. The phases, of which --phases
takes some:

  usual   600 writes and 900 reads a second
  writes  1,500 writes a second
  search  the highest rate of the usual mixture that holds each limit, and what was full where it is broken
  kills   processes killed under load, --kills of them (not unless it is asked for)

Latency counts from when a request was due. From acceptance to commit is the server's own commit time less the edge's time of
acceptance. The share of reads from the replica is reckoned from what the edge counts. After each load every id that was answered 202
is looked for, and balances are reckoned from entries.

Goals: accept p50, p95, p99 at most 10, 50, 100 ms; to the commit 500 ms for 99 of 100; 85 % of the reads from the replica; nothing
lost, no drift. Nothing is sampled. Exit code 0: every limit of the usual load was held, and all books were sound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.ledger.killing import kill_many
from benchmarks.ledger.limits import Outcome, measure
from benchmarks.ledger.searching import search
from benchmarks.ledger.showing import show, show_found, show_kill, show_parts
from benchmarks.ledger.stack import Stack, stack
from benchmarks.ledger.telemetry_cost import telemetry_cost
from benchmarks.machine import describe

USUAL = (600.0, 900.0)
WRITES_ALONE = 1500.0
PHASES = ("usual", "writes", "search", "kills")


async def bench(given: argparse.Namespace) -> bool:
    """Run what was asked for; whether the limits were held and the books sound."""
    machine = describe()
    print(machine)
    told: dict[str, Any] = {"machine": machine, "began_s": time.time()}
    more_up = [*given.up.split(), *(["--edges", str(given.edges)] if given.edges > 1 else [])]
    more_up += ["--durability", given.durability, "--nats-nodes", str(given.nats_nodes)]
    if "kills" in given.phases:
        more_up.append("--receiver")  # so that webhooks are sent, too
    good = True
    async with stack(with_sidecar=not given.without_sidecar, more_up=tuple(more_up)) as running:
        show_parts(running)
        running.nice = given.nice
        told["nice"] = given.nice
        told["durability"] = running.state["durability"]
        told["stream_replicas"] = running.state["stream_replicas"]
        told["runs"] = sorted(running.pids())

        async def one(writes: float, reads: float, seconds: float) -> Outcome:
            outcome = await measure(running, writes=writes, reads=reads, seconds=seconds)
            show(outcome)
            told.setdefault("loads", []).append(outcome.told())
            return outcome

        if "usual" in given.phases:
            usual = await one(given.writes, given.reads, given.seconds)
            good = all(usual.holds().values())
        if "writes" in given.phases:
            good = (await one(WRITES_ALONE, 0.0, given.seconds)).books.sound and good
        if "search" in given.phases:
            share = USUAL[0] / sum(USUAL)
            found = await search(
                lambda rate: one(rate * share, rate * (1 - share), given.search_seconds),
                first=given.first,
                least=given.least,
                most=given.most,
            )
            show_found(found)
            told["search"] = found.told()
        if "kills" in given.phases:
            good = await _kills(running, given.kills, told) and good
    if given.json is not None:
        given.json.write_text(json.dumps(told, indent=1) + "\n")
    return good


async def _kills(running: Stack, count: int, told: dict[str, Any]) -> bool:
    killed = await kill_many(running, count, on_kill=show_kill)
    told["kills"] = killed.told()
    for judged in killed.judgements:
        print(", ".join(f"{name}: exit code {code}" for name, code in judged.items()))
    print(f"{len(killed.kills)} kills: {'all books sound' if killed.sound else 'NOT SOUND'}")
    return killed.sound


def _phases(text: str) -> tuple[str, ...]:
    asked = tuple(text.split(","))
    if not set(asked) <= set(PHASES):
        message = f"{text!r}: phases are some of {', '.join(PHASES)}, with commas between them"
        raise argparse.ArgumentTypeError(message)
    return asked


def main() -> int:
    """Run it."""
    # Whoever ends this by a signal has all that it started stopped, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--phases", type=_phases, default=PHASES[:3], help="default: usual,writes,search"
    )
    parser.add_argument("--seconds", type=float, default=300, help="of the usual load and writes")
    parser.add_argument(
        "--search-seconds", type=float, default=30, help="of each step of a search"
    )
    parser.add_argument("--writes", type=float, default=USUAL[0], help="of the usual load")
    parser.add_argument("--reads", type=float, default=USUAL[1], help="of the usual load")
    parser.add_argument("--first", type=float, default=sum(USUAL), help="where the search begins")
    parser.add_argument("--least", type=float, default=300, help="where it ends downwards")
    parser.add_argument("--most", type=float, default=6000, help="where it ends upwards")
    parser.add_argument("--kills", type=int, default=50, metavar="N")
    parser.add_argument("--edges", type=int, default=1, metavar="N", help="edges on the one port")
    parser.add_argument(
        "--durability",
        choices=("process", "machine"),
        default="process",
        help="what an answer of 202 survives: the death of processes, or the machine's loss of power",
    )
    parser.add_argument(
        "--nats-nodes", type=int, default=1, choices=(1, 3, 5), help="servers of NATS"
    )
    parser.add_argument(
        "--nice",
        type=int,
        default=0,
        help="below 0: all of it goes before the rest of a machine that is not quiet",
    )
    parser.add_argument("--without-sidecar", action="store_true")
    parser.add_argument(
        "--up", default="", help="more arguments of `sentinel-ledger up`, in one word"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument(
        "--telemetry", action="store_true", help="what tracing everything costs, instead"
    )
    given = parser.parse_args()
    if given.telemetry:
        print(describe())
        for what, cost_us in telemetry_cost().items():
            print(f"{cost_us:7.1f} us  {what}")
        return 0
    return 0 if asyncio.run(bench(given)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
