"""Goal: what the ledger's bench says of a load follows from what was measured: limits, the replica's share, the highest rate, what was full.

Method: outcomes made by hand, and a ledger that holds its limits up to a rate of its own.
"""

from __future__ import annotations

import json

from benchmarks.ledger.books import Books
from benchmarks.ledger.limits import Outcome
from benchmarks.ledger.searching import search


def outcome(
    *,
    p99_ms: float = 20.0,
    commit_ms: float = 100.0,
    primary: int = 30,
    statuses: dict[str, int] | None = None,
    shares: dict[str, float] | None = None,
    busy: float = 1.0,
    lost: int = 0,
) -> Outcome:
    kind = {"sent": 1000, "shed": 0, "statuses": statuses or {"200": 900, "404": 100}}
    writes = {"sent": 600, "shed": 0, "statuses": {"202": 600}}
    return Outcome(
        writes=600.0,
        reads=900.0,
        load={
            "writes": {**writes, "latency_ms": {"p50": 1.0, "p95": 2.0, "p99": p99_ms}},
            "reads": {**kind, "latency_ms": {"p50": 1.0}},
            "unanswered": 0,
        },
        commit_ms={"p99": commit_ms},
        answered={"primary: missing": primary, "replica: ok": 1000},
        books=Books(
            accepted=600,
            lost=lost,
            posted=600,
            rejected=0,
            drift_count=0,
            drift_minor=0,
            drained_s=0.1,
        ),
        shares=shares or {"edge": 0.5},
        busy=busy,
        stolen=0.0,
        load_average="1 1 1",
    )


def test_the_replicas_share_is_of_reads_that_the_primary_was_not_asked_for() -> None:
    assert outcome().replica_share == 0.97
    assert outcome(primary=150).holds()["reads from the replica >= 85%"]
    assert not outcome(primary=151).holds()["reads from the replica >= 85%"]
    assert outcome(statuses={"500": 3}).replica_share is None


def test_a_limit_that_was_not_held_is_said_and_so_is_what_was_full() -> None:
    slow = outcome(p99_ms=100.1, lost=1, shares={"edge": 0.95, "nats": 0.2}, busy=1.15)
    held = slow.holds()
    assert not held["accept p99 <= 100 ms"]
    assert held["accept p95 <= 50 ms"]
    assert not held["none lost, no drift"]
    assert slow.saturated() == "edge (95% of a processor)"
    assert outcome(statuses={"503": 1}).holds()["all answered well"] is False
    assert json.loads(json.dumps(slow.told()))["limits"] == held


async def test_a_search_goes_up_until_speed_is_broken_and_down_for_what_was_never_held() -> None:
    async def attempt(rate: float) -> Outcome:
        return outcome(
            p99_ms=20.0 if rate < 2000 else 200.0, commit_ms=100.0 if rate < 1000 else 900.0
        )

    found = await search(attempt, first=1500, least=300, most=6000)
    told = found.told()
    assert told["accept p99 <= 100 ms"] == {
        "highest": 1800.0,
        "broken_at": 2160.0,
        "saturated": "nothing that shows in processor time",
    }
    commit = told["accept to commit p99 <= 500 ms"]
    assert commit["highest"] == 1500 / 1.2**3
    assert commit["broken_at"] == 1500 / 1.2**2
    # p50 and p95 were never broken, so it went up to the end.
    assert max(found.tried) <= 6000 < max(found.tried) * 1.2
    assert told["none lost, no drift"]["broken_at"] is None


async def test_a_search_ends_where_requests_are_no_longer_answered_well() -> None:
    async def attempt(rate: float) -> Outcome:
        return outcome(statuses={"200": 1000} if rate < 2000 else {"200": 999, "503": 1})

    found = await search(attempt, first=1500, least=300, most=6000)
    assert [round(rate) for rate in found.tried] == [1500, 1800, 2160]
    assert found.told()["all answered well"]["broken_at"] == 1500 * 1.2**2
