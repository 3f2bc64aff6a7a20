-- What was asked and is no transaction has nothing to be read from when it is told: a request whose key stands for another one, and a
-- message that was given up. Of these the outbox keeps what is told.
alter table ledger.outbox add column content jsonb check (octet_length(content::text) <= 8192);

-- A relay from before this column finds no transaction for such a row, takes it for told and deletes it. So only who says that it reads
-- the column deletes one; for anybody else the row stays, and the first relay that knows it tells it.
create function ledger.keep_untold() returns trigger language plpgsql as $$
begin
    return null;
end $$;
alter function ledger.keep_untold() owner to ledger_owner;
create trigger keep_untold before delete on ledger.outbox for each row
    when (old.content is not null and current_setting('ledger.outbox_content', true) is distinct from 'read')
    execute function ledger.keep_untold();
