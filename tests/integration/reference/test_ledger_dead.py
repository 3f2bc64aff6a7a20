"""Goal: messages that were given up are told of, sent again and dropped by a command, whose output and exit code say what was done.

Method: transfers that the poster gives up on real servers, and the command line in this process.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import nats
import pytest

from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.operate.cli.main import run
from sentinel.reference.ledger.posting import PosterConfig
from sentinel.reference.ledger.wire.nats import DEAD_STREAM, stream_name
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerSite

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SHOPS_COHORT = new_cohort("shop")
HASTY = PosterConfig(fetch_wait_s=0.2, refusals_max=2, back_off_first_s=0.05, back_off_max_s=0.1)


class Dead:
    """The command on a site's server."""

    def __init__(self, site: LedgerSite, capsys: pytest.CaptureFixture[str]) -> None:
        self.site, self.capsys = site, capsys

    async def __call__(self, *words: str) -> tuple[int, list[Any], str]:
        """Exit code, output as JSON a line, and what was complained of."""
        self.capsys.readouterr()
        url = ("--nats-url", self.site.nats.url)
        code = await asyncio.to_thread(run, ["dead", *words, *url])
        said = self.capsys.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    async def listed(self) -> list[dict[str, Any]]:
        """What there is."""
        code, (found,), _ = await self("list", "-o", "json")
        assert code == 0
        return list(found)


@pytest.fixture
def dead(ledger_site: LedgerSite, capsys: pytest.CaptureFixture[str]) -> Dead:
    return Dead(ledger_site, capsys)


async def given_up(site: LedgerSite) -> tuple[str, str, dict[str, Any]]:
    """Ids of a message nobody can read and of a transfer that the database refuses, and the answer to the latter."""
    await site.rows(
        "alter table ledger.transactions add constraint poison check (amount_minor <> 666)"
    )
    unreadable = str(uuid.uuid4())
    client = await nats.connect(site.nats.url)
    await client.jetstream().publish(
        f"ledger.c{SHOPS_COHORT}.transfers.{unreadable}", b"\x00garbage"
    )
    await client.close()
    _, answer = await site.transfer("k1", "external:bank", "alice", 666)
    await site.start_poster(HASTY)
    assert (await site.settled(answer["status_url"]))["state"] == "failed"
    return unreadable, answer["transaction_id"], answer


async def test_what_was_given_up_is_listed_and_sent_again_once_it_is_mended(
    ledger_site: LedgerSite, dead: Dead
) -> None:
    unreadable, refused, answer = await given_up(ledger_site)
    found = await eventually("both", dead.listed, lambda some: len(some) == 2)
    by_id = {one["id"]: one for one in found}
    assert by_id[refused]["tenant"] == "shop"
    assert by_id[refused]["reason"] == "23514"
    assert by_id[refused]["stream"] == stream_name(SHOPS_COHORT)
    assert 0 <= by_id[refused]["age_s"] < 120
    assert (by_id[unreadable]["tenant"], by_id[unreadable]["reason"]) == ("", "not_json")

    code, told, _ = await dead("retry", refused)
    assert (code, [one["event"] for one in told]) == (0, ["dead_sent_again"])
    # Nothing was mended: it is given up again, under its new place, and says so.
    found = await eventually(
        "again", dead.listed, lambda some: [one["retries_count"] for one in some] == [0, 1]
    )

    await ledger_site.rows("alter table ledger.transactions drop constraint poison")
    code, told, _ = await dead("retry", "--all")
    assert (code, {one["id"] for one in told}) == (0, {unreadable, refused})
    state = await eventually(
        "posted",
        lambda: ledger_site.get(answer["status_url"]),
        lambda seen: seen[1]["state"] == "posted",
    )
    assert state[1]["transaction_id"] == refused
    found = await eventually(
        "only the unreadable one", dead.listed, lambda some: [one["id"] for one in some] != []
    )
    assert [one["id"] for one in found] == [unreadable]
    balance = await ledger_site.rows(
        "select balance_minor from ledger.accounts where account_id = 'alice'"
    )
    assert balance == [{"balance_minor": 666}]


async def test_what_is_dropped_is_gone_and_is_not_dropped_by_mistake(
    ledger_site: LedgerSite, dead: Dead
) -> None:
    unreadable, refused, answer = await given_up(ledger_site)
    await eventually("both", dead.listed, lambda some: len(some) == 2)
    code, told, err = await dead("drop", "--all")
    assert (code, told) == (2, [])
    assert "--yes" in err
    for words in (("drop",), ("retry",), ("drop", refused, "--all", "--yes")):
        code, told, _ = await dead(*words)
        assert (code, told) == (2, [])
    code, told, _ = await dead("drop", refused, "no-such-id")
    assert code == 1, "not all that was named is gone"
    assert [(one["event"], one["id"]) for one in told] == [
        ("dead_dropped", refused),
        ("dead_unknown", "no-such-id"),
    ]
    assert [one["id"] for one in await dead.listed()] == [unreadable]
    assert (await ledger_site.get(answer["status_url"]))[0] == 404
    code, told, _ = await dead("drop", "--all", "--yes")
    assert (code, [one["id"] for one in told]) == (0, [unreadable])
    assert await dead.listed() == []


async def test_what_is_not_whole_is_not_sent_again(ledger_site: LedgerSite, dead: Dead) -> None:
    client = await nats.connect(ledger_site.nats.url)
    await client.jetstream().publish(
        "ledger.dead.cut",
        b"half",
        headers={
            "Ledger-Truncated": "8",
            "Ledger-Reason": "not_json",
            "Ledger-Stream": "LEDGER_C0",
        },
    )
    await client.jetstream().publish("ledger.dead.by-hand", b"nobody knows from where")
    code, told, _ = await dead("retry", "--all")
    assert code == 1
    assert [one["event"] for one in told] == ["dead_not_whole", "dead_no_queue"]
    info = await client.jetstream().stream_info(DEAD_STREAM)
    assert info.state.messages == 2, "what cannot be sent again stays"
    await client.close()


async def test_a_list_for_people_says_what_it_leaves_out(
    ledger_site: LedgerSite, capsys: pytest.CaptureFixture[str]
) -> None:
    client = await nats.connect(ledger_site.nats.url)
    for index in range(3):
        await client.jetstream().publish(
            f"ledger.dead.id-{index}", b"{}", headers={"Ledger-Reason": "unknown_version"}
        )
    await client.close()
    words = ["dead", "list", "--limit", "2", "--nats-url", ledger_site.nats.url]
    assert await asyncio.to_thread(run, words) == 0
    said = capsys.readouterr()
    assert [line.split()[:3] for line in said.out.splitlines()] == [
        ["id-0", "unknown_version", "(unknown)"],
        ["id-1", "unknown_version", "(unknown)"],
    ]
    assert "the oldest 2 of 3" in said.err


def test_a_server_that_is_away_is_told_by_the_exit_code() -> None:
    assert run(["dead", "list", "--nats-url", "nats://127.0.0.1:9"]) == 3
    assert run(["dead", "list"]) == 2
