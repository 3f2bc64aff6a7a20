"""Goal: what was altered, lost or never told is found and named, and a ledger that is well is never said to drift.

Method: edge, posters and analytics on real NATS and PostgreSQL from the wheels. A superuser, whom no trigger stops, alters one
thing at a time; each must be found by the checks that are about it, by those alone, and be gone when it is put back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.posting import PosterConfig
from sentinel.reference.ledger.posting.relay import RelayConfig
from sentinel.reference.ledger.reconcile import (
    Check,
    State,
)
from sentinel.reference.ledger.wire.nats import operator, stream_name
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerSite
from tests.support.reconcile_scene import (
    alter,
    ask,
    body,
    changed,
    drifts,
    gone,
    of,
    once,
    reconciler,
    start_analytics,
)

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

COHORT = new_cohort("shop")
ALICE = f"cohort = {COHORT} and tenant = 'shop' and account_id = 'alice'"
# The second entry of alice's, and the transaction that made it.
SECOND = f"{ALICE} and account_version = 2"
SECONDS = f"(select transaction_id from ledger.entries where {SECOND})"
MADE = f"cohort = {COHORT} and transaction_id = {SECONDS}"


async def live_a_little(site: LedgerSite) -> None:
    """One of everything that a ledger does."""
    last = ""
    for number in range(5):
        last = await ask(site, "/v1/transfers", f"in{number}", body("external:bank", "alice", 100))
        await site.settled(last)  # a database transaction each
    held = await ask(site, "/v1/transfers", "hold", body("alice", "bob", 50, expires_in_s=600))
    await site.settled(held)
    await ask(site, f"{held.partition('?')[0]}/post", "half", {"amount_minor": 20})
    await ask(site, "/v1/transfers", "kept", body("alice", "bob", 40, expires_in_s=600))
    await ask(site, f"{last.partition('?')[0]}/reverse", "back")
    await ask(site, "/v1/transfers", "too-much", body("alice", "bob", 90_000))
    await ask(site, "/v1/batches", "payroll", {"items": [body("external:bank", "carol", 7)] * 3})
    await ask(site, "/v1/transactions/00000000-0000-5000-8000-000000000000/void", "unknown")
    await eventually(
        "everything decided",
        lambda: site.rows("select count(*)::int as n from ledger.transactions"),
        lambda rows: rows[0]["n"] == 14,
    )


ALTERATIONS: dict[str, tuple[tuple[Sequence[str], Sequence[str]], dict[str, tuple[int, int]]]] = {
    "a balance": (
        changed("ledger.accounts", "balance_minor", 7, ALICE),
        {"balance": (1, 7), "zero_sum": (1, 7)},
    ),
    "an account's version": (changed("ledger.accounts", "version", 1, ALICE), {"balance": (1, 0)}),
    "what is reserved": (
        changed("ledger.accounts", "debits_pending_minor", 3, ALICE),
        {"pending": (1, 3)},
    ),
    "a hold": (
        changed("ledger.holds", "amount_minor", 5, f"cohort = {COHORT} and state = 'open'"),
        {"pending": (2, 10)},
    ),
    "an entry's amount": (
        changed("ledger.entries", "amount_minor", 3, SECOND),
        {"entries": (1, 3), "chain": (1, 3), "balance": (1, 3)},
    ),
    "an entry's balance": (
        changed("ledger.entries", "balance_after_minor", 9, SECOND),
        {"chain": (2, 18)},
    ),
    "an entry that is gone": (
        gone("ledger.entries", SECOND),
        {"entries": (1, 100), "chain": (1, 100), "balance": (1, 100)},
    ),
    "a transaction's amount": (
        changed("ledger.transactions", "amount_minor", 11, MADE),
        {"intake": (1, 11), "entries": (1, 11), "events": (0, 11)},
    ),
    "a transaction that is gone": (
        gone("ledger.transactions", MADE),
        {"intake": (1, 100), "entries": (2, 200), "events": (1, 100)},
    ),
    "a control total": (
        changed("ledger.intake", "amount_minor", 2, f"cohort = {COHORT} and last_sequence = 2"),
        {"intake": (1, 2)},
    ),
    "what analytics counted": (
        changed(
            "ledger.analytics_daily",
            "transactions_count",
            4,
            f"cohort = {COHORT} and kind = 'reversal'",
        ),
        {"events": (4, 0)},
    ),
    "an event that was never counted": (
        gone("ledger.analytics_seen", f"event_id = {SECONDS}"),
        {"events": (2, 200)},
    ),
}


async def test_each_thing_that_is_altered_is_found_and_named_and_nothing_else(
    ledger_site: LedgerSite,
) -> None:
    site = ledger_site
    await site.start_poster()
    await start_analytics(site)
    await live_a_little(site)
    well = await once(site)
    assert drifts(well) == {}
    assert {one.check: one.state for one in well.results} == {
        **dict.fromkeys(Check, State.AGREES),
        Check.AUDIT: State.ABSENT,
        Check.REPLICA: State.ABSENT,
    }
    totals = well.totals
    assert (totals.accepted_messages, totals.decided_messages) == (12, 12)
    assert (totals.posted_requests, totals.rejected_requests) == (12, 2)
    for what, ((do, undo), expected) in ALTERATIONS.items():
        await alter(site, *do)
        report = await (await reconciler(site, cohorts=(COHORT,))).once()
        found = drifts(report)
        assert set(found) == set(expected), (what, found)
        for check, (count, value) in expected.items():
            # At least: what is wrong in one row is seen from the rows beside it.
            assert found[check] == (count or found[check][0], value), (what, check, found)
            assert of(report, Check(check)).findings, (what, check)
        await alter(site, *undo)
    assert drifts(await once(site)) == {}
    await alter(site, *ALTERATIONS["a balance"][0][0])
    named = of(await once(site), Check.BALANCE).findings[0]
    assert (named["tenant"], named["account_id"], named["drift_value_minor"]) == (
        "shop",
        "alice",
        7,
    )


async def test_a_message_that_left_the_stream_untaken_is_lost_and_a_dead_letter_is_not(
    ledger_site: LedgerSite,
) -> None:
    site = ledger_site
    await site.start_poster()
    await site.settled(await ask(site, "/v1/transfers", "k1", body("external:bank", "alice", 5)))
    async with operator(site.nats, name="test") as (client, stream):
        await client.publish(f"ledger.c{COHORT}.transfers.poison", b"not json")
        await eventually(
            "the dead letter",
            lambda: site.rows("select sum(dead_count)::int as n from ledger.intake"),
            lambda rows: rows[0]["n"] == 1,
        )
        await site.stop_posters()
        for number in range(3):
            await ask(site, "/v1/transfers", f"w{number}", body("external:bank", "alice", 5))
        waiting = await once(site)
        assert drifts(waiting) == {}
        assert (waiting.totals.in_flight_messages, waiting.totals.dead_messages) == (3, 1)
        assert waiting.totals.decided_messages == 1
        await stream.purge_stream(stream_name(COHORT), seq=5)
        lasting = await reconciler(site)
        for report in (await lasting.run(), await lasting.run()):
            assert drifts(report) == {"stream": (2, 0)}
            assert of(report, Check.STREAM).findings == (
                {"cohort": COHORT, "first_sequence": 3, "last_sequence": 4, "taken_by": None},
            )
            assert report.totals.lost_messages == 2
        await site.start_poster()
        await eventually(
            "the last one decided",
            lambda: site.rows("select count(*)::int as n from ledger.transactions"),
            lambda rows: rows[0]["n"] == 2,
        )
        report = await lasting.run()
    assert drifts(report) == {"stream": (2, 0)}
    assert (report.totals.accepted_messages, report.totals.in_flight_messages) == (5, 0)


async def test_passes_under_load_find_nothing_until_there_is_something(
    ledger_site: LedgerSite,
) -> None:
    """The passes in between look at little, and so must not take what is under way for lost."""
    site = ledger_site
    await site.start_poster(PosterConfig(fetch_wait_s=0.2, batch_count_max=20))
    await start_analytics(site)
    lasting = await reconciler(site, accounts_count_max=3, recheck_s=3600)
    over = asyncio.Event()

    async def load() -> None:
        number = 0
        while not over.is_set():
            number += 1
            await asyncio.gather(
                *(
                    site.transfer(f"{number}-{one}", "external:bank", f"a{one}", 10)
                    for one in range(8)
                )
            )
            await asyncio.sleep(0.05)

    loading = asyncio.create_task(load())
    kinds = []
    for _ in range(8):
        report = await lasting.run()
        kinds.append(report.full)
        assert drifts(report) == {}, report.document()
        await asyncio.sleep(0.2)
    over.set()
    await loading
    await eventually(
        "everything decided", lasting.run, lambda report: not report.totals.in_flight_messages
    )
    assert kinds == [True, *[False] * 7]
    await alter(
        site, *changed("ledger.accounts", "balance_minor", 9, ALICE.replace("alice", "a5"))[0]
    )
    found: dict[str, tuple[int, int]] = {}
    for _ in range(4):  # a stretch of accounts each
        found = drifts(await lasting.run())
    assert found == {"balance": (1, 9), "zero_sum": (1, 9)}


async def test_an_event_that_never_left_the_outbox_is_missed_by_its_reader(
    ledger_site: LedgerSite,
) -> None:
    site = ledger_site
    quiet = RelayConfig(interval_s=3600, pause_s=3600)
    await site.start_poster(PosterConfig(fetch_wait_s=0.2, relay=quiet))
    await start_analytics(site)
    await site.settled(await ask(site, "/v1/transfers", "k0", body("external:bank", "alice", 5)))
    await site.settled(await ask(site, "/v1/transfers", "k1", body("external:bank", "alice", 31)))
    # Told of nothing yet, and that is in order.
    assert drifts(await once(site)) == {}
    await alter(site, "delete from ledger.outbox")
    report = await once(site)
    assert drifts(report) == {"events": (1, 31)}
    assert of(report, Check.EVENTS).findings[0]["amount_minor"] == 31
