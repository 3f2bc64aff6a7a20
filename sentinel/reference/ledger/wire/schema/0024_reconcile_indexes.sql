-- What each pass of the reconciliation asks for is found without reading everything.

-- Messages that were given up, and those that somebody has written off, are few among all control totals.
create index intake_given_up on ledger.intake (last_sequence, first_sequence) where dead_count > 0 or amount_minor = -1;

-- What was there when a generation of the trail began is looked up by its row, for it was recorded at another time than its own.
create index audit_log_snapshots on ledger.audit_log (row_id) where op = 'snapshot';

-- The end of the trail is what is read by its time. A table to which rows are only added is cleaned up when a fifth of it is new: until
-- then that much was read in each look at the last minute.
alter index ledger.audit_log_times set (autosummarize = on);
do $$
begin
    perform brin_summarize_new_values('ledger.audit_log_times');
end $$;
