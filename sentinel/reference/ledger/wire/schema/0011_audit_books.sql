-- The audit follows balances and payouts too: a balance that no entry accounts for, and a payee that was changed, are found.
--
-- Of a payment the row before comes with each change, so that the audit, without asking, passes over those in which a rail was
-- merely asked once more.

alter table ledger.disbursements replica identity full;

create or replace function ledger.make_cohort(cohort smallint) returns void language plpgsql as $$
declare parent record; part text;
begin
    for parent in
        select c.relname as name, c.relreplident = 'f' as whole_rows,
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
        if parent.whole_rows then
            -- A partition does not inherit it.
            execute format('alter table ledger.%I replica identity full', part);
        end if;
        if parent.name = 'outbox' then
            -- Every row is deleted within moments: what is dead must not wait for a fifth of a table that is always small.
            execute format('alter table ledger.%I set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)', part);
        end if;
    end loop;
end $$;

do $$
declare part record;
begin
    for part in select relname from pg_class where relnamespace = 'ledger'::regnamespace and relname ~ '^disbursements_c[0-9]+$' loop
        execute format('alter table ledger.%I replica identity full', part.relname);
    end loop;
end $$;

-- What a trail follows, and by which slot, is asked for at each start, however long it is.
create index audit_log_beginnings on ledger.audit_log (sequence) where op in ('start', 'gap');

do $$
begin
    if exists (select from pg_publication_tables where pubname = 'ledger_audit' and schemaname = 'ledger' and tablename = 'accounts') then
        return;
    end if;
    alter publication ledger_audit add table ledger.accounts, ledger.disbursements;
exception
    when undefined_object then
        raise notice 'there is no publication ledger_audit to add tables to; the audit says what is needed';
    when insufficient_privilege then
        raise notice 'who migrates may not change the publication ledger_audit; the audit says what is needed';
end $$;
