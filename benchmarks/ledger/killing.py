"""Processes killed under load, one after another: what was accepted is applied once, balances agree, and the audit trail verifies.

Every process of the ledger has its turn, in an order that differs from round to round: servers too, whose death ends `up`, which is
then started again in the same folder, as an orchestrator would. Meanwhile transfers, reads and payments out go on.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.ledger import books
from benchmarks.ledger.books import Books
from benchmarks.ledger.generator import Offer
from benchmarks.ledger.stack import Stack, tenants

WRITES, READS, PAYMENTS = 200.0, 100.0, 5.0
VERIFIED_EACH = 10
_LOAD_S = 6.0
_BACK_S = 120.0
_DRAIN_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill: which process, and the books when all was decided; `back_s` until all of `up` was ready again."""

    number: int
    name: str
    books: Books
    back_s: float
    accepted: int


@dataclass(slots=True)
class Killed:
    """What became of many.

    Attributes:
        judgements: exit codes by what was asked of the whole: `audit verify`, `reconcile`.
    """

    kills: list[Kill] = field(default_factory=list)
    judgements: list[dict[str, int]] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """All books were sound, and every judgement good."""
        return all(one.books.sound for one in self.kills) and not any(
            code for judged in self.judgements for code in judged.values()
        )

    def told(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"sound": self.sound, **asdict(self)}


async def kill_many(
    running: Stack,
    count: int,
    *,
    seconds_max: float = float("inf"),
    on_kill: Callable[[Kill], None] = lambda _: None,
) -> Killed:
    """Kill one process after another, and have the whole judged every so often and at the end.

    Args:
        running: the ledger, which nobody else loads.
        count: how many kills.
        seconds_max: when to begin no more, once every process has had its turn.
        on_kill: told of each.
    """
    killed = Killed()
    began = time.monotonic()
    names: list[str] = []
    rounds = 0
    for number in range(count):
        if not names:
            if rounds and time.monotonic() - began > seconds_max:
                break
            names = sorted(running.pids())
            random.Random(rounds).shuffle(names)
            rounds += 1
        kill = await _kill_one(running, number, names.pop())
        killed.kills.append(kill)
        on_kill(kill)
        if number + 1 == count or (number + 1) % VERIFIED_EACH == 0:
            killed.judgements.append(await judged(running))
    if len(killed.kills) % VERIFIED_EACH and len(killed.kills) < count:
        killed.judgements.append(await judged(running))
    return killed


async def judged(running: Stack) -> dict[str, int]:
    """Exit codes of the ledger's own checks of all that there is; 0 is good."""
    found = {}
    if "audit" in running.pids():
        found["audit verify"] = await running.command("audit", "verify", "--wait", "60")
    # Stream, books, analytics, audit trail and replica, against each other.
    found["reconcile"] = await running.command("reconcile", "--once")
    return found


async def _kill_one(running: Stack, number: int, name: str) -> Kill:
    rng = random.Random(number)
    offer = Offer(
        url=running.edge_url,
        tenants=tenants(),
        writes=WRITES,
        reads=READS,
        payments=PAYMENTS,
        seconds=_LOAD_S,
        ids_file=str(running.ids_file),
        fund=not running.ids_file.exists(),
        seed=number,
    )
    if offer.fund:
        async with running.load(Offer(**{**_fields(offer), "seconds": 0.0})) as process:
            await running.loaded(process)
    before = _known(running)
    async with running.load(Offer(**{**_fields(offer), "fund": False})) as process:
        await asyncio.sleep(rng.uniform(1.5, 3.5))
        began = time.monotonic()
        os.kill(running.pids()[name], signal.SIGKILL)
        await _back(running, name)
        back_s = time.monotonic() - began
        await running.loaded(process)
    found = await books.look(running.postgres_url, running.ids_file, patience_s=_DRAIN_S)
    return Kill(
        number=number, name=name, books=found, back_s=back_s, accepted=_known(running) - before
    )


async def _back(running: Stack, name: str) -> None:
    """Wait until the process is there again, started by `up`, or by us together with an `up` that has ended."""
    port = int(running.edge_url.rpartition(":")[2])
    assert running.up is not None
    assert running.up.stdout is not None
    async with asyncio.timeout(_BACK_S):
        while line := await running.up.stdout.readline():
            said = json.loads(line)
            if said.get("event") == "restarted" and said.get("name") == name:
                return
        await running.up.wait()
        while True:
            try:
                await running.start_up(port=port)
            except RuntimeError:
                # On a machine that is busy a process of it may have been late: whoever keeps `up` starts it again.
                await asyncio.sleep(1.0)
            else:
                return


def _known(running: Stack) -> int:
    if not running.ids_file.exists():
        return 0
    with running.ids_file.open("rb") as file:
        return sum(1 for _ in file)


def _fields(offer: Offer) -> dict[str, Any]:
    return {name: getattr(offer, name) for name in offer.__dataclass_fields__}
