-- A correction is a transaction that is there. What is written from now on is checked; what was written before is looked at by the next
-- migration, which locks out nobody. By partition, for a partitioned table cannot have such a key that is not valid yet. The lock of
-- transactions comes first, as a poster takes them: the other order would be a deadlock with it.
lock table ledger.transactions in share row exclusive mode;
do $$
declare part text;
begin
    if exists (select from pg_constraint where conrelid = 'ledger.disbursements'::regclass and conname = 'disbursements_cohort_corrected_by_fkey') then
        return;
    end if;
    for part in select inhrelid::regclass::text from pg_inherits where inhparent = 'ledger.disbursements'::regclass order by 1 loop
        execute format('alter table %s add constraint disbursements_cohort_corrected_by_fkey
                        foreign key (cohort, corrected_by) references ledger.transactions (cohort, transaction_id) not valid', part);
    end loop;
end $$;
