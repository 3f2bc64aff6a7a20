"""How many audit entries a second are signed, recorded and verified, and what recording costs beside a ledger at work.

Goal: none is given but that the audit keeps up with the ledger's 1,500 writes a second, some 4,500 entries. Method: in one process and by its CPU time,
entries written, signed and hashed into the tree; the same entries verified from an exported file; then a real PostgreSQL from the wheel, to
which the ledger's own statements post: how fast a backlog is recorded, and what share of a core the recorder's process and the server's
for it take while `--rate` transfers a second are posted. A transfer is three entries, itself and its two sides; what became of the
accounts, which are written once a batch, those tell, so that each such write is decoded and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import psutil
from machine import describe

from sentinel.reference.ledger.audit import archive
from sentinel.reference.ledger.audit.archive import Head
from sentinel.reference.ledger.audit.keys import Signer, new_key, write_key
from sentinel.reference.ledger.audit.service import RESUME_HINT
from sentinel.reference.ledger.audit.verify import Keys, verify_file
from sentinel.reference.ledger.domain import Transfer
from sentinel.reference.ledger.domain.audit.check import Record
from sentinel.reference.ledger.domain.audit.entry import (
    AuditEntry,
    Op,
    encode_entry,
    signed_bytes,
)
from sentinel.reference.ledger.domain.audit.merkle import Tree, leaf_hash
from sentinel.reference.ledger.domain.audit.note import Checkpoint, SignedCheckpoint
from sentinel.reference.ledger.domain.tenant import Tier, new_cohort
from sentinel.reference.ledger.operate.folders import temporary_folder
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.operate.servers import start_postgres
from sentinel.reference.ledger.posting import BY_INDEX
from sentinel.reference.ledger.posting.apply import apply_batch
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.envelope import Envelope
from sentinel.reference.ledger.wire.postgres import session
from sentinel.reference.ledger.wire.register import Opening
from sentinel.reference.ledger.wire.roles import Role, role_url

TENANT = "bench"
COHORT = new_cohort(TENANT)
ORIGIN = "bench.example/audit"
BATCH = 200
ACCOUNTS = 50
# What comes before the first transfer: the beginning, and the accounts as they are opened.
BEGUN = 2 + ACCOUNTS


def entry(sequence: int) -> AuditEntry:
    """An entry of the size that the ledger's have."""
    return AuditEntry(
        sequence=sequence,
        generation=1,
        lsn=0x2_0000_0000 + sequence * 96,
        ordinal=sequence % 600,
        committed_us=1_700_000_000_000_000 + sequence,
        xid=sequence,
        op=Op.INSERT,
        relation="entries",
        row={
            "cohort": "1",
            "transaction_id": f"{sequence:032x}",
            "leg": "0",
            "tenant": TENANT,
            "account_id": f"account-{sequence % 50}",
            "amount_minor": "100",
            "balance_after_minor": str(sequence),
            "account_version": str(sequence),
        },
    )


def pure(count: int) -> tuple[float, float]:
    """Entries a second of CPU time: written, signed and hashed; and verified from a file."""
    signer = Signer(new_key(ORIGIN))
    tree = Tree()
    began = time.process_time()
    records = []
    for sequence in range(count):
        leaf = encode_entry(entry(sequence))
        signature = signer.sign(signed_bytes(ORIGIN, leaf))
        tree.append(leaf_hash(leaf))
        records.append(Record(place=sequence, leaf=leaf, signature=signature))
    signed_s = time.process_time() - began
    checkpoint = Checkpoint(origin=ORIGIN, size=count, root=tree.root())
    note = SignedCheckpoint(
        checkpoint=checkpoint, signatures=(signer.sign_checkpoint(checkpoint, 0),)
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "export"
        with file.open("wb") as out:
            writer = archive.Writer(out, Head(origin=ORIGIN, end=count))
            for record in records:
                writer.entry(record)
            writer.checkpoint(str(note))
            writer.end()
        began = time.process_time()
        report = verify_file(file, Keys(log=signer.public, witness=None))
        verified_s = time.process_time() - began
        assert report.whole
        print(f"an entry of an exported file takes {file.stat().st_size / count:.0f} bytes")
    return count / signed_s, count / verified_s


async def post(config: PostgresConfig, start: int, count: int, rate: float | None) -> None:
    """Post transfers in transactions of 200, or of what the rate has for a fiftieth of a second."""
    size = BATCH if rate is None else max(int(rate / 50), 1)
    began = time.monotonic()
    async with session(config, application_name="bench", settings=dict(BY_INDEX)) as connection:
        for first in range(start, start + count, size):
            if rate is not None:
                due = began + (first - start) / rate
                await asyncio.sleep(max(due - time.monotonic(), 0))
            envelopes = [
                Envelope(
                    asked=Transfer(
                        tenant=TENANT,
                        idempotency_key=f"k{number}",
                        debit_account="external:bank",
                        credit_account=f"account-{number % ACCOUNTS}",
                        amount_minor=100,
                        currency="EUR",
                        expires_in_s=None,
                    ),
                    cohort=COHORT,
                    accepted_ns=1000,
                )
                for number in range(first, min(first + size, start + count))
            ]
            await apply_batch(connection, COHORT, envelopes)


async def recorded(config: PostgresConfig) -> int:
    """How many entries the trail has."""
    async with session(config, application_name="bench") as connection:
        count: int = await connection.fetchval(
            "select coalesce(max(sequence) + 1, 0) from ledger.audit_log"
        )
    return count


async def until(config: PostgresConfig, count: int) -> None:
    """Wait until the trail has so many entries."""
    for _ in range(6000):
        if await recorded(config) >= count:
            return
        await asyncio.sleep(0.02)
    raise SystemExit(f"the audit did not come to {count} entries; {RESUME_HINT}")


async def server_pids(config: PostgresConfig) -> list[int]:
    """The server's processes that work for the recorder."""
    async with session(config, application_name="bench") as connection:
        rows = await connection.fetch(
            "select pid from pg_stat_activity where application_name = 'audit'"
        )
    return [row["pid"] for row in rows]


def cpu_s(pids: list[int]) -> float:
    """CPU seconds of processes so far."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(one.user + one.system for one in times)


async def beside(options: argparse.Namespace) -> dict[str, Any]:
    """A backlog, and then a steady load, recorded by `audit run` in a process of its own."""
    found: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary_folder())
        server = await start_postgres(folder / "postgres")
        stack.push_async_callback(server.stop, timeout_s=5.0)
        admin = PostgresConfig(url=server.url_file.read_text())
        url = role_url(admin, Role.AUDIT, "bench")
        await prepare(admin, [Opening(name=TENANT, tier=Tier.STANDARD)], role_urls=[url])
        (folder / "url").write_text(url)
        write_key(new_key(ORIGIN), folder / "log.key")
        audit = await start_audit(folder, stack)
        await until(admin, 1)
        audit.suspend()
        await post(admin, 0, options.backlog, None)
        pids = [audit.pid, *await server_pids(admin)]
        before, began = cpu_s(pids), time.monotonic()
        audit.resume()
        await until(admin, BEGUN + 3 * options.backlog)
        found["backlog_s"] = time.monotonic() - began
        found["backlog_cpu_s"] = cpu_s(pids) - before
        count = int(options.rate * options.seconds)
        await asyncio.sleep(1)
        own, server_before, began = cpu_s(pids[:1]), cpu_s(pids[1:]), time.monotonic()
        await post(admin, options.backlog, count, options.rate)
        await until(admin, BEGUN + 3 * (options.backlog + count))
        seconds = time.monotonic() - began
        found["process_ratio"] = (cpu_s(pids[:1]) - own) / seconds
        found["server_ratio"] = (cpu_s(pids[1:]) - server_before) / seconds
        found["behind_s"] = seconds - options.seconds
        found["entry_bytes"] = await entry_bytes(admin)
        own, server_before, began = cpu_s(pids[:1]), cpu_s(pids[1:]), time.monotonic()
        await asyncio.sleep(options.seconds / 2)
        idle_s = time.monotonic() - began
        found["idle_ratio"] = (cpu_s(pids) - own - server_before) / idle_s
    return found


async def entry_bytes(config: PostgresConfig) -> float:
    """What an entry takes in the database, with its indexes and its part of the tree."""
    async with session(config, application_name="bench") as connection:
        return float(
            await connection.fetchval(
                "select (pg_total_relation_size('ledger.audit_log') + pg_total_relation_size('ledger.audit_nodes'))"
                "::float8 / count(*) from ledger.audit_log"
            )
        )


async def start_audit(folder: Path, stack: AsyncExitStack) -> psutil.Process:
    """Run `sentinel-ledger audit run` until the bench ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sentinel.reference.ledger", "audit", "run"),
        *("--key", str(folder / "log.key"), "--postgres-url-file", str(folder / "url")),
        stdout=asyncio.subprocess.DEVNULL,
    )

    async def end() -> None:
        if process.returncode is None:
            process.terminate()
        await process.wait()

    stack.push_async_callback(end)
    return psutil.Process(process.pid)


def main() -> None:
    """Take the figures and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=50_000, help="signed and verified")
    parser.add_argument("--backlog", type=int, default=20_000, help="transfers to catch up on")
    parser.add_argument("--rate", type=float, default=600.0, help="transfers a second, steadily")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    print(describe())
    signed, verified = pure(options.entries)
    print(f"written, signed and hashed: {signed:,.0f} entries a second of one core")
    print(f"verified from a file: {verified:,.0f} entries a second of one core")
    found = asyncio.run(beside(options))
    entries = 3 * options.backlog
    print(
        f"a backlog of {entries:,} entries is recorded in {found['backlog_s']:.1f} s: "
        f"{entries / found['backlog_s']:,.0f} a second, {found['backlog_cpu_s']:.1f} s of CPU with the server's"
    )
    print(
        f"at {options.rate:,.0f} transfers a second: {found['process_ratio']:.0%} of a core in the process, "
        f"{found['server_ratio']:.0%} in the server for it; all recorded {found['behind_s']:.2f} s after the last"
    )
    print(f"an entry takes {found['entry_bytes']:.0f} bytes in the database")
    print(f"with nothing to record: {found['idle_ratio']:.1%} of a core, both together")


if __name__ == "__main__":
    main()
