"""What was turned away at a bound and has not come again: senders are told to, but nothing makes them.

Bodies are turned away unread, so that a request is known by its receiver, its signal and its size alone:

    it is turned away                              it is missing
    one of that size is taken                      it came again
    more of that size are taken than were turned   which of them it was is not known: missing, to be safe
    away
    nothing of that size came within `hold_s`      its sender has given it up, which is counted; it is forgotten

The time is long enough for every window to be closed that it may have told of. Where a signal is given up altogether nothing is
noted here: then every window is unknown anyway.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from sentinel.core.model import Missing
from sentinel.ports import Clock
from sentinel.runtime.metrics import Metrics

_KEYS_MAX = 1024
_TOO_MANY = "too many"


@dataclass(slots=True, kw_only=True)
class _Debt:
    component: str
    signal: str
    services: frozenset[str]
    since_ns: int
    last_s: float
    is_owed: bool = True
    turned_away_count: int = 1
    taken_count: int = 0

    @property
    def is_missing(self) -> bool:
        return self.is_owed or self.taken_count > self.turned_away_count


class Owed:
    """The debts of all senders, for one event loop; bounded."""

    def __init__(self, clock: Clock, metrics: Metrics, *, hold_s: float) -> None:
        """Owe nothing; `hold_s` is how long what was turned away is waited for."""
        self._clock = clock
        self._metrics = metrics
        self._hold_s = hold_s
        self._debts: dict[Hashable, _Debt] = {}

    def turned_away(
        self,
        key: Hashable,
        *,
        component: str,
        signal: str,
        services: frozenset[str] = frozenset(),
    ) -> None:
        """Note that `component` has turned something away to come again; the same again is the same debt."""
        now_s = self._clock.monotonic_s()
        if key not in self._debts and len(self._debts) >= _KEYS_MAX:
            # Together they are of any service, and nothing that comes can settle them.
            key, services = (_TOO_MANY, component, signal), frozenset()
        debt = self._debts.get(key)
        if debt is None or not debt.is_missing:
            self._debts[key] = _Debt(
                component=component,
                signal=signal,
                services=services,
                since_ns=self._clock.now_ns(),
                last_s=now_s,
            )
            return
        debt.is_owed, debt.last_s = True, now_s
        debt.turned_away_count += 1

    def taken(self, key: Hashable) -> None:
        """Note that something was taken; it settles the debt of its key. Nearly always there is none."""
        if self._debts and (debt := self._debts.get(key)) is not None:
            debt.is_owed = False
            debt.taken_count += 1

    def settled(self, key: Hashable) -> None:
        """Note that a debt is settled for good, where nothing else has its key."""
        if self._debts:
            self._debts.pop(key, None)

    def missing(self) -> tuple[Missing, ...]:
        """What is missing now, once for each signal and services."""
        if not self._debts:
            return ()
        now_s = self._clock.monotonic_s()
        for key in [key for key, one in self._debts.items() if now_s - one.last_s > self._hold_s]:
            debt = self._debts.pop(key)
            if debt.is_owed:
                self._metrics.count(
                    "sentinel_not_taken_again_total",
                    component=debt.component,
                    signal=debt.signal,
                )
        since: dict[tuple[str, frozenset[str]], int] = {}
        for debt in self._debts.values():
            if debt.is_missing:
                of = debt.signal, debt.services
                since[of] = min(since.get(of, debt.since_ns), debt.since_ns)
        return tuple(
            Missing(signal=signal, services=services, since_ns=since_ns)
            for (signal, services), since_ns in since.items()
        )
