-- Since when a tenant is suspended, by whoever runs the ledger: the edge answers none of its requests meanwhile.

alter table ledger.tenants add column suspended_at timestamptz;
