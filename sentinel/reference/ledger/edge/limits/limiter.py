"""The limiter: a number a tenant, bounded, in this process alone or in a file that edges share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from sentinel.reference.ledger.domain.limits import Allowed, Refused, take
from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.edge.limits.shared import SharedTats

_KEYS_COUNT_MAX: Final = 10_000


class Limiter:
    """Remembers what each tenant has taken, for as long as it makes a difference."""

    def __init__(
        self,
        *,
        edges_count: int = 1,
        keys_count_max: int = _KEYS_COUNT_MAX,
        on_forgotten: Callable[[], None] = lambda: None,
        shared: SharedTats | None = None,
    ) -> None:
        """Store the bounds.

        Args:
            edges_count: how many edges share each limit without a file; each gives its part of it.
            keys_count_max: how many tenants are remembered, where they are not in a file.
            on_forgotten: told of each tenant in debt that had to be forgotten for another.
            shared: what this edge and others have taken together.
        """
        self._edges_count = edges_count
        self._keys_count_max = keys_count_max
        self._on_forgotten = on_forgotten
        self._tats_ns: dict[str, int] = {}
        self._shared = shared

    @property
    def keys_count(self) -> int:
        """How many tenants are remembered."""
        return len(self._tats_ns)

    def check(self, tenant: Tenant, *, now_ns: int, steady_ns: int) -> Allowed | Refused:
        """Decide one request of a tenant, and take it into account if it passes.

        Args:
            tenant: who asks.
            now_ns: Unix time, by which elevations begin and end.
            steady_ns: a clock that is never set.
        """
        decide = partial(
            take,
            steady_ns=steady_ns,
            now_ns=now_ns,
            allowance=tenant.allowance,
            edges_count=self._edges_count,
        )
        if self._shared is not None:
            return self._shared.update(tenant.name, steady_ns=steady_ns, decide=decide)
        tat_ns, decision = decide(self._tats_ns.get(tenant.name, 0))
        if isinstance(decision, Allowed):
            if tenant.name not in self._tats_ns and len(self._tats_ns) >= self._keys_count_max:
                self._make_room(steady_ns)
            self._tats_ns[tenant.name] = tat_ns
        return decision

    def _make_room(self, steady_ns: int) -> None:
        """Forget who owes nothing; failing that, who owes least."""
        # A debt that is paid is as if there had been none.
        self._tats_ns = {name: tat for name, tat in self._tats_ns.items() if tat > steady_ns}
        if len(self._tats_ns) >= self._keys_count_max:
            del self._tats_ns[min(self._tats_ns, key=self._tats_ns.__getitem__)]
            self._on_forgotten()
