"""What was measured, as a person reads it."""

from __future__ import annotations

from benchmarks.ledger.killing import Kill
from benchmarks.ledger.limits import Outcome
from benchmarks.ledger.searching import Found
from benchmarks.ledger.stack import Stack, tenants

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
    if (share := outcome.replica_share) is not None:
        print(f"  {'replica':<18}{share:.1%} of the reads; questions {outcome.answered}")
    late = load["writes"]["left_late_ms"]
    print(f"  {'left late by':<18}{_milliseconds(late)}  {load['connections']} connections")
    books = outcome.books
    print(
        f"  books             accepted {books.accepted:,} so far, posted {books.posted:,}, rejected {books.rejected:,}, "
        f"lost {books.lost}; drift {books.drift_count} ({books.drift_minor} minor); drained in {books.drained_s:.1f} s"
    )
    print(f"  processors        {_shares(outcome.shares)}")
    print(
        f"                    busy {outcome.busy:.2f}, of it others {outcome.others:.2f}, stolen {outcome.stolen:.2f}, "
        f"load average {outcome.load_average}; full: {outcome.saturated()}"
    )
    for limit, held in outcome.holds().items():
        print(f"  {'held' if held else 'NOT HELD':<9} {limit}", flush=True)


def show_found(found: Found) -> None:
    """Print what a search found."""
    print("\nhighest rate that holds each limit (40 % writes, steps of a fifth)")
    for limit, told in found.told().items():
        highest = f"{told['highest']:.0f} requests/s" if told["highest"] else "none that was tried"
        broken = (
            f"broken at {told['broken_at']:.0f}; full: {told['saturated']}"
            if told["broken_at"]
            else "never broken"
        )
        print(f"  {limit:<32}{highest}; {broken}")


def show_kill(kill: Kill) -> None:
    """Print one kill."""
    books = kill.books
    print(
        f"kill {kill.number + 1:>3} {kill.name:<10} back after {kill.back_s:4.1f} s, accepted {kill.accepted:>5}, lost "
        f"{books.lost}, twice {books.twice}, drift {books.drift_count} ({books.drift_minor} minor), unfinished "
        f"{books.unfinished}, drained in {books.drained_s:.1f} s{'' if books.sound else '  NOT SOUND'}",
        flush=True,
    )


def show_parts(running: Stack) -> None:
    """Print what runs, and what does not."""
    there = running.pids()
    print(f"runs: {', '.join(sorted(there))}{', sidecar' if running.sidecar_pid else ''}")
    print(
        f"durability: {running.state['durability']}, streams on {running.state['stream_replicas']}"
    )
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
