"""A sink that keeps what it was given, for tests of receivers and scrapers."""

from __future__ import annotations

from collections import deque

from sentinel.core.model import SampleBatch
from sentinel.ports import Admission


class ListSink:
    """Takes every batch, except while `answers` holds other answers to give first."""

    def __init__(self, *answers: Admission) -> None:
        self.batches: list[SampleBatch] = []
        self.answers = deque(answers)
        self.offered_count = 0

    @property
    def sample_count(self) -> int:
        """Samples of all batches taken."""
        return sum(batch.sample_count for batch in self.batches)

    def accept(self, batch: SampleBatch, *, size_bytes: int) -> Admission:
        """Answer as told, else take it."""
        self.offered_count += 1
        answer = self.answers.popleft() if self.answers else Admission.ACCEPTED
        if answer is Admission.ACCEPTED:
            self.batches.append(batch)
        return answer
