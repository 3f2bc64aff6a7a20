"""A small real payments ledger: HTTP edge, NATS JetStream, poster, PostgreSQL.

It is a customer of Sentinel, not a part of it: the two meet only on the wire.
"""
