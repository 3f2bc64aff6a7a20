"""What must be true of books that came back: each check is a query that counts what is wrong."""

from __future__ import annotations

from typing import Any, Final

from sentinel.reference.ledger.reconcile import wrong_payouts
from sentinel.reference.ledger.wire.postgres import Connection

_COUNTED: Final = (
    "tenants",
    "accounts",
    "transactions",
    "entries",
    "holds",
    "batches",
    "disbursements",
)
_CHECKS: Final = {
    # Of each transaction that moved something, the entries cancel out.
    "transactions_not_balanced": """
select count(*) from (select 1 from ledger.entries group by cohort, transaction_id having sum(amount_minor) <> 0) wrong
""",
    # Whatever one account has, others lack: of each currency, all entries sum to zero.
    "currencies_not_zero": """
select count(*) from (select 1 from ledger.entries e join ledger.accounts a using (cohort, tenant, account_id)
                      group by a.currency having sum(e.amount_minor) <> 0) wrong
""",
    "balances_not_entries": """
select count(*) from ledger.accounts a
left join (select cohort, tenant, account_id, sum(amount_minor) as moved from ledger.entries group by 1, 2, 3) e
    using (cohort, tenant, account_id)
where a.balance_minor <> coalesce(e.moved, 0)
""",
    "balances_not_last_entry": """
select count(*) from ledger.accounts a
join (select distinct on (cohort, tenant, account_id) cohort, tenant, account_id, balance_after_minor
      from ledger.entries order by cohort, tenant, account_id, account_version desc) e using (cohort, tenant, account_id)
where a.balance_minor <> e.balance_after_minor
""",
    "versions_with_gaps": """
select count(*) from (select 1 from ledger.entries group by cohort, tenant, account_id
                      having count(*) <> max(account_version) - min(account_version) + 1) wrong
""",
    "posted_without_entries": """
select count(*) from ledger.transactions t where t.state = 'posted' and t.kind in ('transfer', 'post', 'reversal')
and not exists (select 1 from ledger.entries e where e.cohort = t.cohort and e.transaction_id = t.transaction_id)
""",
    # What an account has reserved is what its open pending transfers hold.
    "pending_not_holds": """
select count(*) from (
    select cohort, tenant, account_id, debits_pending_minor as debit, credits_pending_minor as credit from ledger.accounts) a
full join (
    select cohort, tenant, account_id, sum(debit) as debit, sum(credit) as credit
    from (select cohort, tenant, debit_account as account_id, amount_minor as debit, 0 as credit from ledger.holds where state = 'open'
          union all
          select cohort, tenant, credit_account, 0, amount_minor from ledger.holds where state = 'open') as sides
    group by 1, 2, 3) h using (cohort, tenant, account_id)
where coalesce(a.debit, 0) <> coalesce(h.debit, 0) or coalesce(a.credit, 0) <> coalesce(h.credit, 0)
""",
    # Each payment out is in the books as the rail has said.
    "payouts_not_booked": f"select count(*) from ({wrong_payouts()}) wrong",  # noqa: S608 - of texts of ours
}


async def look_over(connection: Connection) -> dict[str, Any]:
    """Return how many rows there are, how many break each rule, and how new the newest is.

    `ok` says whether none breaks any.
    """
    counts = {
        table: await connection.fetchval(f"select count(*) from ledger.{table}")  # noqa: S608 - names of ours
        for table in _COUNTED
    }
    wrong = {name: await connection.fetchval(query) for name, query in _CHECKS.items()}
    newest = await connection.fetchval(
        "select extract(epoch from max(posted_at))::float8 from ledger.transactions"
    )
    return {
        "rows": counts,
        "wrong": wrong,
        "newest_posted_s": newest,
        "schema_version": await connection.fetchval(
            "select max(version) from ledger.schema_version"
        ),
        "ok": not any(wrong.values()),
    }
