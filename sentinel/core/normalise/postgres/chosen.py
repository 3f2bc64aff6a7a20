"""Which of many names have series: those that mattered in the last hour, so that series do not come and go with each answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_KEPT_NS = 3600 * 10**9


class Chosen:
    """At most `2 * count` names: the first `count` of each answer, and those of the last hour."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._last_ns: dict[str, int] = {}

    def of(self, ranked: Sequence[str], *, now_ns: int) -> frozenset[str]:
        """The names to show, of names by what they matter now, most first."""
        for name in ranked[: self._count]:
            # Moved to the end, so that the order is that of the last time.
            self._last_ns.pop(name, None)
            self._last_ns[name] = now_ns
        self._forget(
            name for name, at in self._last_ns.items() if not now_ns - _KEPT_NS < at <= now_ns
        )
        self._forget(list(self._last_ns)[: max(0, len(self._last_ns) - 2 * self._count)])
        return frozenset(self._last_ns)

    def _forget(self, names: Iterable[str]) -> None:
        for name in list(names):
            del self._last_ns[name]
