-- What the ledger made of a rail's word: the disburser looks, and whoever compares may. Each step that needs another table's lock, or
-- that reads all of a table, is a migration of its own (0018 to 0023): what keeps readers out is done in moments, and of one table at
-- a time but for 0022.

alter table ledger.disbursements
    -- Why the books could not do what the rail has said, or why the payment was never handed in.
    add column unbooked_reason text,
    -- The transfer by which a person has put that right; who compares takes it for an answer.
    add column corrected_by uuid;

create policy reconcile on ledger.disbursements for select to ledger_reconcile using (true);
grant select on ledger.disbursements to ledger_reconcile;
grant update (unbooked_reason) on ledger.disbursements to ledger_disburser;
