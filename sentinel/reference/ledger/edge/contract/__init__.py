"""What the edge takes and answers, as a document that programs read: OpenAPI 3.1, at `/openapi.json`.

All of it is made of what the edge itself goes by: the table of versions, the register of problems, the enumerations of the domain.
A route that is added has to be in `operations.py`, which says how; a test holds the two together.
"""

from sentinel.reference.ledger.edge.contract.document import document, rendered, rendered_mark
from sentinel.reference.ledger.edge.contract.generators import for_generators
from sentinel.reference.ledger.edge.contract.operations import (
    CONTRACT_PATH,
    OPERATIONS,
    Operation,
)

__all__ = [
    "CONTRACT_PATH",
    "OPERATIONS",
    "Operation",
    "document",
    "for_generators",
    "rendered",
    "rendered_mark",
]
