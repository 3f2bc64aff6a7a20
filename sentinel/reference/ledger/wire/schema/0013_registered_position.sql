-- An endpoint hears of what happens from its registration on. Clocks do not say what that is, for whoever decides and the database
-- have one each: the outbox's positions do. Endpoints that were there before this column are told of whatever the stream brings.

alter table ledger.webhook_endpoints add column registered_position bigint not null default 0;
grant select on sequence ledger.outbox_position to ledger_endpoints;
