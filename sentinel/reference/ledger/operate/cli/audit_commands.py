"""What `sentinel-ledger audit …` does: processes that run until they are told to stop, and commands."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

import orjson

from sentinel.reference.ledger.audit import archive
from sentinel.reference.ledger.audit import export as exporting
from sentinel.reference.ledger.audit.checkpoints import CheckpointConfig
from sentinel.reference.ledger.audit.compare import Compared, compare
from sentinel.reference.ledger.audit.keys import (
    kept_key,
    new_key,
    read_public_key,
    read_signer,
    write_key,
)
from sentinel.reference.ledger.audit.recorder import SETTINGS
from sentinel.reference.ledger.audit.service import Audit, AuditConfig
from sentinel.reference.ledger.audit.shelf import Shelf, Shelving, ShelvingConfig
from sentinel.reference.ledger.audit.verify import Keys, part_of, verify_database, verify_file
from sentinel.reference.ledger.audit.witness import Memory, Witness
from sentinel.reference.ledger.audit.witness_server import WitnessServer, WitnessServerConfig
from sentinel.reference.ledger.domain import LedgerError, UsageError
from sentinel.reference.ledger.domain.audit.check import Report
from sentinel.reference.ledger.domain.audit.note import LOG_KIND, WITNESS_KIND, SignedCheckpoint
from sentinel.reference.ledger.domain.audit.parts import what_is_missing
from sentinel.reference.ledger.operate.cli.servers import postgres_url
from sentinel.reference.ledger.operate.single import say, stop_on_signals
from sentinel.reference.ledger.operate.state import read_state
from sentinel.reference.ledger.telemetry import Event, Telemetry, start_telemetry
from sentinel.reference.ledger.telemetry.audit import AUDIT_SERVICE, WITNESS_SERVICE
from sentinel.reference.ledger.wire.config import PostgresConfig, check_url, read_url
from sentinel.reference.ledger.wire.postgres import Connection, session

_WRONG: Final = 1
# Of a trail that is being written: for so long an entry may be without the witness's word.
_UNWITNESSED_S: Final = 600.0
# A look at a whole trail takes what it takes; whoever asked can end it.
_PATIENT: Final = {
    **SETTINGS,
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}


def keygen(options: argparse.Namespace) -> int:
    """Make a key, or with `--keep` show the one that is there."""
    kind = WITNESS_KIND if options.witness else LOG_KIND
    if options.memory is not None and not options.witness:
        message = "--memory is of a witness's key: --witness"
        raise UsageError(message)
    public = kept_key(options.file, kind=kind) if options.keep else None
    if public is not None:
        if public.name != options.name:
            message = f"the key in {options.file} is called {public.name}, and not {options.name}"
            raise LedgerError(message)
    else:
        key = new_key(options.name, kind=kind)
        if options.memory is not None:
            # First: a key without a memory would be one of a witness that has forgotten.
            Memory.begin(options.memory)
        write_key(key, options.file)
        public = key.public
    if options.public is not None:
        options.public.write_text(f"{public}\n", encoding="utf-8")
    sys.stdout.write(f"{public}\n")
    return 0


def record(options: argparse.Namespace) -> int:
    """Record until told to stop."""
    url, file, key = options.witness_url, options.witness_url_file, options.witness_key
    witness = None
    if file is not None:
        witness = partial(read_url, file)
    elif url is not None:
        check_url(url, what="the witness's address", schemes=("http", "https"))
        witness = partial(str, url)
    config = AuditConfig(
        postgres=_postgres(options),
        witness=witness,
        witness_key=None if key is None else read_public_key(key, kind=WITNESS_KIND),
        checkpoint=CheckpointConfig(interval_s=options.checkpoint_seconds),
    )
    signer = read_signer(options.key, kind=LOG_KIND)

    async def run() -> None:
        telemetry = start_telemetry(AUDIT_SERVICE)
        try:
            audit = Audit(config, signer=signer, telemetry=telemetry)
            shelving = _shelving(options, config, signer.public.name, telemetry)
            stop = stop_on_signals()
            telemetry.info(Event.AUDIT_STARTED, "The audit is recording")
            say({"event": "ready", "role": "audit", "pid": os.getpid()})
            await _record(audit, shelving, stop)
            telemetry.info(Event.AUDIT_STOPPED, "The audit has stopped")
        finally:
            telemetry.stop()

    asyncio.run(run())
    return 0


async def _record(audit: Audit, shelving: Shelving | None, stop: asyncio.Event) -> None:
    """Record until `stop`, and store checkpoints beside it; the last one after the last entry."""
    if shelving is None:
        await audit.run(stop)
        return
    task = asyncio.create_task(shelving.run(stop), name="audit-archive")
    try:
        await audit.run(stop)
    finally:
        stop.set()
        await task
        await shelving.finish()


def _shelving(
    options: argparse.Namespace, config: AuditConfig, origin: str, telemetry: Telemetry
) -> Shelving | None:
    shelf = _shelf(options, origin)
    if shelf is None:
        return None
    return Shelving(
        ShelvingConfig(
            postgres=config.postgres,
            witnessed=config.witness is not None,
            interval_s=options.archive_seconds,
        ),
        shelf,
        telemetry,
    )


def _shelf(options: argparse.Namespace, origin: str) -> Shelf | None:
    if options.archive is None:
        return None
    # Late: nobody else needs the library, which takes its time to import.
    from sentinel.reference.ledger.wire.s3 import Archive, read_archive

    return Shelf(Archive(read_archive(options.archive)), origin)


def resume(options: argparse.Namespace) -> int:
    """Go on after a loss."""
    signer = read_signer(options.key, kind=LOG_KIND)

    async def run() -> bool:
        telemetry = start_telemetry(AUDIT_SERVICE)
        try:
            config = AuditConfig(postgres=_postgres(options))
            return await Audit(config, signer=signer, telemetry=telemetry).resume(options.reason)
        finally:
            telemetry.stop()

    resumed = asyncio.run(run())
    say({"event": "resumed" if resumed else "nothing_lost"})
    return 0


def witness(options: argparse.Namespace) -> int:
    """Sign what extends what was signed."""
    signer = read_signer(options.key, kind=WITNESS_KIND)
    logs = [read_public_key(key, kind=LOG_KIND) for key in options.log_key]
    if options.init:
        Memory.create(options.memory)
    memory = Memory(options.memory)
    memory.open()

    async def run() -> None:
        telemetry = start_telemetry(WITNESS_SERVICE)
        server = WitnessServer(
            WitnessServerConfig(host=options.host, port=options.port),
            witness=Witness(signer=signer, logs=logs, memory=memory),
            telemetry=telemetry,
        )
        try:
            url = await server.start()
            stop = stop_on_signals()
            telemetry.info(Event.WITNESS_STARTED, "The witness is listening", url=url)
            say({"event": "ready", "role": "witness", "url": url, "pid": os.getpid()})
            await stop.wait()
        finally:
            await server.stop()
            telemetry.info(Event.WITNESS_STOPPED, "The witness has stopped")
            telemetry.stop()

    try:
        asyncio.run(run())
    finally:
        memory.close()
    return 0


def exports(options: argparse.Namespace) -> int:
    """Make exports until told to stop."""
    from sentinel.reference.ledger.audit.exports import ExporterConfig
    from sentinel.reference.ledger.audit.exports.making import Bounds
    from sentinel.reference.ledger.operate.exporting import run_exporter

    config = ExporterConfig(
        postgres=_postgres(options),
        witnessed=not options.without_witness,
        bounds=Bounds(part_entries_count=options.part_entries, bytes_max=options.bytes_max),
        keep_s=options.keep_days * 86_400.0,
    )
    asyncio.run(run_exporter(config))
    return 0


def export(options: argparse.Namespace) -> int:
    """Write the trail, or a period of it."""
    period = exporting.Period(from_us=options.from_us, to_us=options.to_us, tenant=options.tenant)
    earlier = _notes(options.earlier)
    witnessed = not options.without_witness

    async def run() -> exporting.Exported:
        async with _snapshot(_postgres(options)) as connection, _file(options.file) as out:
            if period == exporting.Period() and not earlier:
                return await exporting.export_log(connection, out, witnessed=witnessed)
            return await exporting.export_period(
                connection, out, period, witnessed=witnessed, earlier=earlier
            )

    exported = asyncio.run(run())
    if options.form == "json":
        say({"file": str(options.file), **asdict(exported)})
    else:
        sys.stdout.write(
            f"{exported.entries_count} entries of {exported.size} to {options.file}; "
            f"{exported.left_out_count} are behind the last checkpoint and were left out\n"
        )
    return 0


def prove(options: argparse.Namespace) -> int:
    """Prove one entry."""
    buffer = io.BytesIO()

    async def run() -> None:
        async with _snapshot(_postgres(options)) as connection:
            await exporting.export_entry(
                connection, buffer, options.place, witnessed=not options.without_witness
            )

    asyncio.run(run())
    if options.file is not None:
        options.file.write_bytes(buffer.getvalue())
    lines = [orjson.loads(line) for line in buffer.getvalue().splitlines()]
    entry = next(
        one["entry"] for one in lines if "entry" in one and one["entry"]["place"] == options.place
    )
    note = next(one["checkpoint"] for one in lines if "checkpoint" in one)
    if options.form == "json":
        say({"entry": entry, "checkpoint": note})
    else:
        proof = "".join(f"{one}\n" for one in entry["proof"])
        sys.stdout.write(f"{entry['leaf']}\n\nproof of entry {options.place}:\n{proof}\n{note}")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Say what is wrong with a file or a database; exit code 1 when anything is."""
    keys = _keys(options)
    kept = _notes(options.checkpoints)
    shelf = _shelf(options, keys.log.name)
    if len(options.file) > 1:
        return _verify_parts(options, keys, kept + (shelf.some()[0] if shelf is not None else []))
    file = options.file[0] if options.file else None
    if shelf is not None:
        # A file ends where it was exported; a database has all that there was.
        ends = file is not None and not archive.read_head(file).extract
        kept += shelf.some(size_max=archive.read_head(file).end if file and ends else None)[0]
    if file is not None:
        return _answer(verify_file(file, keys, kept), None, options, archive.read_head(file))
    report, compared = asyncio.run(_verify_online(options, keys, kept))
    return _answer(report, compared, options)


def _verify_parts(options: argparse.Namespace, keys: Keys, kept: list[SignedCheckpoint]) -> int:
    """Verify each file, and say whether they are together all of one export."""
    wrong = 0
    for file in options.file:
        if options.form != "json":
            sys.stdout.write(f"{file}: ")
        report = verify_file(file, keys, kept)
        wrong |= _answer(report, None, options, archive.read_head(file))
    faults = what_is_missing([part_of(file) for file in options.file])
    if options.form == "json":
        say({"complete": not faults, "parts_count": len(options.file), "missing": faults})
    else:
        sys.stdout.writelines(f"{fault}\n" for fault in faults)
        sys.stdout.write(
            f"NOT complete: of {len(options.file)} files\n"
            if faults
            else f"complete: {len(options.file)} parts are the whole export\n"
        )
    return wrong | (_WRONG if faults else 0)


async def _verify_online(
    options: argparse.Namespace, keys: Keys, kept: list[SignedCheckpoint]
) -> tuple[Report, Compared]:
    config = _postgres(options)
    since_us = int((time.time() - _UNWITNESSED_S) * 1e6)
    async with (
        _snapshot(config) as connection,
        session(config, application_name="audit-verify", settings=dict(_PATIENT)) as later,
    ):
        report, books = await verify_database(
            connection, keys, kept, unwitnessed_since_us=since_us
        )
        place = await later.fetchval("select pg_current_wal_lsn()::text")
        compared = await compare(
            connection, report, books, snapshot_lsn=place, wait_s=options.wait, later=later
        )
    return report, compared


def _answer(
    report: Report,
    compared: Compared | None,
    options: argparse.Namespace,
    head: archive.Head | None = None,
) -> int:
    # Rows that could not be looked for once more leave open whether they are recorded.
    open_count = compared.unrecorded_count if compared is not None else 0
    whole = report.whole and not open_count
    said: dict[str, object] = {
        "whole": whole,
        "entries_count": report.entries_count,
        "tree_size": report.tree_size,
        "witnessed_size": report.witnessed_size,
        "witness_asked": not options.without_witness,
        "checkpoints_count": report.checkpoints_count,
        "checkpoints_unproven_count": report.checkpoints_unproven_count,
        "gaps": [{"place": place, "reason": reason} for place, reason in report.gaps],
        "counts": {kind.value: count for kind, count in sorted(report.counts.items())},
        "findings": [asdict(finding) for finding in report.findings],
    }
    if head is not None and head.part is not None:
        said |= {"part": head.part, "next": head.following}
    if compared is not None:
        said |= {
            "rows_count": compared.rows_count,
            "unrecorded_count": open_count,
            "balances_compared": compared.balances_compared,
        }
    if options.form == "json":
        say(said)
        return 0 if whole else _WRONG
    for finding in report.findings:
        where = "" if finding.first is None else f" {finding.first}"
        if finding.last not in (None, finding.first):
            where += f" to {finding.last}"
        sys.stdout.write(f"{finding.kind}{where}: {finding.detail}\n")
    hidden = sum(report.counts.values()) - len(report.findings)
    if hidden:
        sys.stdout.write(f"and {hidden} more\n")
    if open_count:
        sys.stdout.write(
            f"{open_count} rows are not recorded, and the audit did not come to them in time\n"
        )
    sys.stdout.write(
        f"{'whole' if whole else 'NOT whole'}: {report.entries_count} entries as they were signed, "
        f"{report.checkpoints_count} checkpoints agree, {report.witnessed_size} entries witnessed\n"
    )
    if head is not None and head.part is not None and head.following is not None:
        sys.stdout.write(f"it is part {head.part}, and goes on in part {head.following}\n")
    return 0 if whole else _WRONG


def _keys(options: argparse.Namespace) -> Keys:
    log, witness_key = options.log_key, options.witness_key
    if options.state is not None:
        folder = Path(read_state(options.state).audit_folder)
        log = log or str(folder / "log.key.pub")
        witness_key = witness_key or str(folder / "witness.key.pub")
    if log is None:
        message = "give --log-key, or --state of a ledger that runs here; see --help"
        raise UsageError(message)
    if witness_key is None and not options.without_witness:
        message = "give --witness-key, or --without-witness; see --help"
        raise UsageError(message)
    return Keys(
        log=read_public_key(log, kind=LOG_KIND),
        witness=None
        if options.without_witness
        else read_public_key(witness_key, kind=WITNESS_KIND),
    )


def _notes(files: list[Path]) -> list[SignedCheckpoint]:
    return [note for file in files for note in archive.read_notes(file)]


def _postgres(options: argparse.Namespace) -> PostgresConfig:
    url: str | None = postgres_url(options)
    if url is None and getattr(options, "state", None) is not None:
        folder = Path(read_state(options.state).audit_folder)
        url = read_url(folder / "postgres.url")
    if url is None:
        message = "give the address of PostgreSQL; see --help"
        raise UsageError(message)
    return PostgresConfig(url=url)


@asynccontextmanager
async def _snapshot(config: PostgresConfig) -> AsyncIterator[Connection]:
    async with (
        session(config, application_name="audit-read", settings=dict(_PATIENT)) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        yield connection


@asynccontextmanager
async def _file(path: Path) -> AsyncIterator[io.BufferedWriter]:
    """Open a file that takes its name once it is all there."""
    draft = path.with_name(f"{path.name}.new")
    try:
        with draft.open("wb") as out:
            yield out
        draft.replace(path)
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise LedgerError(message) from error
    finally:
        draft.unlink(missing_ok=True)
