-- Exports in parts: whatever a period holds, no file of it is larger than one may be.

-- By part, of an export that is done: entries, bytes and digest of its file, and with which row of export_parts that begins. Null of one
-- that an earlier version made, which has one file.
alter table ledger.exports add column parts jsonb;
grant update (parts) on ledger.exports to ledger_exporter;
