"""Goal: a tenant asks the edge for a period of its own trail and gets a file that is verified offline, with public keys alone.

Method: a real PostgreSQL and NATS from the wheels, an edge and a poster, the audit's loop with a witness over HTTP, and the process that
makes exports, all in the test's event loop; what is delivered goes to `audit verify` as it came, and with one byte changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stdout
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from sentinel.reference.ledger.audit import rows as trail_rows
from sentinel.reference.ledger.audit.checkpoints import CheckpointConfig
from sentinel.reference.ledger.audit.exports import Exporter, ExporterConfig
from sentinel.reference.ledger.audit.exports.making import Bounds
from sentinel.reference.ledger.audit.service import Audit, AuditConfig
from sentinel.reference.ledger.audit.witness import Memory, Witness
from sentinel.reference.ledger.audit.witness_server import WitnessServer, WitnessServerConfig
from sentinel.reference.ledger.edge.contract import OPERATIONS
from sentinel.reference.ledger.operate.cli import run
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.telemetry import Event
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.roles import Role, role_url
from tests.support.audit_log import Keys
from tests.support.audit_scene import DROP_SLOTS
from tests.support.contract import answered
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import (
    LedgerServers,
    LedgerSite,
    Recorded,
    delete_streams,
    open_ledger,
    open_site,
    recorded,
)

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]


@dataclass(slots=True)
class Office:
    """A ledger that is audited and whose edge takes exports on."""

    site: LedgerSite
    keys: Keys
    folder: Path
    exporter: ExporterConfig
    made: Recorded

    async def ask(
        self, key: str, body: object, *, tenant: str = "shop"
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Ask for an export; returns status, body and headers."""
        async with self.site.http.post(
            "/v2/exports", json=body, headers={"X-Tenant": tenant, "Idempotency-Key": key}
        ) as response:
            return response.status, await response.json(), dict(response.headers)

    async def ended(self, url: str) -> dict[str, Any]:
        """What became of an export."""
        found: tuple[int, dict[str, Any]] = await eventually(
            "the export",
            lambda: self.site.get(url),
            lambda seen: seen[1].get("state") not in ("waiting", "running"),
        )
        return found[1]

    async def fetch(self, url: str) -> tuple[bytes, dict[str, str]]:
        """The file as it came."""
        async with self.site.http.get(url, headers={"X-Tenant": "shop"}) as response:
            assert response.status == 200
            return await response.read(), dict(response.headers)

    async def verify(self, *contents: bytes) -> tuple[int, dict[str, Any]]:
        """What `audit verify` says last of these files; it has nothing else but public keys."""
        files = [self.folder / f"delivered-{at}.ndjson" for at in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        output = StringIO()
        with redirect_stdout(output):
            code = await asyncio.to_thread(
                run,
                [
                    *("audit", "verify", *map(str, files), "-o", "json"),
                    *("--log-key", str(self.keys.log.public)),
                    *("--witness-key", str(self.keys.witness.public)),
                ],
            )
        return code, json.loads((output.getvalue().splitlines() or ["{}"])[-1])

    @asynccontextmanager
    async def exporting(self, **config: Any) -> AsyncIterator[None]:
        """The process that makes exports, until the block ends."""
        database = await Database.connect(self.exporter.postgres, application_name="test")
        exporter = Exporter(
            replace(self.exporter, **config), database=database, telemetry=self.made.telemetry
        )
        stop = asyncio.Event()
        task = asyncio.create_task(exporter.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task
            await database.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def office(
    ledger_servers: LedgerServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Office]:
    folder = tmp_path_factory.mktemp("exports")
    admin = await open_ledger(ledger_servers)
    urls = {
        role: role_url(admin, role, "secret") for role in (Role.AUDIT, Role.EXPORTS, Role.EXPORTER)
    }
    await prepare(admin, (), role_urls=list(urls.values()))
    await delete_streams(ledger_servers.nats_url)
    keys = Keys()
    Memory.create(folder / "memory")
    memory = Memory(folder / "memory")
    memory.open()
    async with AsyncExitStack() as stack:
        stack.callback(memory.close)
        witness = WitnessServer(
            WitnessServerConfig(),
            witness=Witness(signer=keys.witness, logs=[keys.log.public], memory=memory),
            telemetry=recorded("witness").telemetry,
        )
        witness_url = await witness.start()
        stack.push_async_callback(witness.stop)
        site = await stack.enter_async_context(
            open_site(
                NatsConfig(url=ledger_servers.nats_url, ack_wait_s=2.0),
                admin,
                exports=PostgresConfig(url=urls[Role.EXPORTS], pool_size_max=3),
            )
        )
        stack.push_async_callback(site.rows, DROP_SLOTS)
        await site.start_poster()
        stop = asyncio.Event()
        audit = Audit(
            AuditConfig(
                postgres=PostgresConfig(url=urls[Role.AUDIT]),
                witness=partial(str, witness_url),
                witness_key=keys.witness.public,
                checkpoint=CheckpointConfig(interval_s=0.2),
                pause_s=0.05,
            ),
            signer=keys.log,
            telemetry=recorded("audit").telemetry,
        )
        task = asyncio.create_task(audit.run(stop))
        try:
            for tenant in ("shop", "rival"):
                for number in range(3):
                    _, accepted = await site.transfer(
                        f"t{number}", "external:bank", "alice", 100, tenant=tenant
                    )
                    await site.settled(accepted["status_url"], tenant=tenant)
            yield Office(
                site=site,
                keys=keys,
                folder=folder,
                exporter=ExporterConfig(
                    postgres=PostgresConfig(url=urls[Role.EXPORTER]), look_interval_s=0.05
                ),
                made=recorded("ledger-exporter"),
            )
        finally:
            stop.set()
            await task


def until_now() -> dict[str, str]:
    return {
        "from": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
        "to": datetime.now(UTC).isoformat(),
    }


async def test_what_is_delivered_is_the_tenants_own_and_is_verified_offline(
    office: Office,
) -> None:
    before = {
        name: source.values(f"ledger.exports.{name}")
        for name, source in (
            ("requested", office.site.edge),
            ("served", office.site.edge),
            ("ended", office.made),
        )
    }
    period = until_now()
    status, taken, headers = await office.ask("first", period)
    assert (status, taken["state"], headers["Location"]) == (202, "waiting", taken["status_url"])
    # Asked again it is the same, and the key is for nothing else.
    status, again, headers = await office.ask("first", period)
    assert (status, again["export_id"]) == (202, taken["export_id"])
    assert headers["Idempotent-Replay"] == "true"
    status, refused, _ = await office.ask("first", until_now())
    assert (status, refused["code"]) == (409, "idempotency_key_reused")
    assert refused["errors"][0]["field"] == "Idempotency-Key"
    file_url = f"{taken['status_url']}/file"
    assert (await office.site.get(file_url))[0] == 409  # nobody makes it yet

    async with office.exporting():
        done = await office.ended(taken["status_url"])
    assert done["state"] == "done"
    content, headers = await office.fetch(done["file_url"])
    assert hashlib.sha256(content).hexdigest() == done["sha256"]
    assert len(content) == done["bytes_count"] == int(headers["Content-Length"])
    assert "ratelimit-remaining" in {name.lower() for name in headers}
    code, report = await office.verify(content)
    assert (code, report["findings"]) == (0, [])
    # Of three transfers: themselves, two entries each, and two accounts that they opened.
    assert report["entries_count"] == done["entries_count"] == 11
    assert report["witnessed_size"] == done["checkpoint_size"]
    lines = [json.loads(line) for line in content.splitlines()]
    leaves = [json.loads(line["entry"]["leaf"]) for line in lines if "entry" in line]
    assert {leaf["row"]["tenant"] for leaf in leaves} == {"shop"}

    changed = content.replace(b'amount_minor\\":\\"100', b'amount_minor\\":\\"900', 1)
    assert changed != content
    code, report = await office.verify(changed)
    assert (code, report["counts"]) == (1, {"altered": 1})

    for url in (taken["status_url"], file_url):
        status, told = await office.site.get(url, tenant="rival")
        assert (status, told["code"]) == (404, "unknown_export")
    listed = [
        (await office.site.get("/v2/exports", tenant=tenant))[1]["exports"]
        for tenant in ("shop", "rival")
    ]
    assert listed[0][0]["export_id"] == taken["export_id"]
    assert listed[1] == []
    assert (await office.site.get("/v1/exports"))[0] == 404
    # Each was held against the contract as it was answered, and none was left out.
    in_contract = [one for one in OPERATIONS if one.tag == "Exports"]
    assert len(in_contract) == 4
    assert [one.id for one in in_contract if not answered[one.id, one.answer.status]] == []
    for name, source, labels in (
        ("requested", office.site.edge, ()),
        ("served", office.site.edge, ("True",)),
        ("ended", office.made, ("done", "")),
    ):
        seen = source.values(f"ledger.exports.{name}")
        assert seen[labels] - before[name].get(labels, 0) == 1
    made = [span for span in office.made.spans.get_finished_spans() if span.name == "make export"]
    asked = {
        span.context.trace_id
        for span in office.site.edge.spans.get_finished_spans()
        if span.name == "POST /v2/exports" and span.context is not None
    }
    assert made[-1].context is not None
    assert made[-1].context.trace_id in asked


async def test_a_period_of_any_size_comes_in_parts_that_are_verified_alone_and_together(
    office: Office,
) -> None:
    url = (await office.ask("in-parts", until_now()))[1]["status_url"]
    async with office.exporting(bounds=Bounds(part_entries_count=4)):
        done = await office.ended(url)
    assert done["state"] == "done"
    parts = done["parts"]
    assert [part["part"] for part in parts] == [1, 2, 3]
    assert [part["entries_count"] for part in parts] == [4, 4, 3]
    assert sum(part["bytes_count"] for part in parts) == done["bytes_count"]
    assert done["entries_count"] == 11
    files = []
    for part in parts:
        content, headers = await office.fetch(part["file_url"])
        assert hashlib.sha256(content).hexdigest() == part["sha256"]
        assert len(content) == part["bytes_count"]
        assert f"-part-{part['part']}-of-3.ndjson" in headers["Content-Disposition"]
        code, report = await office.verify(content)
        assert (code, report["findings"]) == (0, [])
        assert report["entries_count"] == part["entries_count"]
        assert report["witnessed_size"] == done["checkpoint_size"]
        assert report["part"] == part["part"]
        assert report["next"] == (None if part["part"] == 3 else part["part"] + 1)
        files.append(content)
    # Without a part's number it is the first, as it was when there was one file.
    assert (await office.fetch(done["file_url"]))[0] == files[0]
    assert done["sha256"] == parts[0]["sha256"]

    code, told = await office.verify(files[2], files[0], files[1])
    assert (code, told) == (0, {"complete": True, "parts_count": 3, "missing": []})
    for some, missing in (
        (files[:2], ["part 3 is not there"]),
        ((files[0], files[2]), ["part 2 is not there"]),
        (files[1:], ["part 1 is not there"]),
        ((files[0], *files), ["part 1 is there twice"]),
    ):
        code, told = await office.verify(*some)
        assert (code, told["missing"]) == (1, missing)
    for number, status, code_told in ((4, 404, "unknown_part"), (0, 400, "invalid_field"), ("x", 400, "invalid_field")):  # fmt: skip
        found, told = await office.site.get(f"{url}/file?part={number}")
        assert (found, told["code"]) == (status, code_told)

    # Small parts by their bytes too; and one export's are not another's.
    other = (await office.ask("by-bytes", until_now()))[1]["status_url"]
    async with office.exporting(bounds=Bounds(part_bytes=1)):
        assert len((await office.ended(other))["parts"]) == 11
    code, told = await office.verify((await office.fetch(f"{other}/file"))[0], *files[1:])
    assert code == 1
    assert "they are of different exports" in told["missing"]


async def test_one_that_an_earlier_version_made_is_one_part(office: Office) -> None:
    url = (await office.ask("earlier", until_now()))[1]["status_url"]
    async with office.exporting():
        done = await office.ended(url)
    await office.site.rows(
        "update ledger.exports set parts = null where position(export_id::text in $1) > 0", url
    )
    _, shown = await office.site.get(url)
    assert shown["parts"] == done["parts"]
    assert (await office.fetch(f"{url}/file?part=1"))[0] == (await office.fetch(f"{url}/file"))[0]


@pytest.mark.parametrize(
    ("body", "code", "fields"),
    [
        ({"from": "yesterday", "to": 5}, "invalid_field", ["from", "to"]),
        ({"from": "2026-01-01", "to": "2026-03-01"}, "invalid_field", ["to"]),
        ({"from": "2026-01-01", "to": "2999-01-01"}, "invalid_field", ["to"]),
        ({"from": "2026-01-01", "to": "2026-01-02", "tenant": "rival"}, "unknown_field", ["tenant"]),
        ([], "invalid_body", []),
    ],
)  # fmt: skip
async def test_what_cannot_be_asked_is_refused_by_its_field(
    office: Office, body: object, code: str, fields: list[str]
) -> None:
    status, told, headers = await office.ask("bad", body)
    assert (status, told["code"]) == (400, code)
    assert headers["Content-Type"].startswith("application/problem+json")
    assert [one["field"] for one in told.get("errors", [])] == fields
    assert (await office.ask("", {"from": "2026-01-01", "to": "2026-01-02"}))[0] == 400
    assert (await office.site.get("/v2/exports/mine"))[1]["code"] == "invalid_id"


async def test_bounds_are_told_and_files_are_let_go(office: Office) -> None:
    period = until_now()
    urls = [(await office.ask(f"b{number}", period))[1]["status_url"] for number in range(3)]
    status, told, headers = await office.ask("b3", period)
    assert (status, told["code"], "Retry-After" in headers) == (409, "too_many_exports", True)
    assert office.site.edge.values("ledger.exports.refused")[("too_many_exports",)] == 1
    # The others wait: a maker of exports may be at the next before it is told to stop.
    await office.site.rows(
        "update ledger.exports set next_at = now() + interval '1 hour' where position(export_id::text in $1) = 0",
        urls[0],
    )
    async with office.exporting(
        bounds=Bounds(part_entries_count=2, bytes_max=8_000), tidy_interval_s=0.0
    ):
        failed = await office.ended(urls[0])
        # Parts that were stored before it came to that go.
        await eventually(
            "its parts are gone",
            lambda: office.site.rows("select 1 from ledger.export_parts where position(export_id::text in $1) > 0", urls[0]),
            lambda found: found == [],
        )  # fmt: skip
    assert (failed["state"], failed["reason"]) == ("failed", "too_large")
    assert "shorter" in failed["detail"]
    status, told = await office.site.get(f"{urls[0]}/file")
    assert (status, told["code"]) == (409, "export_failed")
    # Killed while it made them, again and again: it is not begun for ever.
    await office.site.rows(
        "update ledger.exports set state = 'running', attempts = 3, next_at = now() where state in ('waiting', 'running')"
    )
    async with office.exporting():
        assert [(await office.ended(url))["reason"] for url in urls[1:]] == 2 * ["given_up"]
    kept = (await office.ask("kept", period))[1]["status_url"]
    async with office.exporting():
        assert (await office.ended(kept))["state"] == "done"
    await office.site.rows("update ledger.exports set next_at = now() where state = 'done'")
    async with office.exporting(tidy_interval_s=0.0):
        await eventually(
            "its file is gone",
            lambda: office.site.get(kept),
            lambda seen: seen[1]["state"] == "expired",
        )
        await eventually(
            "that is counted",
            lambda: office.made.values("ledger.exports.forgotten"),
            lambda seen: seen.get(("age",), 0) >= 1,
        )
        await eventually(
            "all chunks are gone",
            lambda: office.site.rows("select 1 from ledger.export_parts"),
            lambda found: found == [],
        )
    status, told = await office.site.get(f"{kept}/file")
    assert (status, told["code"]) == (410, "export_expired")
    ended = office.made.values("ledger.exports.ended")
    assert ended[("failed", "too_large")] >= 1


async def test_a_file_that_is_let_go_during_its_download_ends_as_one_that_was_broken_off(
    office: Office,
) -> None:
    """It once ended as whole with too few bytes, and on a connection that is kept the client waited for the rest."""
    url = (await office.ask("vanishing", until_now()))[1]["status_url"]
    async with office.exporting():
        assert (await office.ended(url))["state"] == "done"
    export_id = url.rpartition("/")[2]
    # In two parts, of which the second is gone when it is asked for.
    await office.site.rows(
        """
        with whole as (delete from ledger.export_parts where export_id::text = $1 returning cohort, tenant, export_id, part, content)
        insert into ledger.export_parts (cohort, tenant, export_id, part, content)
        select cohort, tenant, export_id, 0, substr(content, 1, 100) from whole where part = 0
        """,
        export_id,
    )
    before = office.site.edge.values("ledger.exports.served")
    async with office.site.http.get(f"{url}/file", headers={"X-Tenant": "shop"}) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await asyncio.wait_for(response.read(), 10)
    served = office.site.edge.values("ledger.exports.served")
    assert served[("False",)] - before.get(("False",), 0) == 1
    assert served.get(("True",), 0) == before.get(("True",), 0)
    assert Event.EXPORT_BROKEN_OFF in office.site.edge.events()


async def test_nothing_is_made_before_the_audit_has_come_to_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As though nobody recorded: an export that lacked the last moments would look complete."""

    async def behind(connection: object) -> int:
        return 0

    monkeypatch.setattr(trail_rows, "recorded_to", behind)
    url = (await office.ask("behind", until_now()))[1]["status_url"]
    async with office.exporting(wait_s=0.5):
        told = await office.ended(url)
    assert (told["state"], told["reason"]) == ("failed", "audit_behind")
