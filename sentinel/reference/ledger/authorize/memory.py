"""What the server remembers, each with a time at which it is forgotten and a number of them that is not exceeded.

Time is an argument everywhere, in monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

_T = TypeVar("_T")
FAILURES_COUNT_MAX: Final = 5
FAILURES_WINDOW_S: Final = 60.0


class Kept(Generic[_T]):
    """Things by their random names, each taken at most once."""

    def __init__(self, *, lasts_s: float, count_max: int, on_dropped: Callable[[], None]) -> None:
        self._lasts_s = lasts_s
        self._count_max = count_max
        self._on_dropped = on_dropped
        self._kept: dict[str, tuple[_T, float]] = {}

    def keep(self, name: str, thing: _T, now_s: float) -> None:
        """Remember it; the oldest makes room when there is none."""
        self._forget(now_s)
        if len(self._kept) >= self._count_max:
            del self._kept[next(iter(self._kept))]
            self._on_dropped()
        self._kept[name] = (thing, now_s + self._lasts_s)

    def see(self, name: str, now_s: float) -> _T | None:
        """Return it and go on remembering."""
        self._forget(now_s)
        found = self._kept.get(name)
        return found[0] if found is not None else None

    def take(self, name: str, now_s: float) -> _T | None:
        """Return it and forget it: nobody gets it again."""
        found = self.see(name, now_s)
        self._kept.pop(name, None)
        return found

    def _forget(self, now_s: float) -> None:
        # All last equally long, so the first of them are the oldest.
        for name, (_, ends_s) in list(self._kept.items()):
            if ends_s > now_s:
                return
            del self._kept[name]


@dataclass(slots=True)
class _Tally:
    count: int
    ends_s: float


class Failures:
    """How often somebody guessed wrong of late; who has too often waits for the window's end."""

    def __init__(
        self,
        *,
        count_max: int = FAILURES_COUNT_MAX,
        window_s: float = FAILURES_WINDOW_S,
        names_count_max: int = 10_000,
    ) -> None:
        self._count_max = count_max
        self._window_s = window_s
        self._names_count_max = names_count_max
        self._tallies: dict[str, _Tally] = {}

    def wait_s(self, name: str, now_s: float) -> float:
        """Return the seconds until `name` may try again: 0 when it may now."""
        tally = self._tallies.get(name)
        if tally is None or tally.ends_s <= now_s or tally.count < self._count_max:
            return 0.0
        return tally.ends_s - now_s

    def add(self, name: str, now_s: float) -> None:
        """Count a wrong guess."""
        tally = self._tallies.get(name)
        if tally is not None and tally.ends_s > now_s:
            tally.count += 1
            return
        self._tallies.pop(name, None)
        if len(self._tallies) >= self._names_count_max:
            del self._tallies[next(iter(self._tallies))]
        self._tallies[name] = _Tally(1, now_s + self._window_s)
