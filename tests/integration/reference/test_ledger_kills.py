"""Goal: whatever process of the ledger is killed under load, everything that was accepted is applied once and adds up.

Method: the bench's own kills, two rounds of all processes with SIGKILL: servers, edge, poster, audit trail and all that reads events.
Books are looked at after each by statements of the bench's own; the audit trail and a reconciliation judge the whole.
"""

from __future__ import annotations

import pytest

from benchmarks.ledger.killing import kill_many
from benchmarks.ledger.stack import stack

pytestmark = [pytest.mark.integration, pytest.mark.full, pytest.mark.timeout(900)]

KILLED = {
    "analytics",
    "audit",
    "authorize",
    "disburse",
    "edge",
    "edge-2",
    "nats",
    "poster",
    "postgres",
    "reconcile",
    "replica",
    "webhooks",
    "witness",
}


async def test_every_process_may_be_killed_under_load() -> None:
    async with stack(with_sidecar=False, more_up=("--receiver", "--edges", "2")) as running:
        # The second round begins if the first was quick: a machine that is busy has eight minutes, too.
        killed = await kill_many(running, 2 * (len(KILLED) + 1), seconds_max=240)
    assert {one.name for one in killed.kills} >= KILLED
    assert [one for one in killed.kills if not one.books.sound] == []
    assert killed.judgements
    assert [one for one in killed.judgements if any(one.values())] == []
    assert sum(one.accepted for one in killed.kills) > 100 * len(killed.kills)
