-- Whoever holds everything against everything reads all of it, and writes nothing.
do $$
begin
    create role ledger_reconcile nologin nosuperuser nobypassrls;
exception when duplicate_object or unique_violation then
    -- Roles belong to the whole server: another of its databases has it already.
    null;
end $$;

do $$
declare name text;
begin
    foreach name in array array['accounts', 'transactions', 'entries', 'batches', 'holds', 'outbox', 'intake', 'analytics_seen',
                                'analytics_daily', 'audit_log'] loop
        execute format('create policy reconcile on ledger.%I for select to ledger_reconcile using (true)', name);
        execute format('grant select on ledger.%I to ledger_reconcile', name);
    end loop;
end $$;
grant usage on schema ledger to ledger_reconcile;
grant select on ledger.schema_version, ledger.tenants to ledger_reconcile;
