"""PostgreSQL, asked for its statistics by a role that can read nothing else.

What may be configured is in `config`, the target in `target`, which is imported when one is configured.
"""

from sentinel.scrapers.postgres.config import PostgresTargetConfig

__all__ = ["PostgresTargetConfig"]
