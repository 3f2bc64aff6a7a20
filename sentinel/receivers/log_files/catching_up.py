"""What endpoints have not got of files that were counted is read once more, from where each of them goes on.

While an endpoint has no room for lines they are counted all the same and handed to the others; its place in the file is kept
(`Unshipped`). A piece for each such endpoint is read in every round, so that what is new keeps its pace. An endpoint that has all
that was counted of a file is handed what is read of it again, as one of all. Where nothing is behind, this does nothing.

A file that is done with stays open for those behind, within bounds; what they never get is counted.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from sentinel.core.redact import redact
from sentinel.receivers.log_files.batches import Batch
from sentinel.receivers.log_files.followed import FollowedFile, TruncatedError
from sentinel.receivers.log_files.readers import SourceReader
from sentinel.receivers.log_files.reading import Reading
from sentinel.receivers.log_files.shipping import SLICE_COUNT, Shipping
from sentinel.runtime.component import Surroundings
from sentinel.runtime.receipt import Receipt

PIECE_BYTES = 128 * 1024
"""What is read for an endpoint in a round. Never another, or a kill in between would bring part of a piece twice."""
_REST_S = 1.0
_BY_MEMORY_COUNT = 4 * SLICE_COUNT
"""Records that are offered at once where only one payload may wait in memory."""
_WAITING_SHARE = 4
_SETTLE_LOOK_S = 0.02

Result = TypeVar("Result")


class RunAside(Protocol):
    """Runs what may block in the one thread for it."""

    def __call__(self, work: Callable[[], Result], /) -> Awaitable[Result]:
        """What it gave."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """What was offered to an endpoint; `is_all` when none of the piece was kept back."""

    file: FollowedFile
    batch: Batch
    receipt: Receipt
    skipped_count: int
    is_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrears:
    """How far an endpoint is behind.

    Attributes:
        endpoint: its name.
        size_bytes: of files, that were counted and not taken by it.
        since_ns: since when.
    """

    endpoint: str
    size_bytes: int
    since_ns: int


class CatchingUp:
    """The endpoints that are behind, and what was offered to them; on the event loop, between the rounds of reading."""

    def __init__(
        self,
        shipping: Shipping,
        reading: Reading,
        readers: Mapping[str, SourceReader],
        surroundings: Surroundings,
        aside: RunAside,
    ) -> None:
        self._shipping = shipping
        self._reading = reading
        self._readers = readers
        self._surroundings = surroundings
        self._aside = aside
        self._waiting: dict[str, _Piece] = {}
        self._rests_until_s: dict[str, float] = {}
        self._is_probing: set[str] = set()
        self._by_memory: set[str] = set()
        self._turn = 0

    @property
    def is_behind(self) -> bool:
        """Whether any endpoint has not got all, or is not yet handed what is read together with the others."""
        return any(file.unshipped for file in self._reading.files)

    async def step(self) -> None:
        """Offer a piece to each endpoint that is behind, and note what they took of those before."""
        files = [file for file in self._reading.files if file.unshipped]
        if not files:
            return
        endpoints = self._shipping.endpoints
        for file in files:
            for name in [name for name in file.unshipped if name not in endpoints]:
                del file.unshipped[name]  # nobody is called so any more
                file.is_dirty = True
        self._judge()
        now_s = self._surroundings.clock.monotonic_s()
        is_offered = False
        for name in endpoints:
            if name not in self._waiting and now_s >= self._rests_until_s.get(name, 0.0):
                is_offered |= await self._offer(name, now_s)
        if is_offered:
            await self._shipping.queued()
            self._judge()
        await self._let_go(now_s)

    async def settle(self) -> None:
        """Wait until memory holds nothing of what was offered; whoever calls it bounds the wait."""
        self._judge()
        while self._waiting:
            await asyncio.sleep(_SETTLE_LOOK_S)
            self._judge()

    def arrears(self) -> list[Arrears]:
        """Of each endpoint that is behind."""
        size_bytes: Counter[str] = Counter()
        since_ns: dict[str, int] = {}
        for file in self._reading.files:
            for name, behind in file.unshipped.items():
                if file.handed.offset <= behind.start.offset:
                    continue
                size_bytes[name] += file.handed.offset - behind.start.offset
                since_ns[name] = min(since_ns.get(name, behind.since_ns), behind.since_ns)
        return [
            Arrears(endpoint=name, size_bytes=size_bytes[name], since_ns=since_ns[name])
            for name in since_ns
        ]

    async def _offer(self, name: str, now_s: float) -> bool:
        """Read a piece for an endpoint and offer it; False when there was none."""
        file = self._next(name, now_s)
        if file is None:
            return False
        now_ns = self._surroundings.clock.now_ns()
        try:
            batch = await self._aside(
                lambda: self._reading.again(
                    file,
                    name,
                    bytes_max=PIECE_BYTES,
                    now_ns=now_ns,
                    # No queue on disk knows what it got: a kill would bring all again that is not noted.
                    is_noted=name in self._by_memory,
                )
            )
        except OSError:
            file.again_from_s = now_s + _REST_S
            return False
        except TruncatedError:
            # Whoever reads what is new finds that out, too, and looks for a copy.
            file.again_from_s = now_s + _REST_S
            if file.is_done:
                await self._give_up(file, "gone")
            return False
        skipped = batch.handed_count = min(file.unshipped[name].skip_count, len(batch.records))
        receipt = Receipt((name,), is_again=True)
        until = len(batch.records)
        if name in self._is_probing:
            until = min(until, skipped + SLICE_COUNT)
        elif name in self._by_memory:
            until = min(until, skipped + _BY_MEMORY_COUNT)
        uid = self._reading.uid_of(file)
        while batch.handed_count < until:
            part = batch.records[batch.handed_count : batch.handed_count + SLICE_COUNT]
            read = self._readers[file.source].read(
                part, service=file.service, now_ns=now_ns, fingerprint=b"", uid=uid
            )
            if not self._shipping.has_room(read):
                break
            batch.handed_count += len(part)
            self._shipping.ship(file, uid, batch, read, receipt)
            await asyncio.sleep(0)
        self._waiting[name] = _Piece(
            file=file,
            batch=batch,
            receipt=receipt,
            skipped_count=skipped,
            is_all=batch.handed_count == len(batch.records),
        )
        return True

    def _next(self, name: str, now_s: float) -> FollowedFile | None:
        """The file that has its turn; None where there is nothing to be read."""
        found = []
        for file in self._reading.files:
            behind = file.unshipped.get(name)
            if behind is None:
                continue
            if behind.start == behind.until == file.handed:
                self._join(file, name)
            elif file.can_be_read_again and now_s >= file.again_from_s:
                found.append(file)
        self._turn += 1
        return found[self._turn % len(found)] if found else None

    def _join(self, file: FollowedFile, name: str) -> None:
        """It has all that was counted: from the next batch on it is one of all; not while no disk takes what it would get."""
        if name in self._by_memory and not file.is_done:
            return
        if file.batch is None or file.batch.receipt is None:
            del file.unshipped[name]
            file.is_dirty = True

    def _judge(self) -> None:
        """Note what was taken; what memory holds is not, as a kill would take it."""
        now_s = self._surroundings.clock.monotonic_s()
        for name, piece in list(self._waiting.items()):
            receipt, file = piece.receipt, piece.file
            if receipt.is_held(name):
                continue
            receipt.void()
            del self._waiting[name]
            if receipt.was_held(name):
                self._by_memory.add(name)
            elif receipt.taken_count(name):
                self._by_memory.discard(name)
            behind = file.unshipped.get(name)
            if behind is None:
                continue
            taken = max(receipt.taken_count(name), piece.skipped_count)
            if taken < receipt.offered_count and taken == piece.skipped_count:
                self._is_probing.add(name)
                self._rests_until_s[name] = now_s + _REST_S
            else:
                self._is_probing.discard(name)
                if taken >= receipt.offered_count:
                    taken = max(taken, piece.batch.handed_count)
            if piece.is_all and taken >= len(piece.batch.records):
                left = max(behind.skip_count - len(piece.batch.records), 0)
                behind = replace(behind, start=piece.batch.after, skip_count=left)
            else:
                behind = replace(behind, skip_count=max(taken, behind.skip_count))
            file.unshipped[name] = behind
            file.is_dirty = True
            if behind.start == behind.until == file.handed:
                self._join(file, name)

    async def _let_go(self, now_s: float) -> None:
        """Let go of files that nobody waits for any more, or that were waited for long enough."""
        waiting = [file for file in self._reading.files if file.is_done and file.batch is None]
        waiting.sort(key=lambda file: file.done_s)
        over = len(waiting) - self._reading.files_max // _WAITING_SHARE
        for at, file in enumerate(waiting):
            if not file.unshipped:
                await self._aside(lambda file=file: self._reading.end(file))  # type: ignore[misc]
            elif not file.can_be_read_again:
                await self._give_up(file, "gone")
            elif at < over:
                await self._give_up(file, "limit")
            elif now_s - file.done_s >= self._reading.unshipped_after_s:
                await self._give_up(file, "expired")

    async def _give_up(self, file: FollowedFile, reason: str) -> None:
        for name, behind in file.unshipped.items():
            lost_bytes = max(file.handed.offset - behind.start.offset, 0)
            self._surroundings.metrics.count(
                "sentinel_log_files_unshipped_lost_bytes_total",
                lost_bytes,
                endpoint=name,
                reason=reason,
            )
            self._surroundings.logger.error(
                "Lines of a log file were counted and are never shipped",
                extra={
                    "endpoint": name,
                    "path": redact(file.path),
                    "size_bytes": lost_bytes,
                    "reason": reason,
                },
            )
        file.unshipped.clear()
        file.is_dirty = True
        await self._aside(lambda: self._reading.end(file))
