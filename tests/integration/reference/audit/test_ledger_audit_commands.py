"""Goal: the commands keep a trail that loses and repeats nothing, and find whatever is done to it.

Method: a real PostgreSQL from the wheel; `audit witness` and `audit run` as processes of their own, the
latter killed (SIGKILL) again and again while the ledger posts; then `audit export` and `audit verify`,
with the file and the database left alone, and with one thing at a time done to them.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from sentinel.reference.ledger.audit.keys import read_signer
from sentinel.reference.ledger.domain.audit.entry import decode_entry, encode_entry, signed_bytes
from sentinel.reference.ledger.domain.audit.merkle import Tree, leaf_hash
from sentinel.reference.ledger.domain.audit.note import (
    LOG_KIND,
    Checkpoint,
    SignedCheckpoint,
    parse_checkpoint,
)
from sentinel.reference.ledger.operate import cli
from sentinel.reference.ledger.wire import postgres
from tests.support.audit_log import ORIGIN
from tests.support.audit_scene import Scene, audit_scene, transfer
from tests.support.ledger_servers import LedgerServers

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]

PAST_THE_TRIGGERS = "set session_replication_role = replica"
KILLS_COUNT = 4


@dataclass(slots=True)
class Site:
    """A trail that was recorded through kills, its keys, and the file it was exported to."""

    scene: Scene
    folder: Path
    witness_url: str
    half_time: str
    first_checkpoint: Path

    @property
    def keys(self) -> list[str]:
        """The options of whoever verifies."""
        log, witness = self.folder / "log.key.pub", self.folder / "witness.key.pub"
        return ["--log-key", str(log), "--witness-key", str(witness)]

    @property
    def database(self) -> list[str]:
        """The options of whoever reads the database."""
        return ["--postgres-url-file", str(self.folder / "audit.url")]

    async def command(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Run an audit command in a thread of this process; returns exit code, stdout and stderr."""
        output, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            code = await asyncio.to_thread(cli.run, ["audit", *map(str, arguments)])
        return code, output.getvalue(), errors.getvalue()

    async def verify(self, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        """Verify, with the keys; returns exit code and the report."""
        code, output, errors = await self.command(
            "verify", *arguments, *self.keys, "--wait", "1", "-o", "json"
        )
        assert output, errors
        return code, json.loads(output)


async def start(*arguments: str | Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sentinel.reference.ledger", "audit", *map(str, arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@asynccontextmanager
async def running(*arguments: str | Path) -> AsyncIterator[dict[str, Any]]:
    """A process until the block ends; yields what it says when it is ready."""
    process = await start(*arguments)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), timeout=30)
        assert line, (await process.communicate())[1].decode()
        yield {**json.loads(line), "process": process}
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), timeout=20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    ledger_servers: LedgerServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("audit")
    async with AsyncExitStack() as stack:
        scene = await stack.enter_async_context(audit_scene(ledger_servers))
        (folder / "audit.url").write_text(scene.audit.url)
        for name, *more in (("log", "--name", ORIGIN), ("witness", "--name", "w1", "--witness")):
            process = await start("keygen", *more, "--file", folder / f"{name}.key")
            assert (await process.communicate())[0].decode().startswith(f"{more[1]}+")
        witness = await stack.enter_async_context(
            running(
                *("witness", "--key", folder / "witness.key", "--memory", folder / "memory"),
                *("--init", "--log-key", folder / "log.key.pub"),
            )
        )
        site = Site(
            scene=scene,
            folder=folder,
            witness_url=witness["url"],
            half_time="",
            first_checkpoint=folder / "first.note",
        )
        await record_through_kills(site)
        yield site


async def record_through_kills(site: Site) -> None:
    """Post 60 transfers in small transactions, killing who records them again and again."""
    await site.scene.post(transfer("before"))
    posted = 0
    for kill in range(KILLS_COUNT):
        async with running(*recording(site)) as audit:
            for _ in range(10):
                await site.scene.post(transfer(f"t{posted}", expires_in_s=600 if kill else None))
                posted += 1
            # Somewhere between its start, its writes, and what it tells the server.
            await asyncio.sleep(0.15 * kill)
            audit["process"].kill()
        if kill == KILLS_COUNT // 2:
            site.half_time = datetime.now(UTC).isoformat()
    async with running(*recording(site)):
        await witnessed(site)
    site.first_checkpoint.write_text(await last_note(site))
    await site.scene.post(transfer("last"))
    async with running(*recording(site)):
        await witnessed(site)


def recording(site: Site) -> list[str | Path]:
    return [
        "run",
        *("--key", str(site.folder / "log.key"), *site.database),
        *("--witness-url", site.witness_url, "--checkpoint-seconds", "0.5"),
        *("--witness-key", str(site.folder / "witness.key.pub")),
    ]


async def witnessed(site: Site) -> None:
    """Wait until the witness has signed all that was posted so far."""
    await eventually(site, "select max(size) from ledger.audit_checkpoints where witnessed")


async def eventually(site: Site, size: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        async with postgres.session(site.scene.admin, application_name="test") as connection:
            rows = await connection.fetchval(
                "select (select count(*) from ledger.transactions) + (select count(*) from ledger.entries)"
                " + (select count(*) from ledger.holds) + (select count(*) from ledger.accounts)"
            )
            recorded = await connection.fetchval(
                "select count(*) from ledger.audit_log where op in ('insert', 'snapshot')"
            )
            covered = await connection.fetchval(size)
            total = await connection.fetchval("select count(*) from ledger.audit_log")
        if recorded >= rows and covered == total:
            return
        assert time.monotonic() < deadline, (recorded, rows, covered, total)
        await asyncio.sleep(0.1)


async def last_note(site: Site) -> str:
    async with postgres.session(site.scene.admin, application_name="test") as connection:
        note: str = await connection.fetchval(
            "select note from ledger.audit_checkpoints where witnessed order by size desc limit 1"
        )
    return note


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def exported(site: Site) -> Path:
    file = site.folder / "export.ndjson"
    code, output, errors = await site.command(
        "export", *site.database, "--file", file, "-o", "json"
    )
    assert code == 0, errors
    assert json.loads(output)["left_out_count"] == 0
    return file


async def test_nothing_is_lost_and_nothing_is_there_twice_however_often_it_was_killed(
    site: Site,
) -> None:
    code, report = await site.verify(*site.database)
    assert (code, report["findings"]) == (0, [])
    assert report["unrecorded_count"] == 0
    entries = await site.scene.entries()
    assert report["entries_count"] == report["witnessed_size"] == len(entries)
    rows = [
        (
            one.relation,
            one.row["cohort"],
            one.row.get("transaction_id") or one.row.get("pending_id"),
            one.row.get("leg"),
        )
        for one in entries
        if one.relation not in ("", "accounts")
    ]
    accounts = {one.row["account_id"] for one in entries if one.relation == "accounts"}
    assert accounts == {"external:bank", "alice"}
    assert len(rows) == len(set(rows)) == report["rows_count"] - len(accounts)
    assert report["balances_compared"]
    assert [one.sequence for one in entries] == list(range(len(entries)))


async def test_an_exported_file_is_verified_with_nothing_but_public_keys(
    site: Site, exported: Path
) -> None:
    code, report = await site.verify(exported)
    assert (code, report["findings"]) == (0, [])
    assert report["witnessed_size"] == report["entries_count"] == report["tree_size"]
    code, output, _ = await site.command("verify", exported, *site.keys)
    assert code == 0
    assert output.startswith("whole: ")


Lines = list[dict[str, Any]]


def change_entry(place: int, **values: object) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        lines[place + 1]["entry"].update(values)

    return change


def change_content(lines: Lines) -> None:
    leaf = lines[21]["entry"]["leaf"]
    lines[21]["entry"]["leaf"] = leaf.replace('"shop"', '"shep"')


def swap(lines: Lines) -> None:
    lines[21], lines[22] = lines[22], lines[21]


def add(lines: Lines) -> None:
    lines.insert(30, json.loads(json.dumps(lines[21])))


def truncate(lines: Lines) -> None:
    """The last entries, the way an end would look that was never longer."""
    places = [index for index, line in enumerate(lines) if "entry" in line]
    del lines[places[-5] : places[-1] + 1]


def change_checkpoint(lines: Lines) -> None:
    index = next(index for index, line in enumerate(lines) if "checkpoint" in line)
    origin, size, *rest = lines[index]["checkpoint"].split("\n")
    lines[index]["checkpoint"] = "\n".join([origin, str(int(size) - 1), *rest])


@pytest.mark.parametrize(
    ("change", "counts", "places"),
    [
        (change_content, {"altered": 1}, [20]),
        (change_entry(20, signature="A" * 86 + "=="), {"altered": 1}, [20]),
        (lambda lines: lines.pop(21), {"missing": 1}, [20]),
        (swap, {"reordered": 1}, [20]),
        (add, {"added": 1}, [20]),
        (truncate, {"truncated": 1}, None),
        (change_checkpoint, {"checkpoint": 1}, [None]),
    ],
    ids=["row", "signature", "missing", "reordered", "added", "tail", "checkpoint"],
)
async def test_what_is_done_to_a_file_is_found_and_named(
    site: Site,
    exported: Path,
    tmp_path: Path,
    change: Callable[[Lines], None],
    counts: dict[str, int],
    places: list[int | None] | None,
) -> None:
    lines = [json.loads(line) for line in exported.read_bytes().splitlines()]
    change(lines)
    file = tmp_path / "changed.ndjson"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    code, report = await site.verify(file)
    assert (code, report["whole"]) == (1, False)
    assert report["counts"] == counts
    if places is not None:
        assert [one["first"] for one in report["findings"]] == places


async def test_a_file_that_was_cut_off_or_is_none_is_refused(
    site: Site, exported: Path, tmp_path: Path
) -> None:
    file = tmp_path / "cut.ndjson"
    file.write_bytes(exported.read_bytes()[:-20])
    code, _, errors = await site.command("verify", file, *site.keys)
    assert (code, "none of an exported audit" in errors) == (1, True)
    code, _, errors = await site.command(
        "verify", exported, "--log-key", site.folder / "log.key.pub"
    )
    assert (code, "--witness-key" in errors) == (2, True)
    code, _, errors = await site.command("verify", tmp_path / "absent", *site.keys)
    assert code == 3


def rewrite(site: Site, exported: Path, file: Path, *, since: int) -> SignedCheckpoint:
    """The file anew, by whoever holds the log's key: another content, every signature right."""
    signer = read_signer(site.folder / "log.key", kind=LOG_KIND)
    lines = [json.loads(line) for line in exported.read_bytes().splitlines()]
    tree = Tree()
    for line in lines:
        entry = line.get("entry")
        if entry is None:
            continue
        leaf = entry["leaf"].encode()
        if entry["place"] >= since:
            leaf = leaf.replace(b'"external:bank"', b'"external:none"')
            assert encode_entry(decode_entry(leaf)) == leaf
        entry["leaf"] = leaf.decode()
        signature = signer.sign(signed_bytes(ORIGIN, leaf))
        entry["signature"] = base64.b64encode(signature).decode()
        tree.append(leaf_hash(leaf))
    checkpoint = Checkpoint(origin=ORIGIN, size=tree.size, root=tree.root())
    note = SignedCheckpoint(
        checkpoint=checkpoint, signatures=(signer.sign_checkpoint(checkpoint, 0),)
    )
    kept = [line for line in lines if "checkpoint" not in line]
    kept.insert(-1, {"checkpoint": str(note)})
    file.write_text("".join(f"{json.dumps(line)}\n" for line in kept))
    return note


async def test_a_history_that_the_logs_own_key_wrote_anew_is_caught_by_the_witness(
    site: Site, exported: Path, tmp_path: Path
) -> None:
    file = tmp_path / "anew.ndjson"
    rewrite(site, exported, file, since=0)
    # Who asks for no witness is shown a log without a flaw.
    code, _, _ = await site.command(
        "verify", file, "--log-key", site.folder / "log.key.pub", "--without-witness"
    )
    assert code == 0
    code, report = await site.verify(file)
    assert (code, report["counts"]) == (1, {"unwitnessed": 1})
    code, report = await site.verify(file, "--checkpoints", site.first_checkpoint)
    assert code == 1
    assert report["counts"]["rewritten"] == 1


async def test_the_witness_signs_no_history_but_the_one_it_saw(
    site: Site, exported: Path, tmp_path: Path
) -> None:
    forged = rewrite(site, exported, tmp_path / "anew.ndjson", since=0)
    size = forged.checkpoint.size
    async with aiohttp.ClientSession(site.witness_url) as http:
        async with http.get("/checkpoint") as answer:
            last = parse_checkpoint(await answer.text())
        assert last.checkpoint.size == size
        for old, status in ((0, 409), (size, 409), (size + 1, 400)):
            async with http.post("/add-checkpoint", data=f"old {old}\n\n{forged}") as answer:
                assert answer.status == status
        async with http.post("/add-checkpoint", data=b"\xff" * 10) as answer:
            assert answer.status == 400
        async with http.post("/add-checkpoint", data=b"x" * 100_000) as answer:
            assert answer.status == 413
        async with http.get("/checkpoint") as answer:
            assert parse_checkpoint(await answer.text()) == last


async def test_a_period_is_exported_with_a_proof_for_each_entry(
    site: Site, tmp_path: Path
) -> None:
    file = tmp_path / "period.ndjson"
    code, output, errors = await site.command(
        *("export", *site.database, "--file", str(file), "--from", site.half_time),
        *("--earlier", str(site.first_checkpoint), "-o", "json"),
    )
    assert code == 0, errors
    count = json.loads(output)["entries_count"]
    assert 10 < count < len(await site.scene.entries())
    code, report = await site.verify(file, "--checkpoints", site.first_checkpoint)
    assert (code, report["findings"]) == (0, [])
    # The entry before the first shows that it is the first, and is not counted.
    assert report["entries_count"] == count - 1
    assert report["checkpoints_count"] == 2
    lines = [json.loads(line) for line in file.read_bytes().splitlines()]
    middle = len(lines) // 2
    for changed in (lines[:middle] + lines[middle + 1 :], [lines[0], *lines[2:]]):
        file.write_text("".join(f"{json.dumps(line)}\n" for line in changed))
        code, report = await site.verify(file)
        assert code == 1
        assert set(report["counts"]) <= {"missing", "truncated"}


async def test_a_tenants_extract_holds_nothing_of_others(site: Site, tmp_path: Path) -> None:
    for tenant, none in (("shop", False), ("rival", True)):
        file = tmp_path / f"{tenant}.ndjson"
        code, _, errors = await site.command(
            "export", *site.database, "--file", file, "--tenant", tenant
        )
        assert code == 0, errors
        code, report = await site.verify(file)
        assert code == 0
        assert (report["entries_count"] == 0) is none


async def test_one_entry_is_proven(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "proof.ndjson"
    code, output, errors = await site.command(
        "prove", "7", *site.database, "--file", file, "-o", "json"
    )
    assert code == 0, errors
    said = json.loads(output)
    assert json.loads(said["entry"]["leaf"])["sequence"] == 7
    code, report = await site.verify(file)
    assert (code, report["entries_count"]) == (0, 1)
    code, _, errors = await site.command("prove", "9999", *site.database)
    assert (code, "there is no 9999" in errors) == (1, True)


async def test_a_trail_that_lost_nothing_is_not_resumed(site: Site) -> None:
    before = len(await site.scene.entries())
    code, output, errors = await site.command(
        "resume", "--key", site.folder / "log.key", "--reason", "none", *site.database
    )
    assert (code, json.loads(output)) == (0, {"event": "nothing_lost"}), errors
    assert len(await site.scene.entries()) == before


async def undone(site: Site, table: str, statement: str, tmp_path: Path) -> tuple[int, Any]:
    """What a verification of the database says while one thing is done to it."""
    keep = f"create table public.kept as select * from ledger.{table}"
    back = [
        f"delete from ledger.{table}",
        f"insert into ledger.{table} overriding system value select * from public.kept",
    ]
    await site.scene.execute(keep, PAST_THE_TRIGGERS, statement)
    try:
        return await site.verify(*site.database)
    finally:
        await site.scene.execute(PAST_THE_TRIGGERS, *back, "drop table public.kept")


@pytest.mark.parametrize(
    ("table", "statement", "counts"),
    [
        ("audit_log", "update ledger.audit_log set leaf = convert_to(replace(convert_from(leaf, 'UTF8'), 'EUR', 'USD'), 'UTF8') where sequence = 1", {"altered": 1, "ledger_differs": 1}),
        ("audit_log", "update ledger.audit_log set signature = decode(repeat('00', 64), 'hex') where sequence = 9", {"altered": 1}),
        ("audit_log", "update ledger.audit_log set tenant = 'rival' where sequence = 9", {"altered": 1}),
        ("audit_log", "delete from ledger.audit_log where sequence between 8 and 9", {"missing": 1}),
        ("audit_log", "delete from ledger.audit_log where sequence > (select max(sequence) - 3 from ledger.audit_log)", {"truncated": 1}),
        ("audit_checkpoints", "update ledger.audit_checkpoints set note = replace(note, e'\\n', 'x')", None),
        ("audit_checkpoints", "delete from ledger.audit_checkpoints", {"unwitnessed": 1}),
    ],
    ids=["leaf", "signature", "columns", "missing", "tail", "notes", "no_notes"],
)  # fmt: skip
async def test_what_is_done_to_the_trail_in_the_database_is_found(
    site: Site, tmp_path: Path, table: str, statement: str, counts: dict[str, int] | None
) -> None:
    code, report = await undone(site, table, statement, tmp_path)
    if counts == {"unwitnessed": 1}:
        # What was committed in the last minutes may still be without the witness's word.
        assert (code, report["witnessed_size"]) == (0, 0)
        return
    assert code == 1
    if counts is None:
        assert report["counts"].keys() == {"checkpoint"}
    else:
        assert report["counts"] == counts


async def test_a_row_of_the_ledger_that_somebody_changed_past_the_triggers_is_found(
    site: Site,
) -> None:
    """Done with nobody recording, and undone in time: the slot would tell of it as well."""
    entries = await site.scene.entries()
    row = next(one for one in entries if one.relation == "entries")
    where = f"where leg = {row.row['leg']} and transaction_id = '{row.row['transaction_id']}'"
    change = f"update ledger.entries set amount_minor = amount_minor * 2 {where}"
    await site.scene.execute(PAST_THE_TRIGGERS, change)
    try:
        code, report = await site.verify(*site.database)
        assert (code, report["counts"]) == (1, {"ledger_differs": 1})
        assert "another amount_minor" in report["findings"][0]["detail"]
        assert report["findings"][0]["first"] == row.sequence
    finally:
        await site.scene.execute(PAST_THE_TRIGGERS, change.replace("* 2", "/ 2"))


async def test_a_balance_that_somebody_changed_is_found(site: Site) -> None:
    """With nobody recording, and undone in time, as above."""
    change = (
        "update ledger.accounts set balance_minor = balance_minor + 5 where account_id = 'alice'"
    )
    await site.scene.execute(change)
    try:
        code, report = await site.verify(*site.database)
        # The trail could still come to it: its slot is there, and nobody reads from it.
        assert (code, report["whole"], report["unrecorded_count"]) == (1, False, 1)
    finally:
        await site.scene.execute(change.replace("+ 5", "- 5"))
