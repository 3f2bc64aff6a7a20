-- Accounts, transactions, entries. Entries are immutable; the unique pair (account, version) makes a gap or a double
-- application of an entry impossible, not merely unlikely.
create table ledger.accounts (
    tenant         text not null,
    account_id     text not null,
    currency       text not null,
    balance_minor  bigint not null,
    allow_negative boolean not null,
    version        bigint not null,
    opened_at      timestamptz not null default now(),
    primary key (tenant, account_id),
    check (allow_negative or balance_minor >= 0)
);
create table ledger.transactions (
    transaction_id  uuid primary key,
    tenant          text not null,
    idempotency_key text not null,
    fingerprint     text not null,
    state           text not null check (state in ('posted', 'rejected')),
    reason          text check ((state = 'rejected') = (reason is not null)),
    debit_account   text not null,
    credit_account  text not null,
    amount_minor    bigint not null check (amount_minor > 0),
    currency        text not null,
    accepted_at     timestamptz not null,
    posted_at       timestamptz not null,
    unique (tenant, idempotency_key)
);
create table ledger.entries (
    transaction_id      uuid not null references ledger.transactions,
    leg                 smallint not null,
    tenant              text not null,
    account_id          text not null,
    amount_minor        bigint not null,
    balance_after_minor bigint not null,
    account_version     bigint not null,
    primary key (transaction_id, leg),
    unique (tenant, account_id, account_version),
    foreign key (tenant, account_id) references ledger.accounts
);
