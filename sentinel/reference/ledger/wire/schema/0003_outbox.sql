-- What is told to others, and what was taken off the queue: both are written in the transaction that decides.
--
-- The outbox holds no content. What was decided never changes, so an event is read from its transaction when it is told: the row
-- costs a number and an id, and no event can say anything else than the books.

create sequence ledger.outbox_position;

create table ledger.outbox (
    cohort     smallint not null,
    -- In the order of commits: whoever writes here holds the cohort's advisory lock from before the number until the commit.
    position   bigint not null default nextval('ledger.outbox_position'),
    event_id   uuid not null,
    created_at timestamptz not null,
    primary key (cohort, position)
) partition by list (cohort);

-- Control totals, as on the cover of a bundle of cheques: a row for each run of the stream's sequence numbers that one database
-- transaction took, and what it made of them. With it the stream and the books can be held against each other number by number.
create table ledger.intake (
    cohort         smallint not null,
    first_sequence bigint not null,
    last_sequence  bigint not null check (last_sequence >= first_sequence),
    -- Of the first message, by the stream: numbers begin anew with a stream that is made anew.
    stored_at      timestamptz not null,
    decided_at     timestamptz not null,
    posted_count   int not null check (posted_count >= 0),
    rejected_count int not null check (rejected_count >= 0),
    repeated_count int not null check (repeated_count >= 0),
    -- Of what was posted and rejected, whatever the currency: a number to compare, not an amount of money.
    amount_minor   numeric not null,
    primary key (cohort, last_sequence, first_sequence, decided_at)
) partition by list (cohort);
create index intake_decided_at on ledger.intake using brin (decided_at) with (pages_per_range = 32, autosummarize = on);
-- The same moment stands on the transactions of a database transaction: by it the two are compared, piece by piece.
create index transactions_posted_at on ledger.transactions using brin (posted_at) with (pages_per_range = 32, autosummarize = on);

create or replace function ledger.make_cohort(cohort smallint) returns void language plpgsql as $$
declare parent text; part text;
begin
    foreach parent in array array['accounts', 'transactions', 'entries', 'batches', 'holds', 'outbox', 'intake'] loop
        part := format('%s_c%s', parent, cohort);
        -- Cohorts that are there get the tables that came after them.
        if to_regclass(format('ledger.%I', part)) is not null then
            continue;
        end if;
        execute format('create table ledger.%I partition of ledger.%I for values in (%s)', part, parent, cohort);
        execute format('alter table ledger.%I enable row level security', part);
        execute format('alter table ledger.%I force row level security', part);
        if parent in ('transactions', 'entries', 'batches', 'intake') then
            execute format('create trigger refuse_truncate before truncate on ledger.%I execute function ledger.refuse_change()', part);
        end if;
        if parent = 'outbox' then
            -- Every row is deleted within moments: what is dead must not wait for a fifth of a table that is always small.
            execute format('alter table ledger.%I set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)', part);
        end if;
    end loop;
end $$;

do $$
declare cohort smallint; parent text;
begin
    foreach cohort in array array(select substring(relname from '_c([0-9]+)$')::smallint from pg_class
                                  where relnamespace = 'ledger'::regnamespace and relname ~ '^accounts_c[0-9]+$') loop
        perform ledger.make_cohort(cohort);
    end loop;
    foreach parent in array array['outbox', 'intake'] loop
        execute format('alter table ledger.%I enable row level security', parent);
        execute format('alter table ledger.%I force row level security', parent);
        execute format('create policy poster on ledger.%I to ledger_poster using (true) with check (true)', parent);
        execute format('create policy audit on ledger.%I for select to ledger_audit using (true)', parent);
    end loop;
end $$;
create trigger refuse_change before update or delete on ledger.intake for each row execute function ledger.refuse_change();
create trigger refuse_truncate before truncate on ledger.intake execute function ledger.refuse_change();

grant select, insert, delete on ledger.outbox to ledger_poster;
grant usage on sequence ledger.outbox_position to ledger_poster;
grant select, insert on ledger.intake to ledger_poster;
grant select on ledger.outbox, ledger.intake to ledger_audit;

do $$
declare thing record;
begin
    for thing in select c.relname from pg_class c where c.relnamespace = 'ledger'::regnamespace and c.relkind in ('r', 'p')
                 and c.relname ~ '^(outbox|intake)' loop
        execute format('alter table ledger.%I owner to ledger_owner', thing.relname);
    end loop;
end $$;
alter sequence ledger.outbox_position owner to ledger_owner;
alter function ledger.make_cohort(smallint) owner to ledger_owner;
