"""A clock that moves only when a test moves it."""

from __future__ import annotations

import asyncio
import heapq

_ROUNDS_MAX = 100


class ManualClock:
    """Wall and monotonic time under a test's hand; `sleep` returns when `advance` passed its end."""

    def __init__(self, now_ns: int = 1_790_000_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._monotonic_s = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sequence = 0

    def now_ns(self) -> int:
        """The wall clock."""
        return self._now_ns

    def monotonic_s(self) -> float:
        """The monotonic clock."""
        return self._monotonic_s

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has advanced this far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sequence += 1
        heapq.heappush(self._sleepers, (self._monotonic_s + seconds, self._sequence, future))
        await future

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, as a wrong NTP server does."""
        self._now_ns += round(seconds * 1e9)

    async def advance(self, seconds: float) -> None:
        """Move both clocks and let everything that was waiting run."""
        target = self._monotonic_s + seconds
        while self._sleepers and self._sleepers[0][0] <= target:
            at, _, future = heapq.heappop(self._sleepers)
            self._now_ns += round((at - self._monotonic_s) * 1e9)
            self._monotonic_s = at
            if not future.done():
                future.set_result(None)
                await _settled()
        self._now_ns += round((target - self._monotonic_s) * 1e9)
        self._monotonic_s = target
        for _ in range(20):
            await asyncio.sleep(0)


async def _settled() -> None:
    """Let run what can, and what follows from it, until the loop has nothing left to do but to wait.

    A window of a whole program wakes some fifty sleepers: rounds of a loop that waits were half of what its tests cost.
    """
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # nothing public tells
    for _ in range(_ROUNDS_MAX):
        await asyncio.sleep(0)
        if not ready:
            return
