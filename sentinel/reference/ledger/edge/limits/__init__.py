"""What the edge lets pass: addresses that a tenant may come from, and as many requests as it may make."""

from sentinel.reference.ledger.edge.limits.policies import Policies, limit_headers
from sentinel.reference.ledger.edge.limits.shared import SharedTats, open_shared

__all__ = ["Policies", "SharedTats", "limit_headers", "open_shared"]
