"""What PostgreSQL says of itself, as samples: rows in, batches out, no socket."""

from sentinel.core.normalise.postgres.reader import STAGE, PostgresReader, batch_of
from sentinel.core.normalise.postgres.readings import Level, Reading, Transactions
from sentinel.core.normalise.postgres.statement_text import statement_of
from sentinel.core.normalise.postgres.subjects import refused

__all__ = [
    "STAGE",
    "Level",
    "PostgresReader",
    "Reading",
    "Transactions",
    "batch_of",
    "refused",
    "statement_of",
]
