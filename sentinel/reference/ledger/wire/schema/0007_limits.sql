-- What a tenant may ask, and from where: what its tier may, or its contract in that place, and more for a time.
create table ledger.tiers (
    tier  text primary key check (tier in ('standard', 'enterprise')),
    rps   int not null check (rps between 1 and 1000000),
    burst int not null check (burst between 1 and 10000000)
);
insert into ledger.tiers (tier, rps, burst) values ('standard', 100, 200), ('enterprise', 1000, 2000);

alter table ledger.tenants
    add foreign key (tier) references ledger.tiers,
    add column contract_rps int check (contract_rps between 1 and 1000000),
    add column contract_burst int check (contract_burst between 1 and 10000000),
    add column allow_cidrs cidr[] not null default '{}' check (cardinality(allow_cidrs) <= 64),
    add check ((contract_rps is null) = (contract_burst is null)),
    add check (contract_rps is null or tier = 'enterprise');

create table ledger.elevations (
    elevation_id bigint generated always as identity primary key,
    tenant       text not null references ledger.tenants,
    starts_at    timestamptz not null,
    ends_at      timestamptz not null,
    rps          int not null check (rps between 1 and 1000000),
    burst        int not null check (burst between 1 and 10000000),
    reason       text not null default '' check (length(reason) <= 200),
    created_at   timestamptz not null default now(),
    created_by   text not null default current_user,
    check (ends_at > starts_at)
);
create index elevations_coming on ledger.elevations (tenant, ends_at);

grant select on ledger.tiers, ledger.elevations to ledger_poster, ledger_reader, ledger_audit;
alter table ledger.tiers owner to ledger_owner;
alter table ledger.elevations owner to ledger_owner;
