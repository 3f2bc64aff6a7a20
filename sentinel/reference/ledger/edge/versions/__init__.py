"""The forms of requests: version 2 is what the edge reads, version 1 is made into it by a table."""

from sentinel.reference.ledger.edge.versions.reading import read_write
from sentinel.reference.ledger.edge.versions.table import READS, WRITES, Read, Write
from sentinel.reference.ledger.edge.versions.translate import answer_in

__all__ = ["READS", "WRITES", "Read", "Write", "answer_in", "read_write"]
