"""Verdicts to a remote-write endpoint: slice by slice in order of time, a bounded request at a time.

A Prometheus without a window for what is out of order takes samples no older than an hour before its newest. So a slice is
an hour, and the next one begins when all series of this one are sent.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from sentinel.core.model.verdict_slices import VerdictSlice
from sentinel.history.writing.messages import Run
from sentinel.history.writing.runs import Runs
from sentinel.history.writing.samples import Written
from sentinel.history.writing.sending import RemoteWriteEndpoint
from sentinel.runtime.loop import Loop

SLICE_NS = 3_600_000_000_000
SAMPLES_A_REQUEST = 5_000


class RemoteWriteSink:
    """A `SliceSink` that sends; a context manager, for its connection."""

    def __init__(
        self,
        endpoint: RemoteWriteEndpoint,
        runs: Runs,
        *,
        samples_a_request: int = SAMPLES_A_REQUEST,
    ) -> None:
        self._endpoint = endpoint
        self._runs = runs
        self._samples_a_request = samples_a_request
        self._runner = asyncio.Runner(loop_factory=Loop)
        self._number: int | None = None
        self._waiting: list[Run] = []
        self._waiting_count = 0
        self.written = Written()
        self.done_ns = 0
        """Every sample before this instant was sent, and answered."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._runner.run(self._endpoint.close())
        finally:
            self._runner.close()

    def write(self, part: VerdictSlice) -> None:
        """Send a part, and what it leaves over of a request with the next one.

        Raises:
            UnreachableError, RefusedError: as `RemoteWriteEndpoint.send`.
        """
        number = (part.start_ns + part.step_ns) // SLICE_NS
        if self._number is not None and number != self._number:
            self._end_slice(self._number)
        self._number = number
        self.written.note(part)
        for run in self._runs.of(part):
            self._take(run)

    def finish(self) -> None:
        """Send what is left; raises as `write`."""
        if self._number is not None:
            self._end_slice(self._number)
            self._number = None

    def _end_slice(self, number: int) -> None:
        start_ns, end_ns = number * SLICE_NS, (number + 1) * SLICE_NS
        for run in self._runs.ended(start_ns, end_ns):
            self._take(run)
        self._send()
        self.done_ns = end_ns

    def _take(self, run: Run) -> None:
        left = run
        while self._waiting_count + len(left) >= self._samples_a_request:
            room = self._samples_a_request - self._waiting_count
            self._waiting.append(left.first(room))
            left = left.after(room)
            self._send()
        if len(left):
            self._waiting.append(left)
            self._waiting_count += len(left)

    def _send(self) -> None:
        waiting, self._waiting, self._waiting_count = self._waiting, [], 0
        if waiting:
            self._runner.run(self._endpoint.send(waiting))
