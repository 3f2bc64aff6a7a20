-- Who compares asks for what has changed lately. Made by reading all payments once: new ones wait meanwhile, and what a poster takes
-- together with them, so it comes last and by itself.
create index if not exists disbursements_changed on ledger.disbursements (cohort, changed_at);
