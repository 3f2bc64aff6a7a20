-- The audit trail: every change of the ledger's tables as it was committed, signed, and the tree over all of them.
--
-- `leaf` is what was signed; the columns beside it say the same again, for looking up. Of the tree every eighth level is kept:
-- a proof or a restart then reads some hundred rows of each, however long the log is.

create table ledger.audit_log (
    sequence     bigint primary key check (sequence >= 0),
    generation   int not null check (generation > 0),
    commit_lsn   pg_lsn not null,
    ordinal      int not null check (ordinal >= 0),
    committed_at timestamptz not null,
    op           text not null check (op in ('insert', 'update', 'delete', 'truncate', 'snapshot', 'start', 'gap')),
    relation     text not null check ((op in ('start', 'gap')) = (relation = '')),
    cohort       smallint,
    tenant       text,
    row_id       uuid,
    leg          smallint,
    leaf         bytea not null,
    signature    bytea not null check (octet_length(signature) = 64),
    -- What the slot delivers again after a crash is here already.
    unique (generation, commit_lsn, ordinal)
);
create index audit_log_times on ledger.audit_log using brin (committed_at);

create table ledger.audit_nodes (
    level smallint not null check (level > 0 and level % 8 = 0),
    place bigint not null check (place >= 0),
    hash  bytea not null check (octet_length(hash) = 32),
    primary key (level, place)
);

create table ledger.audit_checkpoints (
    checkpoint_id bigint generated always as identity primary key,
    size          bigint not null check (size >= 0),
    witnessed     boolean not null,
    note          text not null,
    made_at       timestamptz not null default now()
);
create index audit_checkpoints_size on ledger.audit_checkpoints (size);

do $$
declare part text;
begin
    foreach part in array array['audit_log', 'audit_nodes', 'audit_checkpoints'] loop
        execute format('alter table ledger.%I enable row level security', part);
        execute format('alter table ledger.%I force row level security', part);
        execute format('create policy audit on ledger.%I to ledger_audit using (true) with check (true)', part);
        execute format('grant select, insert on ledger.%I to ledger_audit', part);
        execute format(
            'create trigger refuse_change before update or delete on ledger.%I for each row execute function ledger.refuse_change()', part);
        execute format('create trigger refuse_truncate before truncate on ledger.%I execute function ledger.refuse_change()', part);
        execute format('alter table ledger.%I owner to ledger_owner', part);
    end loop;
end $$;

-- Balances are not followed: each entry says what its account's became.
do $$
begin
    if exists (select from pg_publication where pubname = 'ledger_audit') then
        return;
    end if;
    create publication ledger_audit for table ledger.transactions, ledger.entries, ledger.holds, ledger.batches
        with (publish_via_partition_root = true);
exception when insufficient_privilege then
    raise notice 'who migrates may not make the publication ledger_audit; the audit says what is needed';
end $$;

-- Reading a replication slot takes an attribute that only a superuser gives.
do $$
begin
    if not (select rolreplication from pg_roles where rolname = 'ledger_audit') then
        alter role ledger_audit replication;
    end if;
    if to_regprocedure('pg_log_standby_snapshot()') is not null then
        -- With it the slot's place moves on at once; without, each look decodes up to 15 seconds again.
        grant execute on function pg_log_standby_snapshot() to ledger_audit;
    end if;
exception when insufficient_privilege then
    raise notice 'who migrates may not let ledger_audit read replication slots; the audit says what is needed';
end $$;
