"""What is asked of a cohort's books. Each comparison returns only what does not agree.

Their rows are (number, value, detail): how many things differ there, by how much in minor units, and what a person needs to find
them. `$1` is the cohort; of those that look at a stretch of time, `$2` is the moment it begins with and `$3` the one it ends
before; of those that look at a stretch of accounts, `($2, $3)` is the account before its first and `($4, $5)` its last, null for all
that there are.
"""

from __future__ import annotations

from typing import Final


def compared(select: str) -> str:
    """Return a statement for the first findings of a comparison, each beside the sums of all."""
    return f"""
    select number, value, detail::text as detail, sum(number) over ()::bigint as all_number, sum(value) over () as all_value
    from ({select}) as found order by detail limit 10"""  # noqa: S608 - of this file's own texts


# A stretch of accounts.
_WITHIN: Final = "({alias}.tenant, {alias}.account_id) > ($2::text, $3::text) and ($4::text is null or ({alias}.tenant, {alias}.account_id) <= ($4, $5::text))"

# What was taken off the stream, by its control totals, against the transactions of the same database transaction.
INTAKE: Final = """
with told as (
    select decided_at, sum(posted_count) as posted, sum(rejected_count) as rejected, sum(amount_minor) as amount
    from ledger.intake where cohort = $1 and decided_at >= $2 and decided_at < $3 and dead_count = 0 group by decided_at
), found as (
    select posted_at, count(*) filter (where state = 'posted') as posted, count(*) filter (where state = 'rejected') as rejected,
           coalesce(sum(amount_minor), 0) as amount
    from ledger.transactions where cohort = $1 and posted_at >= $2 and posted_at < $3 group by posted_at
)
select greatest(1, abs(coalesce(t.posted, 0) - coalesce(f.posted, 0)) + abs(coalesce(t.rejected, 0) - coalesce(f.rejected, 0))) as number,
       abs(coalesce(t.amount, 0) - coalesce(f.amount, 0)) as value,
       jsonb_build_object('decided_at', coalesce(t.decided_at, f.posted_at),
           'taken', jsonb_build_object('posted', coalesce(t.posted, 0), 'rejected', coalesce(t.rejected, 0), 'amount_minor', coalesce(t.amount, 0)),
           'transactions', jsonb_build_object('posted', coalesce(f.posted, 0), 'rejected', coalesce(f.rejected, 0), 'amount_minor', coalesce(f.amount, 0))) as detail
from told t full join found f on f.posted_at = t.decided_at
where coalesce(t.posted, 0) <> coalesce(f.posted, 0) or coalesce(t.rejected, 0) <> coalesce(f.rejected, 0)
   or coalesce(t.amount, 0) <> coalesce(f.amount, 0)
"""
# Of what was taken before $2.
INTAKE_FROM: Final = (
    "select min(decided_at) from ledger.intake where cohort = $1 and decided_at < $2"
)
TRANSACTIONS_COUNT: Final = "select count(*) from ledger.transactions where cohort = $1 and posted_at >= $2 and posted_at < $3"
TIMES: Final = "select min(posted_at) as oldest, max(posted_at) as newest from ledger.transactions where cohort = $1"

# A movement that was posted has two entries, which sum to zero; nothing else has any.
ENTRIES: Final = """
with decided as (
    select * from ledger.transactions where cohort = $1 and posted_at >= $2 and posted_at < $3
), sums as (
    select d.transaction_id, d.tenant, d.kind, d.state, d.amount_minor,
           count(e.leg) as legs, coalesce(sum(e.amount_minor), 0) as total,
           coalesce(sum(e.amount_minor) filter (where e.amount_minor > 0), 0) as moved,
           coalesce(bool_and(e.tenant = d.tenant and e.account_id = case when e.amount_minor < 0 then d.debit_account else d.credit_account end), true) as sides,
           d.state = 'posted' and d.kind in ('transfer', 'post', 'reversal') as moves
    from decided d left join ledger.entries e on e.cohort = $1 and e.transaction_id = d.transaction_id
    group by d.transaction_id, d.tenant, d.kind, d.state, d.amount_minor
)
select 1::bigint as number, greatest(abs(total), abs(case when moves then amount_minor else 0 end - moved)) as value,
       jsonb_build_object('transaction_id', transaction_id, 'tenant', tenant, 'kind', kind, 'state', state, 'amount_minor', amount_minor,
           'entries', legs, 'entries_sum_minor', total, 'moved_minor', moved, 'sides_agree', sides) as detail
from sums
where case when moves then legs <> 2 or total <> 0 or moved <> amount_minor or not sides else legs <> 0 end
"""
# Only whoever takes the foreign key away can add one.
ORPHANS: Final = f"""
select 1::bigint as number, abs(e.amount_minor) as value,
       jsonb_build_object('transaction_id', e.transaction_id, 'tenant', e.tenant, 'account_id', e.account_id, 'amount_minor', e.amount_minor,
           'transaction', null) as detail
from ledger.entries e
where e.cohort = $1 and {_WITHIN.format(alias="e")} and not exists (
    select from ledger.transactions t where t.cohort = $1 and t.transaction_id = e.transaction_id)
"""  # noqa: S608 - of this file's own texts

# Each entry goes on from the one before it of the same account, without a gap in the versions.
_BROKEN: Final = """
select 1::bigint as number, abs(balance_after_minor - coalesce(balance_before, 0) - amount_minor) as value,
       jsonb_build_object('tenant', tenant, 'account_id', account_id, 'account_version', account_version, 'transaction_id', transaction_id,
           'balance_before_minor', balance_before, 'version_before', version_before, 'amount_minor', amount_minor,
           'balance_after_minor', balance_after_minor) as detail
from links
where balance_after_minor <> coalesce(balance_before, 0) + amount_minor or account_version <> coalesce(version_before, 0) + 1
"""
CHAIN: Final = f"""
with links as (
    select e.*, b.balance_after_minor as balance_before, b.account_version as version_before
    from ledger.transactions t
    join ledger.entries e on e.cohort = $1 and e.transaction_id = t.transaction_id
    left join lateral (
        select p.balance_after_minor, p.account_version from ledger.entries p
        where p.cohort = $1 and p.tenant = e.tenant and p.account_id = e.account_id and p.account_version < e.account_version
        order by p.account_version desc limit 1) b on true
    where t.cohort = $1 and t.posted_at >= $2 and t.posted_at < $3
)
{_BROKEN}"""  # noqa: S608 - of this file's own texts
CHAIN_WHOLE: Final = f"""
with links as (
    select e.*, lag(balance_after_minor) over account as balance_before, lag(account_version) over account as version_before
    from ledger.entries e where cohort = $1 and {_WITHIN.format(alias="e")}
    window account as (partition by tenant, account_id order by account_version)
)
{_BROKEN}"""  # noqa: S608 - of this file's own texts
ENTRIES_COUNT: Final = (
    f"select count(*) from ledger.entries e where cohort = $1 and {_WITHIN.format(alias='e')}"  # noqa: S608 - of this file's own texts
)

# Where a stretch of accounts ends that begins after ($2, $3) and holds at most $4: none when it is the last.
ACCOUNTS_END: Final = """
select tenant, account_id from ledger.accounts where cohort = $1 and (tenant, account_id) > ($2, $3)
order by tenant, account_id offset $4 - 1 limit 1
"""
# Between ($2, $3), which is not in it, and ($4, $5), which is; and accounts that moved since $6.
_LOOKED_AT: Final = """
looked_at as (
    select a.* from ledger.accounts a
    where a.cohort = $1 and (a.tenant, a.account_id) > ($2, $3) and ($4::text is null or (a.tenant, a.account_id) <= ($4, $5))
    union
    select a.* from ledger.transactions t
    join ledger.entries e on e.cohort = $1 and e.transaction_id = t.transaction_id
    join ledger.accounts a on a.cohort = $1 and a.tenant = e.tenant and a.account_id = e.account_id
    where t.cohort = $1 and t.posted_at >= $6::timestamptz
)"""
BALANCE: Final = f"""
with {_LOOKED_AT}
select 1::bigint as number, abs(a.balance_minor - coalesce(e.balance_after_minor, 0)) as value,
       jsonb_build_object('tenant', a.tenant, 'account_id', a.account_id, 'currency', a.currency, 'balance_minor', a.balance_minor,
           'version', a.version, 'last_entry_balance_minor', e.balance_after_minor, 'last_entry_version', e.account_version) as detail
from looked_at a
left join lateral (
    select balance_after_minor, account_version from ledger.entries
    where cohort = $1 and tenant = a.tenant and account_id = a.account_id order by account_version desc limit 1) e on true
where a.balance_minor <> coalesce(e.balance_after_minor, 0) or a.version <> coalesce(e.account_version, 0)
"""  # noqa: S608 - of this file's own texts
BALANCE_WHOLE: Final = f"""
with sums as (
    select tenant, account_id, sum(amount_minor) as total, count(*) as entries, max(account_version) as last_version
    from ledger.entries e where cohort = $1 and {_WITHIN.format(alias="e")} group by tenant, account_id
)
select 1::bigint as number, abs(coalesce(a.balance_minor, 0) - coalesce(s.total, 0)) as value,
       jsonb_build_object('tenant', coalesce(a.tenant, s.tenant), 'account_id', coalesce(a.account_id, s.account_id), 'currency', a.currency,
           'balance_minor', a.balance_minor, 'version', a.version, 'entries_sum_minor', s.total, 'entries', s.entries,
           'last_entry_version', s.last_version, 'last_entry_balance_minor', e.balance_after_minor) as detail
from (select * from ledger.accounts a where cohort = $1 and {_WITHIN.format(alias="a")}) a
full join sums s on s.tenant = a.tenant and s.account_id = a.account_id
left join ledger.entries e on e.cohort = $1 and e.tenant = s.tenant and e.account_id = s.account_id and e.account_version = s.last_version
where a.tenant is null or a.balance_minor <> coalesce(s.total, 0) or a.balance_minor <> coalesce(e.balance_after_minor, 0)
   or a.version <> coalesce(s.entries, 0) or a.version <> coalesce(s.last_version, 0)
"""  # noqa: S608 - of this file's own texts
ACCOUNTS_COUNT: Final = (
    f"select count(*) from ledger.accounts a where cohort = $1 and {_WITHIN.format(alias='a')}"  # noqa: S608 - of this file's own texts
)
# Where a slice of accounts ends that begins after ($2, $3): at most $4 of them, with at most $5 entries unless it is one.
SLICE_END: Final = """
select tenant, account_id from (
    select tenant, account_id, sum(greatest(version, 0)) over account as entries, row_number() over account as number
    from (select tenant, account_id, version from ledger.accounts where cohort = $1 and (tenant, account_id) > ($2, $3)
          order by tenant, account_id limit $4) as next
    window account as (order by tenant, account_id)) as counted
where entries <= $5::bigint or number = 1 order by number desc limit 1
"""

# What an account has reserved is what its open pending transfers hold.
PENDING: Final = """
with held as (
    select tenant, account_id, sum(debit) as debit, sum(credit) as credit
    from (select tenant, debit_account as account_id, amount_minor as debit, 0 as credit
          from ledger.holds where cohort = $1 and state = 'open'
          union all
          select tenant, credit_account, 0, amount_minor from ledger.holds where cohort = $1 and state = 'open') as sides
    group by tenant, account_id
)
select 1::bigint as number,
       abs(coalesce(a.debits_pending_minor, 0) - coalesce(h.debit, 0)) + abs(coalesce(a.credits_pending_minor, 0) - coalesce(h.credit, 0)) as value,
       jsonb_build_object('tenant', coalesce(a.tenant, h.tenant), 'account_id', coalesce(a.account_id, h.account_id),
           'debits_pending_minor', a.debits_pending_minor, 'held_debits_minor', coalesce(h.debit, 0),
           'credits_pending_minor', a.credits_pending_minor, 'held_credits_minor', coalesce(h.credit, 0)) as detail
from (select * from ledger.accounts where cohort = $1 and (debits_pending_minor <> 0 or credits_pending_minor <> 0)) a
full join held h on h.tenant = a.tenant and h.account_id = a.account_id
where coalesce(a.debits_pending_minor, 0) <> coalesce(h.debit, 0) or coalesce(a.credits_pending_minor, 0) <> coalesce(h.credit, 0)
"""
HOLDS_COUNT: Final = "select count(*) from ledger.holds where cohort = $1 and state = 'open'"

# Money is neither made nor lost: in each currency all balances sum to zero.
ZERO_SUM: Final = """
select 1::bigint as number, abs(sum(balance_minor)) as value,
       jsonb_build_object('currency', currency, 'balances_sum_minor', sum(balance_minor)) as detail
from ledger.accounts where cohort = $1 group by currency having sum(balance_minor) <> 0
"""
CURRENCIES_COUNT: Final = "select count(distinct currency) from ledger.accounts where cohort = $1"

# The numbers that were taken of the stream that began at $3, above $2: their gaps, and the highest.
GAPS: Final = """
select before + 1 as first, first_sequence - 1 as last
from (select first_sequence, max(last_sequence) over (order by first_sequence rows between unbounded preceding and 1 preceding) as before
      from ledger.intake where cohort = $1 and last_sequence > $2 and stored_at >= $3) as runs
where first_sequence > before + 1 order by 1
"""
TAKEN: Final = """
select min(first_sequence) as lowest, max(last_sequence) as highest, count(distinct last_sequence) filter (where dead_count > 0) as dead,
       coalesce(sum(posted_count), 0)::bigint as posted, coalesce(sum(rejected_count), 0)::bigint as rejected,
       coalesce(sum(repeated_count), 0)::bigint as repeated
from ledger.intake where cohort = $1 and last_sequence > $2 and stored_at >= $3
"""
INTAKE_SINCE: Final = "select applied_at from ledger.schema_version where version = 3"
# A stream is known by its numbers: the server's clock may have been ahead when it was made ($2), and what it stored next is
# then older than the stream. Of control totals that are, those are this stream's that begin with the number 1, come after
# the last that only an older stream can have given out, and go on to where those since begin ($3).
BEGAN: Final = """
with older as (
    select * from ledger.intake where cohort = $1 and stored_at < $2 and last_sequence < $3
      and stored_at > coalesce((select max(stored_at) from ledger.intake where cohort = $1 and stored_at < $2 and last_sequence >= $3), '-infinity')
), began as (
    select max(stored_at) as at from older where first_sequence = 1
)
select at from began where (select max(last_sequence) from older where stored_at >= at) >= $4
"""
# Messages that a poster gave up. What a person has written off has an amount of -1, and no letter. Of both there is an index, which knows
# them by these very conditions.
DEAD: Final = """
select distinct d.last_sequence as number from ledger.intake d
where d.cohort = $1 and d.dead_count > 0 and d.amount_minor = 0 and d.stored_at >= $2
  and not exists (select from ledger.intake w where w.cohort = $1 and w.amount_minor = -1 and w.stored_at >= $2
                  and d.last_sequence between w.first_sequence and w.last_sequence)
order by 1 limit $3
"""
