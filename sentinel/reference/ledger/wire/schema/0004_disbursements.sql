-- Payments over a bank's rail, beside the pending transfers that they begin with.
do $$
begin
    create role ledger_disburser nologin nosuperuser nobypassrls;
exception when duplicate_object or unique_violation then
    null;
end $$;

create table ledger.disbursements (
    cohort        smallint not null,
    pending_id    uuid not null,
    tenant        text not null,
    payee_account text not null,
    payee_name    text not null,
    amount_minor  bigint not null check (amount_minor > 0),
    currency      text not null,
    state         text not null check (state in ('requested', 'submitted', 'refused', 'settled', 'returned', 'returned_late')),
    return_code   text check ((state in ('refused', 'returned', 'returned_late')) = (return_code is not null)),
    attempts      int not null default 0,
    -- When the rail is asked next; never again where its last word was said.
    next_at       timestamptz,
    changed_at    timestamptz not null default now(),
    primary key (cohort, pending_id),
    foreign key (cohort, pending_id) references ledger.transactions
) partition by list (cohort);
create index disbursements_due on ledger.disbursements (cohort, next_at) where next_at is not null;

create or replace function ledger.make_cohort(cohort smallint) returns void language plpgsql as $$
declare parent text; part text;
begin
    foreach parent in array array['accounts', 'transactions', 'entries', 'batches', 'holds', 'outbox', 'intake', 'disbursements'] loop
        part := format('%s_c%s', parent, cohort);
        -- Cohorts that are there get the tables that came after them.
        if to_regclass(format('ledger.%I', part)) is not null then
            continue;
        end if;
        execute format('create table ledger.%I partition of ledger.%I for values in (%s)', part, parent, cohort);
        execute format('alter table ledger.%I enable row level security', part);
        execute format('alter table ledger.%I force row level security', part);
        if parent in ('transactions', 'entries', 'batches', 'intake') then
            execute format('create trigger refuse_truncate before truncate on ledger.%I execute function ledger.refuse_change()', part);
        end if;
        if parent = 'outbox' then
            -- Every row is deleted within moments: what is dead must not wait for a fifth of a table that is always small.
            execute format('alter table ledger.%I set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)', part);
        end if;
    end loop;
end $$;

do $$
declare cohort smallint;
begin
    foreach cohort in array array(select substring(relname from '_c([0-9]+)$')::smallint from pg_class
                                  where relnamespace = 'ledger'::regnamespace and relname ~ '^accounts_c[0-9]+$') loop
        perform ledger.make_cohort(cohort);
    end loop;
end $$;

alter table ledger.disbursements enable row level security;
alter table ledger.disbursements force row level security;
create policy poster on ledger.disbursements to ledger_poster using (true) with check (true);
create policy disburser on ledger.disbursements to ledger_disburser using (true) with check (true);
create policy audit on ledger.disbursements for select to ledger_audit using (true);
create policy reader on ledger.disbursements for select to ledger_reader using (
    cohort = (select nullif(current_setting('ledger.cohort', true), '')::smallint)
    and tenant = (select nullif(current_setting('ledger.tenant', true), '')));

grant usage on schema ledger to ledger_disburser;
grant select on ledger.schema_version, ledger.disbursements to ledger_disburser;
grant update (state, return_code, attempts, next_at, changed_at) on ledger.disbursements to ledger_disburser;
grant select, insert on ledger.disbursements to ledger_poster;
grant select on ledger.disbursements to ledger_reader, ledger_audit;

do $$
declare thing record;
begin
    for thing in select relname from pg_class where relnamespace = 'ledger'::regnamespace and relname like 'disbursements%' and relkind in ('r', 'p') loop
        execute format('alter table ledger.%I owner to ledger_owner', thing.relname);
    end loop;
end $$;
alter function ledger.make_cohort(smallint) owner to ledger_owner;
