"""How the ledger speaks to its servers: envelope, NATS JetStream, PostgreSQL, settings."""
