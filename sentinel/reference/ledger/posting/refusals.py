"""How often the database has refused each message for good, as this process has seen it.

The queue's own count of deliveries says something else: a restart, a lost connection and an outage deliver a message again as well.
"""

from __future__ import annotations

from typing import Final

from sentinel.reference.ledger.posting.intake import Taken

# The queue delivers no more than a thousand of a cohort before some are acknowledged.
KNOWN_COUNT_MAX: Final = 10_000


class Refusals:
    """Counts by message; beyond `known_count_max` messages the one that was refused first begins anew.

    >>> from datetime import UTC, datetime
    >>> refusals, one = Refusals(), Taken(sequence=7, stored_at=datetime.now(UTC))
    >>> refusals.add(0, one), refusals.add(0, one), refusals.add(1, one)
    (1, 2, 1)
    >>> refusals.forget(0, one)
    >>> refusals.add(0, one)
    1
    """

    def __init__(self, *, known_count_max: int = KNOWN_COUNT_MAX) -> None:
        self._known_count_max = known_count_max
        self._counts: dict[tuple[int, Taken], int] = {}

    def add(self, cohort: int, taken: Taken) -> int:
        """Count a refusal, and return how many there were."""
        key = (cohort, taken)
        if key not in self._counts and len(self._counts) >= self._known_count_max:
            del self._counts[next(iter(self._counts))]
        self._counts[key] = count = self._counts.get(key, 0) + 1
        return count

    def forget(self, cohort: int, taken: Taken) -> None:
        """Forget a message that was decided or given up."""
        if self._counts:
            self._counts.pop((cohort, taken), None)
