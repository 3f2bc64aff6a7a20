"""The HTTP edge: accepts transfers into the queue, answers reads from the database."""

from sentinel.reference.ledger.edge.server import Edge, EdgeConfig

__all__ = ["Edge", "EdgeConfig"]
