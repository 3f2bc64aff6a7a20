"""The audit trail against the books: every transaction, entry and pending transfer is in it as it is.

The trail is behind the books by nature. So a row that it does not have is looked for again once it is past the place that the
write-ahead log had after the row was seen; what it has not recorded then, it will not. Until it is past that place nothing is known
of the row, and nothing newer is looked at: where all was found recorded, the next look begins.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sentinel.reference.ledger.reconcile.place import EVER, NEVER, Place
from sentinel.reference.ledger.reconcile.report import FINDINGS_COUNT_MAX, Check, Result
from sentinel.reference.ledger.wire.postgres import Connection

# Rows of all looks that wait for the trail.
AWAITED_COUNT_MAX: Final = 10_000
# Where a row is looked for first, on either side of its moment; then everywhere, for the poster's clock is another than the trail's.
# The trail of a busy minute is long, and each pass reads the whole window: what clocks that are kept differ by is far less.
_WINDOW: Final = timedelta(minutes=1)
# What is compared of a row, as texts, with what the trail has of its making; a pending transfer is one that changes. Entries say what the account's balance and version became.
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "transactions": (
        "kind",
        "state",
        "reason",
        "debit_account",
        "credit_account",
        "amount_minor",
        "currency",
    ),
    "entries": ("account_id", "amount_minor", "balance_after_minor", "account_version"),
    "holds": ("state", "debit_account", "credit_account", "amount_minor", "currency"),
}


def _written(relation: str, row_id: str, leg: str, source: str) -> str:
    content = ", ".join(f"r.{column}::text" for column in _COLUMNS[relation])
    return (
        f"select '{relation}' as relation, r.{row_id} as row_id, {leg} as leg, r.tenant, "  # noqa: S608 - of this file's own texts
        f"jsonb_build_array({content}) as content, r.amount_minor as amount from {source}"
    )


def _told() -> str:
    """Return the content of an entry of the trail, as a row of its table would have it."""
    cases = (
        f"when '{relation}' then jsonb_build_array({', '.join(f'''row ->> '{one}' ''' for one in columns)})"
        for relation, columns in _COLUMNS.items()
    )
    return f"case relation {' '.join(cases)} end as content, (row ->> 'amount_minor')::numeric as amount"


def _recorded(*wheres: str) -> str:
    """Return what the trail has of rows, found in one way or another.

    A leaf is parsed once, and only of a row that is asked for: without the barrier (`offset 0`) the planner writes the parsing
    out at each column that is read of it.
    """
    entries = " union all ".join(
        "select relation, row_id, leg, sequence, convert_from(leaf, 'UTF8')::jsonb -> 'row' as row from ledger.audit_log"  # noqa: S608 - of this file's own texts
        " where cohort = $1 and relation in ('transactions', 'entries', 'holds')"
        f" and (op in ('insert', 'snapshot') or op = 'update' and relation = 'holds') and {where}"
        for where in wheres
    )
    return (
        f"select relation, row_id, coalesce(leg, -1) as leg, sequence, {_told()}"  # noqa: S608 - of this file's own texts
        f" from (select * from ({entries}) as found offset 0) as told"
    )


_ASKED_FOR: Final = "row_id in (select row_id from written)"
# What was there when a generation began was recorded then, whenever it was posted ($7): of that there is an index by row.
_WINDOWED: Final = _recorded(
    f"committed_at >= $4 and committed_at < $5 and {_ASKED_FOR}",
    f"op = 'snapshot' and $7::boolean and {_ASKED_FOR}",
)
_UNRECORDED: Final = f"""
with moved as (
    select * from ledger.transactions where cohort = $1 and posted_at >= $2 and posted_at < $3
), written as (
    {_written("transactions", "transaction_id", "-1", "moved r")}
    union all
    {
    _written(
        "entries",
        "transaction_id",
        "r.leg",
        "moved m join ledger.entries r on r.cohort = $1 and r.transaction_id = m.transaction_id",
    )
}
    union all
    {
    _written(
        "holds",
        "pending_id",
        "-1",
        "(select transaction_id as one from moved where kind = 'pending' union select target_id from moved where kind in ('post', 'void', 'expire')) m join ledger.holds r on r.cohort = $1 and r.pending_id = m.one",
    )
}
), recorded as materialized ({_WINDOWED})
select relation, row_id, leg, tenant, content::text as content, amount, count(*) over () as all_count
from written w
where not exists (select from recorded r
                  where r.relation = w.relation and r.row_id = w.row_id and r.leg = w.leg and r.content = w.content)
order by row_id limit $6
"""  # noqa: S608 - of this file's own texts
_RECORDABLE: Final = "select count(*) from ledger.transactions where cohort = $1 and posted_at >= $2 and posted_at < $3"
_FOUND: Final = f"""
select relation, row_id, leg, content::text as content, amount
from ({_recorded("row_id = any($2) and sequence > $3")}) as found order by sequence
"""  # noqa: S608 - of this file's own texts
# The slot tells how far the trail has come also where nothing is committed; a trail of another server has no slot here.
_TRAIL: Final = """
select l.sequence, greatest(l.commit_lsn, s.confirmed_flush_lsn)::text as place,
       (select max(committed_at) from ledger.audit_log where op in ('start', 'gap')) as begun
from (select sequence, commit_lsn from ledger.audit_log order by sequence desc limit 1) l
left join pg_replication_slots s on s.slot_name = (
    select convert_from(leaf, 'UTF8')::jsonb -> 'row' ->> 'slot' from ledger.audit_log
    where op in ('start', 'gap') order by sequence desc limit 1)
"""
_BEHIND: Final = "select greatest(pg_wal_lsn_diff($1::text::pg_lsn, $2::text::pg_lsn), 0)::bigint"
_PLACE: Final = "select pg_current_wal_insert_lsn()::text"

# From when on, and before when, transactions were posted.
Times = tuple[datetime, datetime]
# Relation, id and leg, of which a row is found again, and what it says.
Row = tuple[str, uuid.UUID, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """How far the trail has come.

    Attributes:
        sequence: of its last entry.
        place: in the write-ahead log; all that was committed before is recorded.
        begun_at: when its last generation began, with a snapshot of all that was there.
    """

    sequence: int
    place: str
    begun_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrecorded:
    """A row that the trail did not have, and what a person needs to find it."""

    tenant: str
    amount_minor: int


@dataclass(slots=True, kw_only=True)
class Look:
    """What a look did not find recorded.

    Attributes:
        lsn: where the write-ahead log was after it; a trail that is past it has all that was seen.
        sequence: the trail's last entry before it; what was seen and not recorded comes after.
        rows: what it did not find, at most as many as there was room for.
        whole: whether that is all.
        place: of the look, of one that looked at all that came since the last such.
    """

    lsn: str
    sequence: int
    rows: Mapping[Row, Unrecorded]
    whole: bool
    place: Place | None


@dataclass(slots=True)
class Audited:
    """How far a cohort has been compared with the trail.

    Attributes:
        place: everything that was committed before is recorded, or was told of.
        looks: those that wait for the trail.
    """

    place: Place | None = None
    looks: list[Look] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether a look at all that came since waits for the trail."""
        return any(look.place is not None for look in self.looks)

    @property
    def room_count(self) -> int:
        """How many rows more may wait."""
        return AWAITED_COUNT_MAX - sum(len(look.rows) for look in self.looks)


async def read_trail(connection: Connection) -> Trail | None:
    """Return how far the trail has come; to be read before the snapshot that looks into it. None when nothing is audited."""
    row = await connection.fetchrow(_TRAIL)
    if row is None:
        return None
    return Trail(sequence=row["sequence"], place=row["place"], begun_at=row["begun"] or NEVER)


async def look(
    connection: Connection,
    cohort: int,
    audited: Audited,
    trail: Trail,
    times: Times,
    *,
    place: Place | None,
) -> int:
    """Look for the transactions of a time in the trail, and have what is not there wait for it; returns how many there are.

    Args:
        connection: in a transaction that sees one moment.
        cohort: whose.
        audited: takes what waits.
        trail: as it was before that moment.
        times: from when on, and before when, the transactions were posted.
        place: of this moment, if all that came since the last place is looked at.
    """
    since, until = times
    room_count = max(audited.room_count, 0)
    rows = await connection.fetch(
        _UNRECORDED,
        cohort,
        since,
        until,
        *window(times),
        room_count,
        since - _WINDOW < trail.begun_at if since > EVER else True,
    )
    lsn = str(await connection.fetchval(_PLACE))
    found = {
        _row(row): Unrecorded(tenant=row["tenant"], amount_minor=int(row["amount"] or 0))
        for row in rows
    }
    whole = room_count > 0 and (not rows or rows[0]["all_count"] == len(rows))
    if found or not whole:
        audited.looks.append(
            Look(lsn=lsn, sequence=trail.sequence, rows=found, whole=whole, place=place)
        )
    elif place is not None:
        audited.place = place
    return int(await connection.fetchval(_RECORDABLE, cohort, since, until))


def window(times: Times) -> Times:
    """Return when transactions of a time are recorded, if clocks agree by a minute: it is no longer than the time and two of them."""
    since, until = times
    return (
        since - _WINDOW if since > EVER else EVER,
        until + _WINDOW if until < NEVER else NEVER,
    )


async def judge(connection: Connection, cohort: int, audited: Audited, trail: Trail) -> Result:
    """Return which rows of earlier looks the trail does not have, now that it is past them."""
    waiting: list[Look] = []
    missing: list[dict[str, Any]] = []
    examined_count, behind_bytes, whole = 0, 0, True
    for one in audited.looks:
        behind = await connection.fetchval(_BEHIND, one.lsn, trail.place)
        if behind:
            behind_bytes = max(behind_bytes, behind)
            waiting.append(one)
            continue
        examined_count += len(one.rows)
        missing += await _missing(connection, cohort, one)
        whole &= one.whole
        if one.place is not None and one.whole:
            audited.place = one.place
    audited.looks = waiting
    reason = ""
    if waiting:
        reason = f"the audit trail is {behind_bytes} bytes of the log behind"
    elif not whole:
        reason = "more rows were not in the audit trail than are looked for at once"
    return Result(
        check=Check.AUDIT,
        drift_count=len(missing),
        drift_value_minor=sum(one["drift_value_minor"] for one in missing),
        examined_count=examined_count,
        findings=tuple(missing[:FINDINGS_COUNT_MAX]),
        reason=reason,
    )


async def _missing(connection: Connection, cohort: int, one: Look) -> list[dict[str, Any]]:
    left = dict(one.rows)
    said: dict[tuple[str, uuid.UUID, int], int] = {}
    # What was late was recorded since. What is not there either may have been recorded at another time than its own.
    for after in (one.sequence, -1):
        if not left:
            break
        ids = list({row_id for _, row_id, _, _ in left})
        for row in await connection.fetch(_FOUND, cohort, ids, after):
            key = _row(row)
            said[key[:3]] = int(row["amount"] or 0)
            left.pop(key, None)
    return [
        {
            "cohort": cohort,
            "table": relation,
            "transaction_id": str(row_id),
            **({"leg": leg} if leg >= 0 else {}),
            "tenant": unrecorded.tenant,
            "row": content,
            "amount_minor": unrecorded.amount_minor,
            "audited_amount_minor": said.get((relation, row_id, leg)),
            "drift_value_minor": abs(
                unrecorded.amount_minor - said.get((relation, row_id, leg), 0)
            ),
        }
        for (relation, row_id, leg, content), unrecorded in left.items()
    ]


def absent() -> Result:
    """Return what is known where nothing is audited."""
    return Result(check=Check.AUDIT, absent=True, reason="nothing has been audited")


def waiting(audited: Audited) -> str:
    """Return why nothing is known of what was just looked at, or nothing."""
    if not audited.looks:
        return ""
    count = sum(len(one.rows) for one in audited.looks)
    more = "" if all(one.whole for one in audited.looks) else "more than "
    return f"{more}{count} rows are not in the audit trail yet"


def copied(audited: Audited) -> Audited:
    """Return what a pass may change, and drop when it breaks off."""
    return Audited(place=audited.place, looks=list(audited.looks))


def _row(row: Any) -> Row:
    return row["relation"], uuid.UUID(int=row["row_id"].int), int(row["leg"]), row["content"]
