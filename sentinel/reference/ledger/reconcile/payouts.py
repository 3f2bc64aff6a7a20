"""Each payment out against the books: what the rail has said, and what was done of it.

The judgement is the table of `domain/payouts.py`, which the statement holds as rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import orjson

from sentinel.reference.ledger.domain.disbursement import OWN_KEYS, STEP_OF, DisbursementState
from sentinel.reference.ledger.domain.payouts import AGREED, BEFORE, Booked
from sentinel.reference.ledger.reconcile.place import EVER
from sentinel.reference.ledger.reconcile.report import Check, Result
from sentinel.reference.ledger.reconcile.statements import compared
from sentinel.reference.ledger.wire.postgres import Connection

ALL: Final = "ledger.disbursements d"
_OF_COHORT: Final = "(select * from ledger.disbursements where cohort = $1) d"
# Those that were noted or moved since a moment. Whatever else becomes of one is no doing of the ledger's, and found by a full pass.
_SINCE: Final = """
(select n.pending_id from ledger.disbursements n where n.cohort = $1 and n.changed_at >= $2
 union
 select case t.kind when 'pending' then t.transaction_id when 'reversal' then p.target_id else t.target_id end
 from ledger.transactions t
 left join lateral (
     select x.target_id from ledger.transactions x
     where t.kind = 'reversal' and x.cohort = $1 and x.transaction_id = t.target_id limit 1) p on true
 where t.cohort = $1 and t.posted_at >= $2 and t.kind <> 'transfer') ids
cross join lateral (select * from ledger.disbursements x where x.cohort = $1 and x.pending_id = ids.pending_id limit 1) d
"""


async def compare_payouts(connection: Connection, cohort: int, since: datetime) -> Result:
    """Return which payments out the books do not have as the rail has said: those that were noted or moved since, or all since EVER."""
    these, arguments = (_OF_COHORT, (cohort,)) if since == EVER else (_SINCE, (cohort, since))
    rows = await connection.fetch(compared(wrong_payouts(these)), *arguments)
    examined_count = await connection.fetchval(
        f"select count(*) from {these}",  # noqa: S608 - of this file's own texts
        *arguments,
    )
    return Result(
        check=Check.PAYOUTS,
        drift_count=int(rows[0]["all_number"]) if rows else 0,
        drift_value_minor=int(rows[0]["all_value"] or 0) if rows else 0,
        examined_count=int(examined_count),
        findings=tuple(
            {
                "cohort": cohort,
                **orjson.loads(row["detail"]),
                "drift_value_minor": int(row["value"] or 0),
            }
            for row in rows
        ),
    )


def wrong_payouts(these: str = ALL) -> str:
    """Return a select of those payments that the books do not have as the rail has said: number, value, detail.

    Args:
        these: what stands behind `from` and calls them `d`.

    A step waits that was not decided, while the disburser will say it again, or within ten minutes of the rail's word. Of a
    backup that is older than a column the column is not asked for by its name. What belongs to a payment is looked for row by
    row, which the limits see to: of tables that look empty, all of one would be read for each row of another.
    """
    return f"""
with agreed (state, hold, in_full, moved_back, while_waiting) as (values {_rows()}),
seen as (
    select d.cohort, d.pending_id, d.tenant, d.amount_minor, d.currency, d.state, to_jsonb(d) as noted,
           h.state as hold, h.debit_account, h.credit_account,
           h.amount_minor = d.amount_minor and h.currency = d.currency and h.tenant = d.tenant as is_same,
           case when h.state = 'open' then h.amount_minor else 0 end as reserved,
           case when h.state = 'posted' then coalesce(r.amount_minor, 0) else 0 end as posted,
           b.transaction_id is not null as moved_back,
           o.transaction_id is null and (d.next_at is not null or d.changed_at > now() - interval '10 minutes') as waits
    from {these}
    left join ledger.holds h on h.cohort = d.cohort and h.pending_id = d.pending_id
    left join lateral (
        select x.transaction_id, x.amount_minor from ledger.transactions x
        where x.cohort = d.cohort and x.transaction_id = h.resolved_by limit 1) r on true
    left join lateral (
        select x.transaction_id from ledger.transactions x
        where x.cohort = d.cohort and x.target_id = h.resolved_by and x.kind = 'reversal' and x.state = 'posted' limit 1) b on true
    left join lateral (
        select x.transaction_id from ledger.transactions x
        where x.cohort = d.cohort and x.tenant = d.tenant and x.item is null
          and x.idempotency_key = {_literal(OWN_KEYS)} || case d.state {_kinds()} end || ' ' || d.pending_id::text limit 1) o on true
)
select 1::bigint as number,
       greatest(abs(case when s.state = {_literal(DisbursementState.SETTLED)} then s.amount_minor else 0 end
                    - case when s.moved_back then 0 else s.posted end),
                abs(case when s.state in ({_OPEN}) then s.amount_minor else 0 end - s.reserved)) as value,
       jsonb_build_object('transaction_id', s.pending_id, 'tenant', s.tenant, 'amount_minor', s.amount_minor, 'currency', s.currency,
           'disbursement', s.state, 'pending', s.hold, 'posted_minor', s.posted, 'moved_back', s.moved_back, 'step_waits', s.waits,
           'unbooked_reason', s.noted ->> 'unbooked_reason') as detail
from seen s
where not (s.is_same is true and exists (
        select from agreed a
        where a.state = s.state and a.hold = s.hold and a.in_full = (s.hold = 'posted' and s.posted = s.amount_minor)
          and a.moved_back = s.moved_back and (s.waits or not a.while_waiting)))
  and (s.noted ->> 'corrected_by' is null or not exists (
        select from (
            select * from ledger.transactions x
            where x.cohort = s.cohort and x.transaction_id = (s.noted ->> 'corrected_by')::uuid limit 1) c
        where c.tenant = s.tenant and c.kind = 'transfer' and c.state = 'posted' and c.currency = s.currency
          and (c.debit_account, c.credit_account) in ((s.debit_account, s.credit_account), (s.credit_account, s.debit_account))))
"""  # noqa: S608 - of this project's own names


def _rows() -> str:
    return ", ".join(
        _row(state, booked, while_waiting=while_waiting)
        for table, while_waiting in ((AGREED, False), (BEFORE, True))
        for state, many in table.items()
        for booked in many
    )


def _row(state: DisbursementState, booked: Booked, *, while_waiting: bool) -> str:
    texts = (_literal(state), _literal(booked.hold))
    flags = (booked.in_full, booked.moved_back, while_waiting)
    return f"({', '.join((*texts, *(str(flag).lower() for flag in flags)))})"


def _kinds() -> str:
    return " ".join(
        f"when {_literal(state)} then {_literal(kind)}" for state, kind in STEP_OF.items()
    )


def _literal(name: str) -> str:
    """Return one of the domain's names, which hold no quotes, as a text of SQL."""
    return f"'{name}'"


def _listed(states: Iterable[DisbursementState]) -> str:
    return ", ".join(_literal(state) for state in states)


_OPEN: Final = _listed(state for state in DisbursementState if state not in STEP_OF)
