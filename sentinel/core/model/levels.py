"""Adopted levels: what a fit must know of them, because they are decided where windows are judged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedLevels:
    """The last levels that were adopted as a multiple of what was usual, of the series that have any.

    Attributes:
        series: int64[S], ids, ascending.
        from_ns: int64[K, S], since when values are at each level, the newest level first; 0 where there is none.
        adopted_ns: int64[K, S], when it was adopted: the end of a window; 0 where there is none.
        left_ns: int64[K, S], when the series was seen to be back at the level before it; 0 while it is not.
        ratio: float32[K, S], how many times the level before it; 1 where there is none.
    """

    series: NDArray[np.int64]
    from_ns: NDArray[np.int64]
    adopted_ns: NDArray[np.int64]
    left_ns: NDArray[np.int64]
    ratio: NDArray[np.float32]

    def changed_ns(self, ahead_ns: int = 0) -> dict[int, int]:
        """When each series' level last changed, by id, on a clock that is so far ahead."""
        last = np.maximum(self.adopted_ns, self.left_ns).max(axis=0) + ahead_ns
        return dict(zip(self.series.tolist(), last.tolist(), strict=True))

    def known_at(self, at_ns: int) -> AdoptedLevels:
        """What of them was known at an instant."""
        is_known, is_left = self.adopted_ns <= at_ns, self.left_ns <= at_ns
        return replace(
            self,
            adopted_ns=np.where(is_known, self.adopted_ns, 0),
            left_ns=np.where(is_left, self.left_ns, 0),
        )
