-- Analytics, and what was given up.
--
-- The stream of events tells at least once. What analytics has counted is remembered by id, in the transaction that counts it, so
-- that counting is once. The key begins with the event's own day: an event that comes again is looked for where it was put, and
-- what is too old to come again is deleted by range.

alter table ledger.intake add column dead_count int not null default 0 check (dead_count >= 0);

do $$
begin
    create role ledger_analytics nologin nosuperuser nobypassrls;
exception when duplicate_object or unique_violation then
    -- Roles belong to the whole server: another of its databases has it already.
    null;
end $$;

create table ledger.analytics_seen (
    occurred_on date not null,
    event_id    uuid not null,
    primary key (occurred_on, event_id)
);

create table ledger.analytics_daily (
    cohort             smallint not null,
    tenant             text not null,
    day                date not null,
    -- Empty for a step that was rejected because its target is not known.
    currency           text not null,
    kind               text not null,
    state              text not null,
    transactions_count bigint not null check (transactions_count > 0),
    amount_minor       numeric not null,
    primary key (cohort, tenant, day, currency, kind, state),
    foreign key (cohort, tenant) references ledger.tenants (cohort, tenant)
);
create index analytics_daily_day on ledger.analytics_daily (day);

do $$
declare name text;
begin
    foreach name in array array['analytics_seen', 'analytics_daily'] loop
        execute format('alter table ledger.%I enable row level security', name);
        execute format('alter table ledger.%I force row level security', name);
        execute format('create policy analytics on ledger.%I to ledger_analytics using (true) with check (true)', name);
        execute format('create policy audit on ledger.%I for select to ledger_audit using (true)', name);
        execute format('alter table ledger.%I owner to ledger_owner', name);
    end loop;
    create policy reader on ledger.analytics_daily for select to ledger_reader using (
        cohort = (select nullif(current_setting('ledger.cohort', true), '')::smallint)
        and tenant = (select nullif(current_setting('ledger.tenant', true), '')));
end $$;

grant usage on schema ledger to ledger_analytics;
grant select on ledger.schema_version to ledger_analytics;
grant select, insert, delete on ledger.analytics_seen to ledger_analytics;
grant select, insert on ledger.analytics_daily to ledger_analytics;
grant update (transactions_count, amount_minor) on ledger.analytics_daily to ledger_analytics;
grant select on ledger.analytics_daily to ledger_reader;
grant select on ledger.analytics_seen, ledger.analytics_daily to ledger_audit;
