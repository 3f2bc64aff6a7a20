-- Reads all payments, while everybody goes on writing them.
do $$
declare part text;
begin
    for part in select conrelid::regclass::text from pg_constraint
                where conname = 'disbursements_cohort_corrected_by_fkey' and not convalidated order by 1 loop
        execute format('alter table %s validate constraint disbursements_cohort_corrected_by_fkey', part);
    end loop;
end $$;
