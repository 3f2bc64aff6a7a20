-- The role that Sentinel watches a PostgreSQL server with: it may read the server's statistics, and no table of yours.
--
--   psql -X -v ON_ERROR_STOP=1 -d app -v password="$(cat sentinel.password)" -f role.sql
--
-- Run it as a superuser, once in the database that `scrapers.postgres[].database` names, and once more in each of
-- `databases`; it may be run again. A password on a command line can be seen by others of that machine: `\password sentinel`
-- in psql sets one that cannot, and leaving `password` out leaves the role's password as it is.
--
-- pg_monitor shows the text of other roles' running queries, literals and all. Sentinel never reads that column, and
-- normalises the texts of pg_stat_statements again before it keeps them; whoever has the role's password can read it.

\set ON_ERROR_STOP on

SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sentinel') AS is_new \gset
\if :is_new
CREATE ROLE sentinel LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT;
\endif
\if :{?password}
-- A password in a statement is kept by whatever keeps statements: by the log, and by pg_stat_statements for every monitor.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SELECT set_config('pg_stat_statements.track_utility', 'off', false) AS not_kept \gset
SET password_encryption = 'scram-sha-256';
ALTER ROLE sentinel PASSWORD :'password';
\endif

-- One connection a database, one for `sentinel check ready`, one to spare while an old one is not gone yet.
ALTER ROLE sentinel CONNECTION LIMIT 3;
GRANT pg_monitor TO sentinel;

SELECT format('GRANT CONNECT ON DATABASE %I TO sentinel', current_database()) \gexec

-- Sentinel sets all of this itself; set for the role it holds for whoever else uses the password.
ALTER ROLE sentinel SET statement_timeout = '5s';
ALTER ROLE sentinel SET lock_timeout = '500ms';
ALTER ROLE sentinel SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE sentinel SET default_transaction_read_only = on;
ALTER ROLE sentinel SET search_path = 'pg_catalog';
ALTER ROLE sentinel SET application_name = 'sentinel';

-- Times of single statements. The extension needs `shared_preload_libraries = 'pg_stat_statements'` and a restart; where it
-- is not to be had, the rest works without.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements') AS has_statements \gset
\if :has_statements
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
\else
\warn 'pg_stat_statements is not installed on this machine (in Debian it comes with postgresql-contrib): there will be no series of single statements.'
\endif
-- Its settings are there when its library is.
SELECT NOT EXISTS (SELECT FROM pg_settings WHERE name = 'pg_stat_statements.max') AS not_preloaded \gset
\if :has_statements
\if :not_preloaded
\warn 'pg_stat_statements is not in shared_preload_libraries: the extension gives nothing until it is there and the server was restarted.'
\warn 'Add it to what SHOW shared_preload_libraries says, in postgresql.conf or by ALTER SYSTEM; all else works without.'
\endif
\endif

-- Bloat of tables, measured rather than estimated from what the role may see (which is nothing):
-- CREATE EXTENSION IF NOT EXISTS pgstattuple;
