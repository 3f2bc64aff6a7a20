-- The whole table has the key, and so has a cohort that comes later. Those that are there have it already and are not read again.
-- To join the keys drops triggers of both tables, for a moment: first of transactions, as posters and reads of a payment go.
lock table ledger.transactions, ledger.disbursements in access exclusive mode;
do $$
begin
    if not exists (select from pg_constraint where conrelid = 'ledger.disbursements'::regclass and conname = 'disbursements_cohort_corrected_by_fkey') then
        alter table ledger.disbursements add constraint disbursements_cohort_corrected_by_fkey
            foreign key (cohort, corrected_by) references ledger.transactions (cohort, transaction_id);
    end if;
end $$;
