-- The disburser sees no more than it must: here, what ended what it has reserved.
drop policy if exists disburser on ledger.holds;
create policy disburser on ledger.holds for select to ledger_disburser using (true);
grant select (cohort, pending_id, state, resolved_by) on ledger.holds to ledger_disburser;
