-- What the ledger made of a rail's word: the disburser looks, and whoever compares may.

alter table ledger.disbursements
    -- Why the books could not do what the rail has said, or why the payment was never handed in.
    add column unbooked_reason text,
    -- The transfer by which a person has put that right; who compares takes it for an answer.
    add column corrected_by uuid,
    add foreign key (cohort, corrected_by) references ledger.transactions (cohort, transaction_id);
create index disbursements_changed on ledger.disbursements (cohort, changed_at);

grant update (unbooked_reason) on ledger.disbursements to ledger_disburser;
-- No more than it must: how its own steps ended, and what ended what it has reserved.
create policy disburser on ledger.holds for select to ledger_disburser using (true);
create policy disburser on ledger.transactions for select to ledger_disburser using (true);
grant select (cohort, pending_id, state, resolved_by) on ledger.holds to ledger_disburser;
grant select (cohort, transaction_id, state, reason) on ledger.transactions to ledger_disburser;

create policy reconcile on ledger.disbursements for select to ledger_reconcile using (true);
grant select on ledger.disbursements to ledger_reconcile;
