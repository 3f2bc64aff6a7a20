"""One load, what it came to, and whether it kept within the limits."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.ledger import books, processes
from benchmarks.ledger.books import Books
from benchmarks.ledger.generator import Offer
from benchmarks.ledger.stack import Stack, tenants

ACCEPT_MS = {"p50": 10.0, "p95": 50.0, "p99": 100.0}
COMMIT_P99_MS = 500.0
REPLICA_SHARE_MIN = 0.85
FULL_SHARE = 0.9
"""A process of one thread that uses so much of a processor has no more to give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one load came to.

    Attributes:
        writes, reads: requests a second that were offered.
        load: what the generator measured.
        commit_ms: from acceptance to commit.
        answered: questions that databases answered for reads, as "source: reason"; what the edge itself counted.
        books: what the database says of it.
        shares: parts of a processor by process.
        busy, stolen: of the machine, in processors.
        load_average: at the end.
    """

    writes: float
    reads: float
    load: dict[str, Any]
    commit_ms: dict[str, float]
    answered: dict[str, int]
    books: Books
    shares: dict[str, float]
    busy: float
    stolen: float
    load_average: str

    @property
    def replica_share(self) -> float | None:
        """Of the reads that were answered, those that the primary was not asked for; None without any that were counted."""
        reads = sum(self.load["reads"]["statuses"].get(status, 0) for status in ("200", "404"))
        if not reads or not self.answered:
            return None
        asked = sum(n for name, n in self.answered.items() if name.startswith("primary"))
        return max(1.0 - asked / reads, 0.0)

    @property
    def others(self) -> float:
        """Of the machine, in processors, what nothing of this used."""
        return max(self.busy - sum(self.shares.values()), 0.0)

    def told(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            **asdict(self),
            "replica_share": self.replica_share,
            "others": self.others,
            "limits": self.holds(),
            "saturated": self.saturated(),
        }

    def holds(self) -> dict[str, bool]:
        """Each limit, and whether it was held."""
        accept = self.load["writes"]["latency_ms"]
        held = {
            f"accept {name} <= {most:g} ms": accept.get(name, float("inf")) <= most
            for name, most in ACCEPT_MS.items()
            if accept
        }
        held[f"accept to commit p99 <= {COMMIT_P99_MS:g} ms"] = (
            self.commit_ms.get("p99", float("inf")) <= COMMIT_P99_MS
        )
        if (share := self.replica_share) is not None:
            held[f"reads from the replica >= {REPLICA_SHARE_MIN:.0%}"] = share >= REPLICA_SHARE_MIN
        held["all answered well"] = self.answered_well
        held["none lost, no drift"] = self.books.sound
        return held

    @property
    def answered_well(self) -> bool:
        """Every request was sent and answered 202, 200, or, for what is not there yet, 404."""
        return not self.load["unanswered"] and not any(
            kind["shed"] or set(kind["statuses"]) - {"200", "202", "404"}
            for kind in (self.load["writes"], self.load["reads"])
        )

    def saturated(self) -> str:
        """What had no more to give."""
        full = [
            f"{name} ({share:.0%} of a processor)"
            for name, share in self.shares.items()
            if share >= FULL_SHARE
        ]
        cores = os.cpu_count() or 1
        if self.busy >= cores * FULL_SHARE:
            others = f", {self.others:.2f} of them by others" if self.others >= 0.1 else ""
            full.append(f"the machine ({self.busy:.2f} of {cores} processors busy{others})")
        return ", ".join(full) or "nothing that shows in processor time"


async def measure(
    running: Stack, *, writes: float, reads: float, seconds: float, seed: int = 1
) -> Outcome:
    """Offer a load and look at what came of it."""
    fund = not running.ids_file.exists()
    offer = Offer(
        url=running.edge_url,
        tenants=tenants(),
        writes=writes,
        reads=reads,
        seconds=seconds,
        ids_file=str(running.ids_file),
        fund=fund,
        seed=seed,
    )
    if fund:
        nothing = Offer(**{**_fields(offer), "seconds": 0.0})
        async with running.load(nothing) as process:
            await running.loaded(process)
    if running.nice:
        processes.go_first(running.nice)
    await running.tap.settled()
    answered_before = running.tap.reads()
    async with running.load(Offer(**{**_fields(offer), "fund": False})) as process:
        await asyncio.sleep(min(1.0, seconds / 10))  # its own start is not the load's
        before = processes.used(running)
        await asyncio.sleep(seconds - min(1.0, seconds / 10))
        after = processes.used(running)
        told = await running.loaded(process)
    by_name, busy, stolen = processes.shares(before, after)
    by_name["load generator"] = told["cpu_s"] / (told["ended_s"] - told["began_s"])
    await running.tap.settled()
    answered = running.tap.reads() - answered_before
    looked = await books.look(running.postgres_url, running.ids_file, patience_s=60)
    commit = await books.ages_ms(
        running.postgres_url, began_s=told["began_s"], ended_s=told["ended_s"]
    )
    return Outcome(
        writes=writes,
        reads=reads,
        load=told,
        commit_ms=commit,
        answered={f"{source}: {reason}": n for (source, reason), n in sorted(answered.items())},
        books=looked,
        shares=by_name,
        busy=busy,
        stolen=stolen,
        load_average=processes.load_average(),
    )


def _fields(offer: Offer) -> dict[str, Any]:
    return {name: getattr(offer, name) for name in offer.__dataclass_fields__}
