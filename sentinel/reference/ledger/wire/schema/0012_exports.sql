-- Exports: what a tenant asks for of its own part of the audit trail, and the file that it gets.
--
-- The edge writes down what is asked and hands out what is done, for whoever asks; a process beside the audit makes it. Neither has
-- a key that signs anything: an export holds what was signed before.

do $$
declare role text;
begin
    foreach role in array array['ledger_exports', 'ledger_exporter'] loop
        begin
            execute format('create role %I nologin nosuperuser nobypassrls', role);
        exception when duplicate_object or unique_violation then
            -- Roles belong to the whole server: another of its databases has them already.
            null;
        end;
    end loop;
end $$;

create table ledger.exports (
    cohort          smallint not null,
    export_id       uuid not null,
    tenant          text not null,
    idempotency_key text not null,
    fingerprint     text not null,
    from_at         timestamptz not null,
    to_at           timestamptz not null check (from_at < to_at),
    trace_parent    text check (length(trace_parent) <= 64),
    asked_at        timestamptz not null default now(),
    state           text not null default 'waiting' check (state in ('waiting', 'running', 'done', 'failed', 'expired')),
    reason          text check ((state = 'failed') = (reason is not null)),
    -- Up to where the log must have been recorded, for nothing that is asked for to be missing; known once the period is over.
    covered_lsn     pg_lsn,
    attempts        int not null default 0,
    -- When it is looked at next; while it is worked on, when that work counts as lost; of one that is done, when its file goes.
    next_at         timestamptz not null default now(),
    ended_at        timestamptz check ((state in ('waiting', 'running')) = (ended_at is null)),
    entries_count   int,
    bytes_count     bigint,
    sha256          bytea check (octet_length(sha256) = 32),
    checkpoint_size bigint,
    primary key (cohort, export_id),
    unique (cohort, tenant, idempotency_key),
    foreign key (cohort, tenant) references ledger.tenants (cohort, tenant)
) partition by list (cohort);
create index exports_due on ledger.exports (cohort, next_at);
create index exports_of_tenant on ledger.exports (cohort, tenant, asked_at);

create table ledger.export_parts (
    cohort    smallint not null,
    export_id uuid not null,
    tenant    text not null,
    part      int not null check (part >= 0),
    content   bytea not null check (octet_length(content) between 1 and 262144),
    primary key (cohort, export_id, part),
    foreign key (cohort, export_id) references ledger.exports on delete cascade
) partition by list (cohort);

do $$
declare parent text; cohort smallint;
begin
    foreach cohort in array array(select substring(relname from '_c([0-9]+)$')::smallint from pg_class
                                  where relnamespace = 'ledger'::regnamespace and relname ~ '^accounts_c[0-9]+$') loop
        perform ledger.make_cohort(cohort);
    end loop;
    foreach parent in array array['exports', 'export_parts'] loop
        execute format('alter table ledger.%I owner to ledger_owner', parent);
        execute format('alter table ledger.%I enable row level security', parent);
        execute format('alter table ledger.%I force row level security', parent);
        execute format('create policy exporter on ledger.%I to ledger_exporter using (true) with check (true)', parent);
        execute format(
            'create policy exports on ledger.%I to ledger_exports using ('
            'cohort = (select nullif(current_setting(''ledger.cohort'', true), '''')::smallint) '
            'and tenant = (select nullif(current_setting(''ledger.tenant'', true), '''')))', parent);
    end loop;
    foreach parent in array array['audit_log', 'audit_nodes', 'audit_checkpoints'] loop
        execute format('create policy exporter on ledger.%I for select to ledger_exporter using (true)', parent);
        execute format('grant select on ledger.%I to ledger_exporter', parent);
    end loop;
end $$;

grant usage on schema ledger to ledger_exports, ledger_exporter;
grant select on ledger.schema_version, ledger.tenants to ledger_exports, ledger_exporter;
grant select on ledger.exports, ledger.export_parts to ledger_exports, ledger_exporter;
grant insert (cohort, export_id, tenant, idempotency_key, fingerprint, from_at, to_at, trace_parent) on ledger.exports to ledger_exports;
grant update (state, reason, covered_lsn, attempts, next_at, ended_at, entries_count, bytes_count, sha256, checkpoint_size)
    on ledger.exports to ledger_exporter;
grant delete on ledger.exports to ledger_exporter;
grant insert, delete on ledger.export_parts to ledger_exporter;
