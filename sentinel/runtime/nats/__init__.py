"""Connecting to NATS as a client: what everything that does so shares."""
