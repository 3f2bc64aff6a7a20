"""How long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential back-off with full jitter on the upper half, so that many clients do not return together.

    >>> Backoff(first_s=1.0, factor=2.0, limit_s=8.0).ceiling_s(10)
    8.0
    """

    first_s: float = 1.0
    factor: float = 2.0
    limit_s: float = 300.0

    def ceiling_s(self, attempts: int) -> float:
        """The longest wait after this many failed attempts."""
        return min(self.limit_s, self.first_s * self.factor ** min(max(attempts - 1, 0), 60))

    def wait_s(self, attempts: int, *, retry_after_s: float | None = None) -> float:
        """A wait between half the ceiling and the ceiling, and never shorter than the other side asked for."""
        ceiling = self.ceiling_s(attempts)
        wait = ceiling * (0.5 + 0.5 * random.random())  # noqa: S311  # jitter, not a secret
        return max(wait, min(retry_after_s or 0.0, self.limit_s))
