"""What the edge lets pass: addresses that a tenant may come from, and as many requests as it may make."""

from sentinel.reference.ledger.edge.limits.policies import Policies, limit_headers

__all__ = ["Policies", "limit_headers"]
