"""The logical replication slot: what PostgreSQL keeps for the audit until that has it for good.

Each generation of the trail has a slot of its own, named after its database and number, so that a slot
somebody makes in a lost one's place is never taken for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.audit.followed import IDS
from sentinel.reference.ledger.audit.pgoutput import PROTOCOL_VERSION
from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.audit.entry import format_lsn, parse_lsn
from sentinel.reference.ledger.wire.postgres import Connection

PUBLICATION: Final = "ledger_audit"
# Changes that are asked for at a time; a transaction is never divided.
CHANGES_COUNT: Final = 5000

PEEK: Final = f"""
select data from pg_logical_slot_peek_binary_changes(
    $1, $2::text::pg_lsn, $3, 'proto_version', '{PROTOCOL_VERSION}', 'publication_names', '{PUBLICATION}')
"""  # noqa: S608 - both are constants
_STATUS: Final = """
select wal_status, confirmed_flush_lsn::text as confirmed, safe_wal_size as safe_bytes,
       pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint as lag_bytes,
       pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint as retained_bytes
from pg_replication_slots where slot_name = $1
"""
_LEFT: Final = """
select pg_drop_replication_slot(slot_name) from pg_replication_slots
where starts_with(slot_name, $1) and database = current_database() and not active
"""
_MAY: Final = """
select current_setting('wal_level') as wal_level,
       (select rolreplication or rolsuper from pg_roles where rolname = current_user) as may_replicate,
       exists (select from pg_publication where pubname = $1) as has_publication,
       array(select tablename::text from pg_publication_tables where pubname = $1 and schemaname = 'ledger') as published
"""


class SlotLostError(LedgerError):
    """What the slot was to keep is gone: the trail has a gap, and somebody must say so in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStatus:
    """A slot as the server tells of it, in bytes of the write-ahead log and places in it."""

    confirmed_lsn: int
    lag_bytes: int
    retained_bytes: int
    safe_bytes: int | None


async def slot_name(connection: Connection, generation: int) -> str:
    """Return the name of a generation's slot, which is of the whole server."""
    return f"{await _prefix(connection)}{generation}"


async def check_server(connection: Connection) -> None:
    """Refuse a server or a role by which nothing can be followed, and say what it lacks.

    Raises:
        LedgerError: it is not set up for it.
    """
    row = await connection.fetchrow(_MAY, PUBLICATION)
    if row["wal_level"] != "logical":
        message = (
            f"the server's wal_level is {row['wal_level']}; the audit needs wal_level = logical"
        )
        raise LedgerError(message)
    if not row["may_replicate"]:
        message = "the audit's user may not read replication slots; a superuser must ALTER ROLE it WITH REPLICATION"
        raise LedgerError(message)
    if not row["has_publication"]:
        message = (
            f"there is no publication {PUBLICATION}: who owns the ledger's tables must create it "
            f"for {', '.join(IDS)}, with publish_via_partition_root"
        )
        raise LedgerError(message)
    missing = sorted(IDS.keys() - set(row["published"]))
    if missing:
        tables = ", ".join(f"ledger.{name}" for name in missing)
        message = f"the publication {PUBLICATION} leaves tables out: its owner must ALTER PUBLICATION {PUBLICATION} ADD TABLE {tables}"
        raise LedgerError(message)


async def create_slot(connection: Connection, generation: int) -> tuple[str, int]:
    """Make the generation's slot, in place of whatever earlier ones are left of this database.

    Returns:
        its name, and from where on it tells of what is committed.

    Raises whatever the connection raises, for one when a slot of its name is being read.
    """
    await connection.fetch(_LEFT, await _prefix(connection))
    name = await slot_name(connection, generation)
    place = await connection.fetchval(
        "select lsn::text from pg_create_logical_replication_slot($1, 'pgoutput')", name
    )
    return name, parse_lsn(place)


async def slot_status(connection: Connection, name: str) -> SlotStatus:
    """Return what the server says of the slot.

    Raises:
        SlotLostError: it is gone, or has lost what it needs.
    """
    row = await connection.fetchrow(_STATUS, name)
    if row is None:
        message = f"the replication slot {name} is gone"
        raise SlotLostError(message)
    if row["wal_status"] == "lost" or row["confirmed"] is None:
        message = f"the replication slot {name} has lost the write-ahead log that it needs"
        raise SlotLostError(message)
    return SlotStatus(
        confirmed_lsn=parse_lsn(row["confirmed"]),
        lag_bytes=row["lag_bytes"],
        retained_bytes=row["retained_bytes"],
        safe_bytes=row["safe_bytes"],
    )


async def flushed_lsn(connection: Connection) -> int:
    """Return up to where the write-ahead log is on disk."""
    return parse_lsn(await connection.fetchval("select pg_current_wal_flush_lsn()::text"))


async def advance_slot(connection: Connection, name: str, lsn: int) -> None:
    """Let the server forget what is before `lsn`; after a crash it may have it again."""
    await connection.fetchval(
        "select end_lsn::text from pg_replication_slot_advance($1, $2::text::pg_lsn)",
        name,
        format_lsn(lsn),
    )


async def may_move_on(connection: Connection) -> bool:
    """Say whether `move_on` can be called: PostgreSQL 16 or newer, and a role that may."""
    return bool(
        await connection.fetchval(
            "select coalesce(has_function_privilege(to_regprocedure('pg_log_standby_snapshot()'), 'execute'), false)"
        )
    )


async def move_on(connection: Connection) -> None:
    """Note the running transactions in the write-ahead log, so that the slot need not go back far.

    The server does it every 15 seconds by itself, and each look at a slot decodes all since again.
    """
    await connection.fetchval("select pg_log_standby_snapshot()::text")


async def _prefix(connection: Connection) -> str:
    oid = await connection.fetchval(
        "select oid::bigint from pg_database where datname = current_database()"
    )
    return f"ledger_audit_{oid}_"
