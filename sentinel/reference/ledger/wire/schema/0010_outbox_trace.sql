-- The trace that an event belongs to: whoever is told of a transaction can follow it to the request that asked for it. It is not the
-- event's content, so it stays beside it, in a header of the message.

alter table ledger.outbox add column trace_parent text check (length(trace_parent) <= 64);
