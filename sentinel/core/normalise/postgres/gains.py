"""What the server's counters gained between two answers.

A counter that fell was reset, by a person, a crash or an eviction, and began at 0 since: what it shows is what it
gained. The same when the server says that its statistics began anew. So nothing is ever negative, and a reset costs
what was counted between the last answer and it.
"""

from __future__ import annotations

from typing import NamedTuple

_KEPT_NS = 2 * 3600 * 10**9
"""A counter that is not shown for this long begins anew: an average over longer says nothing of now."""


class Gain(NamedTuple):
    """What a counter gained, and in how long."""

    value: float
    elapsed_s: float

    @property
    def per_s(self) -> float:
        """The gain of a second."""
        return self.value / self.elapsed_s


class _Last(NamedTuple):
    value: float
    since: float
    at_ns: int


class Gains:
    """The last value of each counter, at most `count_max`."""

    def __init__(self, *, count_max: int = 20_000) -> None:
        self._count_max = count_max
        self._last: dict[tuple[str, ...], _Last] = {}
        self._swept_ns = 0

    def __len__(self) -> int:
        return len(self._last)

    def of(
        self, key: tuple[str, ...], value: float, *, now_ns: int, since: float = 0.0
    ) -> Gain | None:
        """What it gained since it was last asked for; None the first time, and when no time has passed.

        Args:
            key: which counter.
            value: what it shows.
            now_ns: when.
            since: when its statistics began, in any unit; another one is a reset.
        """
        self._sweep(now_ns)
        last = self._last.get(key)
        if last is None and len(self._last) >= self._count_max:
            return None
        self._last[key] = _Last(value, since, now_ns)
        if last is None or now_ns <= last.at_ns:
            return None
        is_reset = value < last.value or since != last.since
        gained = value if is_reset else value - last.value
        return Gain(gained, (now_ns - last.at_ns) / 1e9)

    def forget(self) -> None:
        """Begin anew: another server may answer now."""
        self._last.clear()

    def _sweep(self, now_ns: int) -> None:
        if now_ns - self._swept_ns < _KEPT_NS // 4:
            return
        self._swept_ns = now_ns
        before_ns = now_ns - _KEPT_NS
        for key in [key for key, last in self._last.items() if not before_ns < last.at_ns]:
            del self._last[key]
