-- Webhooks: the endpoints that tenants register, and what is on its way to each.
--
-- The edge keeps the register for whoever asks and can seal a secret but not open one; the process that sends can. Neither
-- is anybody's reader, so each has a role of its own.

do $$
declare role text;
begin
    foreach role in array array['ledger_webhooks', 'ledger_endpoints'] loop
        begin
            execute format('create role %I nologin nosuperuser nobypassrls', role);
        exception when duplicate_object or unique_violation then
            -- Roles belong to the whole server: another of its databases has them already.
            null;
        end;
    end loop;
end $$;

create table ledger.webhook_endpoints (
    cohort            smallint not null,
    endpoint_id       uuid not null,
    tenant            text not null,
    url               text not null check (length(url) <= 2048),
    description       text not null default '' check (length(description) <= 200),
    event_types       text[] not null,
    signature         text not null check (signature in ('v1', 'v1a')),
    -- Sealed to the key of the process that sends. The one before it signs too, until its time is over.
    secret            bytea not null,
    public_key        text check ((signature = 'v1a') = (public_key is not null)),
    previous_secret   bytea,
    previous_until    timestamptz check ((previous_secret is null) = (previous_until is null)),
    state             text not null default 'active' check (state in ('active', 'failing', 'throttled', 'disabled')),
    failing_since     timestamptz,
    failures_count    int not null default 0,
    paused_until      timestamptz,
    disabled_because  text check ((state = 'disabled') = (disabled_because is not null)),
    dropped_count     bigint not null default 0,
    created_at        timestamptz not null default now(),
    primary key (cohort, endpoint_id),
    unique (cohort, tenant, url),
    foreign key (cohort, tenant) references ledger.tenants (cohort, tenant)
) partition by list (cohort);

create table ledger.webhook_deliveries (
    cohort        smallint not null,
    delivery_id   uuid not null,
    endpoint_id   uuid not null,
    tenant        text not null,
    event_id      uuid not null,
    type          text not null,
    body          bytea not null check (octet_length(body) <= 65536),
    trace_parent  text check (length(trace_parent) <= 64),
    state         text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    attempts_count int not null default 0,
    -- When it is due; while an attempt is under way, when that attempt counts as lost.
    next_at       timestamptz not null default now(),
    last_at       timestamptz,
    last_status   int,
    last_reason   text,
    created_at    timestamptz not null default now(),
    ended_at      timestamptz check ((state = 'pending') = (ended_at is null)),
    primary key (cohort, delivery_id),
    -- An event that the stream delivers again is already on its way.
    unique (cohort, endpoint_id, event_id),
    foreign key (cohort, endpoint_id) references ledger.webhook_endpoints on delete cascade
) partition by list (cohort);
create index webhook_deliveries_due on ledger.webhook_deliveries (cohort, endpoint_id, next_at) where state = 'pending';
create index webhook_deliveries_kept on ledger.webhook_deliveries (cohort, endpoint_id, created_at);
create index webhook_deliveries_ended on ledger.webhook_deliveries (state, ended_at);

-- Everything that a cohort needs, of every table that is kept in cohorts; a table that joins later is found in the catalogue.
create or replace function ledger.make_cohort(cohort smallint) returns void language plpgsql as $$
declare parent record; part text;
begin
    for parent in
        select c.relname as name,
               exists (select from pg_trigger t where t.tgrelid = c.oid and t.tgname = 'refuse_truncate') as append_only
        from pg_class c where c.relnamespace = 'ledger'::regnamespace and c.relkind = 'p' order by c.oid
    loop
        part := format('%s_c%s', parent.name, cohort);
        continue when to_regclass(format('ledger.%I', part)) is not null;
        execute format('create table ledger.%I partition of ledger.%I for values in (%s)', part, parent.name, cohort);
        execute format('alter table ledger.%I owner to ledger_owner', part);
        execute format('alter table ledger.%I enable row level security', part);
        execute format('alter table ledger.%I force row level security', part);
        if parent.append_only then
            execute format('create trigger refuse_truncate before truncate on ledger.%I execute function ledger.refuse_change()', part);
        end if;
        if parent.name = 'outbox' then
            -- Every row is deleted within moments: what is dead must not wait for a fifth of a table that is always small.
            execute format('alter table ledger.%I set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)', part);
        end if;
    end loop;
end $$;

do $$
declare parent text; cohort smallint;
begin
    foreach cohort in array array(select substring(relname from '_c([0-9]+)$')::smallint from pg_class
                                  where relnamespace = 'ledger'::regnamespace and relname ~ '^accounts_c[0-9]+$') loop
        perform ledger.make_cohort(cohort);
    end loop;
    foreach parent in array array['webhook_endpoints', 'webhook_deliveries'] loop
        execute format('alter table ledger.%I owner to ledger_owner', parent);
        execute format('alter table ledger.%I enable row level security', parent);
        execute format('alter table ledger.%I force row level security', parent);
        execute format('create policy webhooks on ledger.%I to ledger_webhooks using (true) with check (true)', parent);
        execute format(
            'create policy endpoints on ledger.%I to ledger_endpoints using ('
            'cohort = (select nullif(current_setting(''ledger.cohort'', true), '''')::smallint) '
            'and tenant = (select nullif(current_setting(''ledger.tenant'', true), '''')))', parent);
    end loop;
end $$;

grant usage on schema ledger to ledger_webhooks, ledger_endpoints;
grant select on ledger.schema_version, ledger.tenants to ledger_webhooks, ledger_endpoints;
grant select, insert, delete on ledger.webhook_deliveries to ledger_webhooks;
grant update (state, attempts_count, next_at, last_at, last_status, last_reason, ended_at) on ledger.webhook_deliveries to ledger_webhooks;
grant select on ledger.webhook_endpoints to ledger_webhooks;
grant update (state, failing_since, failures_count, paused_until, disabled_because, dropped_count, previous_secret, previous_until)
    on ledger.webhook_endpoints to ledger_webhooks;
grant select, insert, delete on ledger.webhook_endpoints to ledger_endpoints;
grant update (secret, public_key, previous_secret, previous_until, state, failing_since, failures_count, paused_until, disabled_because)
    on ledger.webhook_endpoints to ledger_endpoints;
grant select, insert on ledger.webhook_deliveries to ledger_endpoints;
grant update (next_at) on ledger.webhook_deliveries to ledger_endpoints;
