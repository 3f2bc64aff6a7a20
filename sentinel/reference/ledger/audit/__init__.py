"""The audit trail: what PostgreSQL committed, signed and in a tree that only grows."""
