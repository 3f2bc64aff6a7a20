-- What was asked and is no transaction has nothing to be read from when it is told: a request whose key stands for another one, and a
-- message that was given up. Of these the outbox keeps what is told.
alter table ledger.outbox add column content jsonb check (octet_length(content::text) <= 8192);
