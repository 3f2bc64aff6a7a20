"""Goal: an account that everybody uses, a limit set by mistake and a trail that was tampered with are felt, and gone afterwards.

Method: one ledger as people run it. Each fault is held by the code behind the command, and once more by a command that is killed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
import pytest_asyncio

from tests.support.ledger_faults import held, value
from tests.support.ledger_run import Up, end_up, eventually, start_up
from tests.support.otlp_collector import OtlpCollector

# Whole ledgers that are started again and again: minutes of processor time.
pytestmark = [
    pytest.mark.full,
    pytest.mark.integration,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]

TERMS = "select row_to_json(t)::text from ledger.tenants t where tenant = 'shop'"
VERSION = "select coalesce(max(version), 0) from ledger.accounts where account_id = 'fault-hot'"
LEAVES = "select md5(string_agg(leaf, '' order by sequence)) from ledger.audit_log where sequence <= {size}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    collector = OtlpCollector()
    await collector.start()
    running = await start_up(tmp_path_factory.mktemp("tenants"), collector)
    try:
        await running.posted("the-first")
        yield running
    finally:
        await end_up(running)
        await collector.stop()


async def verified(up: Up) -> tuple[int, dict[str, Any]]:
    code, [report] = await up.command("audit", "verify", "-o", "json")
    return code, report


async def recorded(up: Up, key: str) -> int:
    """Post a transfer and wait until the trail has it, under a checkpoint; the place of its last entry."""
    size = "select coalesce(max(sequence), -1) from ledger.audit_log where relation = 'entries'"
    before = await value(up, size)
    await up.posted(key)
    last: int = await eventually("a recorded entry", lambda: value(up, size), lambda n: n > before)
    covered = "select coalesce(max(size), 0) from ledger.audit_checkpoints"
    await eventually("a checkpoint", lambda: value(up, covered), lambda n: n > last)
    return last


async def taken(up: Up) -> None:
    """Wait until the edge takes requests as fast as they come; it looks tenants up every ten seconds."""

    async def statuses() -> set[int]:
        return {(await up.transfer(f"again-{time.time_ns()}"))[0] for _ in range(4)}

    await eventually("requests that are taken", statuses, lambda seen: seen == {202})


async def test_an_altered_entry_is_found_by_verification_and_put_back(up: Up) -> None:
    size = await recorded(up, "to-be-altered")
    before = await value(up, LEAVES.format(size=size))
    async with held(up, "audit-tamper"):
        assert await value(up, LEAVES.format(size=size)) != before
        code, report = await verified(up)
        assert code == 1
        assert report["counts"].get("altered") == 1, report
    assert await value(up, LEAVES.format(size=size)) == before
    code, report = await eventually("a whole trail", lambda: verified(up), lambda one: one[0] == 0)
    assert report["whole"]


@pytest.mark.full
async def test_an_altered_entry_is_a_difference_for_reconciliation(up: Up) -> None:
    async def audit() -> dict[str, Any]:
        _, [report] = await up.command("reconcile", "-o", "json")
        found: dict[str, Any] = next(one for one in report["checks"] if one["check"] == "audit")
        return found

    await recorded(up, "compared-by-then")
    # What is younger than half a minute the recorder may still come to.
    await asyncio.sleep(40)
    await recorded(up, "later")
    assert (await audit())["state"] == "agrees"
    async with held(up, "audit-tamper"):
        found = await audit()
        assert (found["drift_count"], found["drift_value_minor"]) == (1, 4200), found
    assert (await audit())["state"] == "agrees"


async def test_one_pair_of_accounts_has_all_the_transfers(up: Up) -> None:
    async with held(up, "hot-account"):
        await eventually("transfers", lambda: value(up, VERSION), lambda seen: seen >= 60)
    await up.posted("after-the-hot-account")
    # What was accepted is posted, and nothing is asked for any more.
    await asyncio.sleep(2)
    before = await value(up, VERSION)
    await asyncio.sleep(1)
    assert await value(up, VERSION) == before


async def test_a_limit_set_by_mistake_refuses_its_tenant_and_brings_a_spike(up: Up) -> None:
    def refused() -> int:
        spans = [one for one in up.collector.spans if one.service == "ledger-edge"]
        return sum(one.attributes.get("http.response.status_code") == 429 for one in spans)

    before = await value(up, TERMS)
    async with held(up, "rate-limit"):
        row = json.loads(await value(up, TERMS))
        assert (row["contract_rps"], row["contract_burst"]) == (1, 1)
        at_first = refused()
        # Five requests a second, each asked ten times.
        await eventually("a spike", refused, lambda seen: seen > at_first + 60)
    assert await value(up, TERMS) == before
    await taken(up)


async def test_both_are_undone_when_their_holder_was_killed(up: Up) -> None:
    size = await recorded(up, "before-the-kills")
    before = await value(up, TERMS), await value(up, LEAVES.format(size=size))
    for fault in ("audit-tamper", "rate-limit"):
        assert (await up.command("fault", "start", fault, "--detach", "--seconds", "300"))[0] == 0
        told = (await up.command("fault", "list", "-o", "json"))[1][0]
        listed: Any = told
        [pid] = [one["held"]["pid"] for one in listed if one["fault"] == fault]
        psutil.Process(pid).kill()
    assert (await value(up, TERMS), await value(up, LEAVES.format(size=size))) != before
    code, told_all = await up.command("fault", "stop")
    assert code == 0
    ended = {one["fault"] for one in told_all if one["event"] == "fault_end" and one["killed"]}
    assert "rate-limit" in ended
    assert (await value(up, TERMS), await value(up, LEAVES.format(size=size))) == before
    await taken(up)
