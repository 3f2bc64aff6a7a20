-- The disburser sees no more than it must: here, how its own steps ended.
drop policy if exists disburser on ledger.transactions;
create policy disburser on ledger.transactions for select to ledger_disburser using (true);
grant select (cohort, transaction_id, state, reason) on ledger.transactions to ledger_disburser;
