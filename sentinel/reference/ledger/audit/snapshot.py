"""Rows that were there before a generation of the trail began, as texts, as pgoutput would send them.

Between the slot and the look at the tables transactions commit: the slot tells of them, and some are in
the look already. Which ones the database's own snapshot says; it is kept with the trail, so that each
change is recorded once, also over a restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.audit.followed import IDS, STATES, UNTOLD, row_id_in_sql
from sentinel.reference.ledger.audit.rows import PREFETCH_COUNT
from sentinel.reference.ledger.domain.audit.entry import format_lsn, parse_lsn
from sentinel.reference.ledger.wire.postgres import Connection

_COLUMNS: Final = """
select attname::text as name from pg_attribute
where attrelid = to_regclass('ledger.' || $1) and attnum > 0 and not attisdropped and attgenerated = '' order by attnum
"""
_XIDS: Final = 1 << 32
_TAKE: Final = (
    "select pg_current_snapshot()::text as snapshot, pg_current_wal_insert_lsn()::text as place"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A look at the tables: which transactions it shows.

    Attributes:
        lsn: what commits behind this place in the write-ahead log it shows nothing of.
        first: transactions before this one it shows.
        end: this one and later ones it does not show.
        running: nor these.
    """

    lsn: int
    first: int
    end: int
    running: frozenset[int]

    def shows(self, *, lsn: int, xid: int) -> bool:
        """Say whether the transaction of this commit is in it; numbers are of 32 bits and come round."""
        if lsn > self.lsn or _is_from(xid, self.end):
            return False
        return not _is_from(xid, self.first) or xid not in self.running

    def told(self) -> dict[str, str]:
        """Return it as texts, for the entry that begins a generation."""
        running = ",".join(map(str, sorted(self.running)))
        return {"look": f"{self.first}:{self.end}:{running}", "look_lsn": format_lsn(self.lsn)}


def look_of(row: Mapping[str, str | None]) -> Look:
    """Return the look of an entry that begins a generation.

    Raises:
        ValueError: it does not say so.
    """
    first, end, running = (row.get("look") or "").split(":")
    return Look(
        lsn=parse_lsn(row.get("look_lsn") or ""),
        first=int(first),
        end=int(end),
        running=frozenset(int(one) for one in running.split(",") if one),
    )


async def take_look(connection: Connection) -> Look:
    """Return what the connection's transaction, which must be of one snapshot, shows from here on."""
    row = await connection.fetchrow(_TAKE)
    first, end, running = row["snapshot"].split(":")
    return Look(
        lsn=parse_lsn(row["place"]),
        first=int(first) % _XIDS,
        end=int(end) % _XIDS,
        running=frozenset(int(one) % _XIDS for one in running.split(",") if one),
    )


async def columns_of(connection: Connection, relation: str) -> list[str]:
    """Return the table's columns in their order, those that the trail tells."""
    rows = await connection.fetch(_COLUMNS, relation)
    untold = UNTOLD.get(relation, frozenset())
    return [row["name"] for row in rows if row["name"] not in untold]


def texts(columns: list[str], alias: str) -> str:
    """Return an array of a row's values as their types write them, which is what pgoutput sends."""
    # `format` calls the type's own output; a cast to text would write a boolean otherwise.
    values = (
        f"case when {alias}.{_quoted(one)} is null then null else format('%s', {alias}.{_quoted(one)}) end"
        for one in columns
    )
    return f"array[{', '.join(values)}]::text[]"


async def unrecorded(
    connection: Connection, relation: str
) -> AsyncIterator[dict[str, str | None]]:
    """Yield the table's rows of which the trail has no entry, or of one that has a state none of that.

    An account's numbers are told by entries and pending transfers, which come as well. Needs a transaction,
    whose snapshot it reads; the rows come in the order of their ids.
    """
    columns = await columns_of(connection, relation)
    _, leg_column = IDS[relation]
    id_in_sql = row_id_in_sql(relation, "t")
    same = f"a.relation = '{relation}' and a.cohort = t.cohort and a.row_id = {id_in_sql}"
    order = f"t.cohort, {id_in_sql}"
    if leg_column:
        same += f" and a.leg = t.{leg_column}"
        order += f", t.{leg_column}"
    if relation in STATES:
        same += " and convert_from(a.leaf, 'UTF8')::jsonb -> 'row' ->> 'state' = t.state"
    # Every name in it is a constant of this package or comes from the catalogue, quoted.
    query = (
        f"select {texts(columns, 't')} as row from ledger.{relation} t "  # noqa: S608
        f"where not exists (select from ledger.audit_log a where {same}) order by {order}"
    )
    async for found in connection.cursor(query, prefetch=PREFETCH_COUNT):
        yield dict(zip(columns, found["row"], strict=True))


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _is_from(xid: int, start: int) -> bool:
    """Say whether a transaction's number is that of `start` or one of those after it."""
    return (xid - start) % _XIDS < _XIDS // 2
