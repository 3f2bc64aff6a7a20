-- Tables in partitions by cohort, pending transfers, and roles that see no more than they must.
--
-- A tenant belongs to one cohort for good, so every key begins with the cohort, and every query names it: a filter by tenant
-- alone prunes no partition. Row-level security stands on the parents and on each partition, for a partition that is asked by its
-- own name does not know its parent's; and no role is granted anything on a partition.

do $$
declare role text;
begin
    foreach role in array array['ledger_owner', 'ledger_poster', 'ledger_reader', 'ledger_audit'] loop
        begin
            execute format('create role %I nologin nosuperuser nobypassrls', role);
        exception when duplicate_object or unique_violation then
            -- Roles belong to the whole server: another of its databases has them already.
            null;
        end;
    end loop;
    if not (select rolsuper from pg_roles where rolname = current_user) then
        grant ledger_owner to current_user;
    end if;
end $$;

alter schema ledger rename to ledger_before_cohorts;
create schema ledger authorization ledger_owner;
alter table ledger_before_cohorts.schema_version set schema ledger;

create table ledger.tenants (
    tenant          text primary key,
    cohort          smallint not null,
    tier            text not null default 'standard' check (tier in ('standard', 'enterprise')),
    created_at      timestamptz not null default now(),
    unique (cohort, tenant)
);

create table ledger.accounts (
    cohort                smallint not null,
    tenant                text not null,
    account_id            text not null,
    currency              text not null,
    balance_minor         bigint not null,
    debits_pending_minor  bigint not null default 0 check (debits_pending_minor >= 0),
    credits_pending_minor bigint not null default 0 check (credits_pending_minor >= 0),
    allow_negative        boolean not null,
    version               bigint not null,
    opened_at             timestamptz not null default now(),
    primary key (cohort, tenant, account_id),
    foreign key (cohort, tenant) references ledger.tenants (cohort, tenant),
    check (allow_negative or balance_minor - debits_pending_minor >= 0)
) partition by list (cohort);

create table ledger.transactions (
    cohort          smallint not null,
    transaction_id  uuid not null,
    tenant          text not null,
    idempotency_key text not null,
    item            int check (item >= 0),
    batch_id        uuid,
    fingerprint     text not null,
    kind            text not null check (kind in ('transfer', 'pending', 'post', 'void', 'expire', 'reversal')),
    state           text not null check (state in ('posted', 'rejected')),
    reason          text check ((state = 'rejected') = (reason is not null)),
    target_id       uuid check ((kind in ('transfer', 'pending')) = (target_id is null)),
    debit_account   text,
    credit_account  text,
    amount_minor    bigint check (amount_minor > 0),
    currency        text,
    expires_at      timestamptz,
    accepted_at     timestamptz not null,
    posted_at       timestamptz not null,
    primary key (cohort, transaction_id),
    unique nulls not distinct (cohort, tenant, idempotency_key, item),
    check ((batch_id is null) = (item is null)),
    -- A step whose target is not known moves nothing between nobody; whatever else is decided has all four.
    check (num_nonnulls(debit_account, credit_account, amount_minor, currency) in (0, 4)),
    check (state = 'rejected' or debit_account is not null)
) partition by list (cohort);
create unique index transactions_reversed_once on ledger.transactions (cohort, target_id)
    where kind = 'reversal' and state = 'posted';
create index transactions_batch on ledger.transactions (cohort, batch_id, item) where batch_id is not null;

create table ledger.entries (
    cohort              smallint not null,
    transaction_id      uuid not null,
    leg                 smallint not null,
    tenant              text not null,
    account_id          text not null,
    amount_minor        bigint not null check (amount_minor <> 0),
    balance_after_minor bigint not null,
    account_version     bigint not null,
    primary key (cohort, transaction_id, leg),
    unique (cohort, tenant, account_id, account_version),
    foreign key (cohort, transaction_id) references ledger.transactions,
    foreign key (cohort, tenant, account_id) references ledger.accounts
) partition by list (cohort);

create table ledger.batches (
    cohort          smallint not null,
    batch_id        uuid not null,
    tenant          text not null,
    idempotency_key text not null,
    fingerprint     text not null,
    items_count     int not null check (items_count > 0),
    accepted_at     timestamptz not null,
    primary key (cohort, batch_id),
    unique (cohort, tenant, idempotency_key),
    foreign key (cohort, tenant) references ledger.tenants (cohort, tenant)
) partition by list (cohort);

-- The one row of a pending transfer that changes, once: when it is posted, voided or expired.
create table ledger.holds (
    cohort         smallint not null,
    pending_id     uuid not null,
    tenant         text not null,
    debit_account  text not null,
    credit_account text not null,
    amount_minor   bigint not null check (amount_minor > 0),
    currency       text not null,
    expires_at     timestamptz not null,
    state          text not null check (state in ('open', 'posted', 'voided', 'expired')),
    resolved_by    uuid check ((state = 'open') = (resolved_by is null)),
    primary key (cohort, pending_id),
    foreign key (cohort, pending_id) references ledger.transactions,
    foreign key (cohort, resolved_by) references ledger.transactions (cohort, transaction_id),
    foreign key (cohort, tenant, debit_account) references ledger.accounts (cohort, tenant, account_id),
    foreign key (cohort, tenant, credit_account) references ledger.accounts (cohort, tenant, account_id)
) partition by list (cohort);
create index holds_open on ledger.holds (cohort, expires_at) where state = 'open';

-- Whoever holds a superuser's password can undo these; the audit's checkpoints, kept elsewhere, tell of it.
create function ledger.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the table % is append only', tg_table_name using errcode = 'insufficient_privilege';
end $$;

-- Everything that a cohort needs. Statement triggers do not reach from a parent to its partitions, and TRUNCATE has no others.
create function ledger.make_cohort(cohort smallint) returns void language plpgsql as $$
declare parent text; part text;
begin
    foreach parent in array array['accounts', 'transactions', 'entries', 'batches', 'holds'] loop
        part := format('%s_c%s', parent, cohort);
        execute format('create table ledger.%I partition of ledger.%I for values in (%s)', part, parent, cohort);
        execute format('alter table ledger.%I enable row level security', part);
        execute format('alter table ledger.%I force row level security', part);
        if parent in ('transactions', 'entries', 'batches') then
            execute format('create trigger refuse_truncate before truncate on ledger.%I execute function ledger.refuse_change()', part);
        end if;
    end loop;
end $$;

do $$
begin
    for cohort in 0..3 loop
        perform ledger.make_cohort(cohort::smallint);
    end loop;
end $$;

-- What was there before cohorts. A name's cohort is its crc32, as the ledger reckons it for a tenant that is new; here, where no
-- such function is, they are dealt out in turn, and the table is what counts from now on.
insert into ledger.tenants (tenant, cohort)
select tenant, (row_number() over (order by tenant) % 4)::smallint
from (select distinct tenant from ledger_before_cohorts.accounts
      union select distinct tenant from ledger_before_cohorts.transactions) as known;
insert into ledger.accounts (cohort, tenant, account_id, currency, balance_minor, allow_negative, version, opened_at)
select t.cohort, a.tenant, a.account_id, a.currency, a.balance_minor, a.allow_negative, a.version, a.opened_at
from ledger_before_cohorts.accounts a join ledger.tenants t using (tenant);
insert into ledger.transactions
    (cohort, transaction_id, tenant, idempotency_key, fingerprint, kind, state, reason, debit_account, credit_account,
     amount_minor, currency, accepted_at, posted_at)
select t.cohort, x.transaction_id, x.tenant, x.idempotency_key, x.fingerprint, 'transfer', x.state, x.reason, x.debit_account,
       x.credit_account, x.amount_minor, x.currency, x.accepted_at, x.posted_at
from ledger_before_cohorts.transactions x join ledger.tenants t using (tenant);
insert into ledger.entries (cohort, transaction_id, leg, tenant, account_id, amount_minor, balance_after_minor, account_version)
select t.cohort, e.transaction_id, e.leg, e.tenant, e.account_id, e.amount_minor, e.balance_after_minor, e.account_version
from ledger_before_cohorts.entries e join ledger.tenants t using (tenant);
do $$
declare parent text;
begin
    foreach parent in array array['accounts', 'transactions', 'entries', 'batches', 'holds'] loop
        execute format('alter table ledger.%I enable row level security', parent);
        execute format('alter table ledger.%I force row level security', parent);
        -- The poster takes every tenant's transfers; that an entry is its account's tenant's is held by the foreign keys.
        execute format('create policy poster on ledger.%I to ledger_poster using (true) with check (true)', parent);
        execute format('create policy audit on ledger.%I for select to ledger_audit using (true)', parent);
        -- Nobody has said who asks: no rows. A setting that a transaction has left behind is an empty text, not a number.
        execute format(
            'create policy reader on ledger.%I for select to ledger_reader using ('
            'cohort = (select nullif(current_setting(''ledger.cohort'', true), '''')::smallint) '
            'and tenant = (select nullif(current_setting(''ledger.tenant'', true), '''')))', parent);
    end loop;
    foreach parent in array array['transactions', 'entries', 'batches'] loop
        execute format(
            'create trigger refuse_change before update or delete on ledger.%I for each row execute function ledger.refuse_change()', parent);
        execute format('create trigger refuse_truncate before truncate on ledger.%I execute function ledger.refuse_change()', parent);
    end loop;
end $$;

grant usage on schema ledger to ledger_poster, ledger_reader, ledger_audit;
grant select on ledger.schema_version, ledger.tenants to ledger_poster, ledger_reader, ledger_audit;
grant select, insert on ledger.accounts, ledger.transactions, ledger.entries, ledger.batches, ledger.holds to ledger_poster;
grant update (balance_minor, debits_pending_minor, credits_pending_minor, version) on ledger.accounts to ledger_poster;
grant update (state, resolved_by) on ledger.holds to ledger_poster;
grant select on ledger.accounts, ledger.transactions, ledger.entries, ledger.batches, ledger.holds to ledger_reader, ledger_audit;

drop schema ledger_before_cohorts cascade;

do $$
declare thing record;
begin
    for thing in select c.relname, c.relkind from pg_class c where c.relnamespace = 'ledger'::regnamespace and c.relkind in ('r', 'p') loop
        execute format('alter table ledger.%I owner to ledger_owner', thing.relname);
    end loop;
end $$;
alter function ledger.refuse_change() owner to ledger_owner;
alter function ledger.make_cohort(smallint) owner to ledger_owner;
