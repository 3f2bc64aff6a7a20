"""Processes killed under load, one after another: everything that was accepted is applied once, and balances stay what they are."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from dataclasses import dataclass

from benchmarks.ledger import books
from benchmarks.ledger.books import Books
from benchmarks.ledger.generator import Offer
from benchmarks.ledger.stack import ROOT, Stack, tenants

_LOAD_S = 6.0
_BACK_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill: which process, and the books when all was decided."""

    name: str
    books: Books
    back_s: float
    accepted: int


async def kill_one(running: Stack, number: int, *, writes: float, reads: float) -> Kill:
    """Kill one process of the ledger in the middle of a load; servers are the ones whose death ends `up`, which is started again."""
    names = sorted(running.pids())
    name = names[number % len(names)]
    rng = random.Random(number)
    offer = Offer(
        url=running.edge_url,
        tenants=tenants(),
        writes=writes,
        reads=reads,
        seconds=_LOAD_S,
        ids_file=str(running.ids_file),
        fund=not running.ids_file.exists(),
        seed=number,
    )
    before = _known(running)
    async with running.load(offer) as process:
        await asyncio.sleep(rng.uniform(1.5, 3.5))
        began = asyncio.get_running_loop().time()
        os.kill(running.pids()[name], signal.SIGKILL)
        await _back(running, name)
        back_s = asyncio.get_running_loop().time() - began
        await running.loaded(process)
    found = await books.look(running.postgres_url, running.ids_file, patience_s=60)
    return Kill(name=name, books=found, back_s=back_s, accepted=_known(running) - before)


async def audit_verifies(running: Stack) -> bool | None:
    """Whether the audit trail of all that was committed verifies; None when nothing is recorded."""
    if "audit" not in running.pids():
        return None
    with (running.folder / "verify.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "sentinel.reference.ledger", "audit", "verify"),
            *("--state", str(running.folder / "state.json"), "--wait", "60"),
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    return await process.wait() == 0


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
        await running.start_up(port=port)


def _known(running: Stack) -> int:
    if not running.ids_file.exists():
        return 0
    with running.ids_file.open("rb") as file:
        return sum(1 for _ in file)
