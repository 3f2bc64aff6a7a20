"""How many tenants ask, and how many of them are refused for asking too often: many at once are nobody's own fault.

One tenant beyond its limit is that tenant's matter. When many are, it is the limits that are wrong, or who sends for all of
them, and then each that is refused asks again. Requests alone do not tell the two apart.
"""

from __future__ import annotations

from typing import Final

_SECOND_NS: Final = 1_000_000_000


class Crowd:
    """Who asked, and who was refused, within the last minute; of a bounded number of tenants."""

    def __init__(self, *, span_s: int = 60, tenants_count_max: int = 10_000) -> None:
        """Store how long a tenant counts, and how many are told apart; beyond that there are no more."""
        self._span_ns = span_s * _SECOND_NS
        self._count_max = tenants_count_max
        self._asked_ns: dict[str, int] = {}
        self._limited_ns: dict[str, int] = {}

    def asked(self, tenant: str, steady_ns: int) -> None:
        """Note a request of a tenant."""
        self._note(self._asked_ns, tenant, steady_ns)

    def limited(self, tenant: str, steady_ns: int) -> bool:
        """Note a refusal, and say whether it is the tenant's first for a while."""
        last_ns = self._limited_ns.get(tenant)
        self._note(self._limited_ns, tenant, steady_ns)
        return last_ns is None or steady_ns - last_ns >= self._span_ns

    def counts(self, steady_ns: int) -> tuple[int, int]:
        """Return how many tenants have asked, and how many were refused, within the span.

        May be called from another thread: it looks at a copy, which is made in one step.
        """
        since_ns = steady_ns - self._span_ns
        asked, limited = (
            sum(at_ns > since_ns for at_ns in list(noted.values()))
            for noted in (self._asked_ns, self._limited_ns)
        )
        return asked, limited

    def _note(self, noted: dict[str, int], tenant: str, steady_ns: int) -> None:
        if tenant not in noted and len(noted) >= self._count_max:
            since_ns = steady_ns - self._span_ns
            for name in [name for name, at_ns in noted.items() if at_ns <= since_ns]:
                del noted[name]
            if len(noted) >= self._count_max:
                return
        noted[tenant] = steady_ns
