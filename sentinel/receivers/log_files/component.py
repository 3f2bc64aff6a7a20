"""Log files, read as they are written: rounds over all of them, each with its turn, none handed on before it is noted.

A round reads a piece of every file that has more, makes durable how far each batch reaches, and hands the batches on. What
the sink does not take now stays where it is; the file is read on when it was taken. When nothing more came, how far lines were
handed on is made durable too. See `positions` for what that means over a crash.

Files are looked at every `poll`, because the standard library has no way to be told; a look costs a system call a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from itertools import takewhile
from typing import TypeVar

from sentinel.core.model import Rung, SampleBatch
from sentinel.core.normalise.logs.joined import Record
from sentinel.core.normalise.logs.settings import LogFormat
from sentinel.core.redact import redact
from sentinel.ports import Admission
from sentinel.receivers.log_files.batches import Batch
from sentinel.receivers.log_files.catching_up import PIECE_BYTES, Arrears, CatchingUp
from sentinel.receivers.log_files.config import LogFilesConfig
from sentinel.receivers.log_files.counting import Counting
from sentinel.receivers.log_files.followed import FollowedFile
from sentinel.receivers.log_files.gateways import Gateways
from sentinel.receivers.log_files.positions import Position
from sentinel.receivers.log_files.reaching import reach_of
from sentinel.receivers.log_files.readers import reader_of
from sentinel.receivers.log_files.reading import Reading
from sentinel.receivers.log_files.shipping import SLICE_COUNT, Shipping
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.polling.reach import Reach
from sentinel.runtime.tasks import TaskGroup

_T = TypeVar("_T")
_SLICE_COUNT = 512
_STOP_WAIT_S = 2.0
_LOOK_COST_DIVISOR = 20
"""Looking for files takes at most this part of a core: a twentieth."""
_LOOK_REST_MAX_S = 60.0
_HEARD_EVERY_S = 2.0
HANGS_S = 10.0
"""After this a disk that does not answer is told of, and the start no longer waits for it."""
_STOP_S = 5.0


class LogFiles:
    """Follows the files of all sources."""

    def __init__(
        self,
        config: LogFilesConfig,
        directory: str,
        downstream: Downstream,
        surroundings: Surroundings,
    ) -> None:
        """Follow what `config` names, and keep how far it was read in `directory`."""
        self._config = config
        self._downstream = downstream
        self._surroundings = surroundings
        self._flow = Flow(self.name, surroundings.metrics)
        self._counting = Counting(config, self._flow, surroundings)
        self._health = HealthRecord(surroundings.clock)
        self._tasks = TaskGroup(
            self.name, metrics=surroundings.metrics, logger=surroundings.logger
        )
        self._reading = Reading(config, directory)
        self._shipping = Shipping(downstream.tap, self._reading)
        self._readers = {
            source.name: reader_of(source, surroundings.logger) for source in config.sources
        }
        self._catching_up = CatchingUp(
            self._shipping, self._reading, self._readers, surroundings, self._aside
        )
        self._gateways = Gateways(
            (source for source in config.sources if source.format is LogFormat.KONG),
            downstream,
            surroundings,
        )
        self._executor: ThreadPoolExecutor | None = None
        self._handing = asyncio.Lock()
        self._look_at_s = self._rests_until_s = 0.0
        self._heard_s = 0.0
        self._turn = 0
        self._is_full = False
        self._note = ""
        self._busy_since_s: float | None = None

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "receivers.log_files"

    async def start(self) -> None:
        """Know where reading ended before, look for files, and follow them from now on."""
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log-files")
        try:
            self._note = await self._aside(self._reading.open)
        except (OSError, sqlite3.Error):
            self._executor.shutdown(wait=False)
            self._executor = None
            raise
        if self._note:
            self._surroundings.logger.error(self._note)
        try:
            async with asyncio.timeout(HANGS_S):
                await self._look()
                # Where a file begins to be read is known from here on, whatever happens before its next line.
                await self._save()
        except TimeoutError:
            self._surroundings.logger.error("Log files could not be looked at in time")  # noqa: TRY400  # health says more
        self._tasks.spawn("follow", self._follow)

    async def stop(self) -> None:
        """Read no more, and keep how far everything was handed on."""
        # What is half handed on is handed on whole, or it would come again after an orderly stop.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_WAIT_S):
                await self._handing.acquire()
                await self._catching_up.settle()
        await self._tasks.close()
        executor = self._executor
        if executor is not None:
            try:
                async with asyncio.timeout(_STOP_S):
                    await self._save()
                    await self._aside(self._reading.close)
            except TimeoutError:
                self._surroundings.logger.error("Positions of log files were not stored in time")  # noqa: TRY400  # no cause to show
            self._executor = None
            executor.shutdown(wait=False)
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        if self._executor is not None:
            self._judge()
        return self._health.current

    async def _aside(self, work: Callable[[], _T]) -> _T:
        """Do what may block in the one thread for it, so that its parts never meet.

        A thread cannot be called back from a mount that hangs: nothing else is read meanwhile, and health tells.
        """
        if self._busy_since_s is None:
            self._busy_since_s = self._surroundings.clock.monotonic_s()
        working = asyncio.get_running_loop().run_in_executor(self._executor, work)
        working.add_done_callback(self._came_back)
        # Shielded: whoever gives up waiting must not look as if the thread had come back.
        return await asyncio.shield(working)

    def _came_back(self, working: asyncio.Future[_T]) -> None:
        self._busy_since_s = None
        if not working.cancelled():
            working.exception()  # seen, also where nobody waits for it any more

    async def _follow(self) -> None:
        clock = self._surroundings.clock
        while True:
            if clock.monotonic_s() >= self._look_at_s:
                await self._look()
            self._hear()
            is_more = await self._round()
            await self._catch_up()
            if is_more:
                await asyncio.sleep(0)
            else:
                await clock.sleep(self._config.poll)

    async def _look(self) -> None:
        clock = self._surroundings.clock
        now_s, now_ns = clock.monotonic_s(), clock.now_ns()
        self._look_at_s = now_s + self._config.discover
        reading = self._reading
        await self._aside(lambda: reading.look(now_s=now_s, now_ns=now_ns))
        # A folder of a hundred thousand files is looked through more seldom, not at the cost of a core.
        self._rests_until_s = clock.monotonic_s() + min(
            reading.look_cost_s * _LOOK_COST_DIVISOR, _LOOK_REST_MAX_S
        )
        self._look_at_s = max(self._look_at_s, self._rests_until_s)
        self._counting.looked(reading, self._shipping, self._catching_up.arrears(), now_ns)

    async def _round(self) -> bool:
        """Read a piece of each file and hand it on; whether there may be more at once."""
        sheds = self._downstream.shedding.sheds(Rung.LOGS)
        if sheds and not self._gateways:
            # A file waits better than any queue: what is not read now is read later.
            self._is_full = True
            return False
        clock, reading = self._surroundings.clock, self._reading
        now_s, now_ns = clock.monotonic_s(), clock.now_ns()
        due = reading.due(now_s)
        if reading.is_startled:
            self._look_at_s = max(now_s, self._rests_until_s)
        if sheds:
            # But a gateway's calls are no lines, whichever way they come: they are what is left to see by.
            due = [file for file in due if file.source in self._gateways]
        if not due:
            self._is_full = sheds
            if reading.is_dirty:
                await self._save()
            return False
        # Each round begins with another file, so that what is turned away in the middle is not always the same.
        self._turn = (self._turn + 1) % len(due)
        due = due[self._turn :] + due[: self._turn]
        inflight, piece_bytes = self._downstream.inflight, int(self._config.chunk_max)
        held = list(takewhile(lambda _: inflight.take_if_calm(piece_bytes), due))
        if not held:
            self._flow.error(FlowStage.READ, FlowReason.OVERLOADED)
            self._is_full = True
            return False
        try:
            await self._aside(lambda: reading.take(held, now_s=now_s, now_ns=now_ns))
            self._counting.troubles(self._reading)
            async with self._handing:
                is_all = await self._hand_all_on(held)
        finally:
            inflight.give_back(piece_bytes * len(held))
        self._is_full = sheds or not is_all
        if not is_all:
            return False
        for file in held:
            if file.is_done and file.batch is None and not file.unshipped:
                await self._aside(partial(reading.end, file))
        return True

    async def _catch_up(self) -> None:
        """Read what endpoints that had no room have not got; not while there is more than can be worked on."""
        if not self._catching_up.is_behind or self._downstream.shedding.sheds(Rung.LOGS):
            return
        held_bytes = PIECE_BYTES * len(self._shipping.endpoints)
        if not self._downstream.inflight.take_if_calm(held_bytes):
            return
        try:
            async with self._handing:
                await self._catching_up.step()
        finally:
            self._downstream.inflight.give_back(held_bytes)

    async def _hand_all_on(self, due: list[FollowedFile]) -> bool:
        """Hand on the batches of these files; whether all of them were taken.

        A batch is done with when what is shipped of it is queued: noted before, it would be lost with a process that is
        killed in between. Whoever stops this in an orderly way has what was shipped queued afterwards.
        """
        handed: list[FollowedFile] = []
        is_all = True
        try:
            for file in due:
                if file.batch is None:
                    continue
                is_all = await self._hand_on(file, file.batch)
                if not is_all:
                    break
                handed.append(file)
            if handed and not await self._downstream.tap.queued():
                # What a kill would now lose is worth less than what nobody reads while a disk hangs.
                self._flow.error(FlowStage.STORE, FlowReason.TIMEOUT)
        finally:
            now_ns = self._surroundings.clock.now_ns()
            for file in handed:
                if file.batch is not None:
                    self._shipping.note_unshipped(file, file.batch, now_ns)
                file.handed_on()
        return is_all

    async def _save(self) -> None:
        reading, now_ns = self._reading, self._surroundings.clock.now_ns()
        await self._aside(lambda: reading.save(now_ns))
        self._counting.troubles(self._reading)

    async def _hand_on(self, file: FollowedFile, batch: Batch) -> bool:
        """Hand a batch on, a slice at a time; whether all of it was taken."""
        ships = self._shipping.is_wanted(file, batch)
        size = SLICE_COUNT if self._shipping.is_on else _SLICE_COUNT
        uid = self._reading.uid_of(file)
        while batch.handed_count < len(batch.records):
            part = batch.records[batch.handed_count : batch.handed_count + size]
            read = batch.read
            if read is None:
                read = batch.read = self._readers[file.source].read(
                    part,
                    service=file.service,
                    now_ns=batch.read_ns,
                    fingerprint=_fingerprint(uid, part, batch.after),
                    uid=uid if ships else None,
                )
                if file.source in self._gateways:
                    self._gateways.note(file.source, read.requests)
            if not self._shipping.has_room(read):
                self._flow.error(FlowStage.SEND, FlowReason.OVERLOADED)
                return False
            weight = sum(len(record.text) for record in part)
            lost = FlowReason.DUPLICATE if self._gateways.is_left_out(file.source) else None
            if lost is None:
                admission = self._downstream.sink.accept(read.batch, size_bytes=weight)
                if admission is Admission.RETRY_LATER:
                    self._flow.error(FlowStage.TAKE, FlowReason.OVERLOADED)
                    return False
                lost = None if admission is Admission.ACCEPTED else FlowReason.REFUSED
            batch.read = None
            batch.handed_count += len(part)
            self._counting.read(file, read, len(part), lost=lost)
            self._shipping.ship(file, uid, batch, read, batch.receipt)
            await asyncio.sleep(0)
        self._counting.changes(file)
        return True

    def _hear(self) -> None:
        """Say that services are heard whose calls files tell of: of those, a line that is not written is a call less.

        Not while there is something that was not read yet, for what it says is not known: under overload, or behind a long
        file, calls would look like none.
        """
        now_s = self._surroundings.clock.monotonic_s()
        if now_s - self._heard_s < _HEARD_EVERY_S:
            return
        self._heard_s = now_s
        services: set[str] = set()
        for file in self._reading.files:
            if file.is_named and file.is_open and file.batch is None and not file.lag_bytes():
                services |= file.tells_of_calls
        if services:
            self._downstream.sink.accept(
                SampleBatch(services=frozenset(services)), size_bytes=len(services) * 64
            )

    async def reach(self) -> tuple[Reach, ...]:
        """Which files the patterns of each source lead to, and which of them may not be read; changes nothing."""
        return tuple(
            [
                await asyncio.to_thread(reach_of, source, f"{self.name} {source.name}")
                for source in self._config.sources
            ]
        )

    def _judge(self) -> None:
        reading, following = self._reading, self._reading.following
        denied, limit = following.refused["denied"], following.refused["limit"]
        circular = following.refused["circular"]
        failing = self._tasks.failing
        since_s, now_s = self._busy_since_s, self._surroundings.clock.monotonic_s()
        if failing:
            self._health.failing(f"Crashed and restarting: {', '.join(sorted(failing))}")
        elif since_s is not None and now_s - since_s > HANGS_S:
            self._health.failing(
                f"No file is read: the disk has not answered for {now_s - since_s:.0f} s; does a mount hang?"
            )
        elif reading.unsaved is not None:
            self._health.degraded(
                f"Positions cannot be stored ({type(reading.unsaved).__name__}): after a crash lines may come twice"
            )
        elif denied:
            self._health.degraded(
                f"{denied} path{'s' * (denied != 1)} may not be read, such as {redact(following.refused_path)}"
            )
        elif circular:
            self._health.degraded(
                f"Links that lead to themselves: {circular}, such as {redact(following.refused_path)}"
            )
        elif limit:
            self._health.degraded(
                f"{limit} files are not followed, because files_max is {self._config.files_max}"
            )
        elif reading.unreadable is not None:
            path, why = reading.unreadable
            self._health.degraded(f"{redact(path)} cannot be read: {why}")
        elif twins := self._gateways.sentence():
            self._health.degraded(twins)
        elif behind := self._catching_up.arrears():
            self._health.degraded("; ".join(map(_told, behind)))
        elif self._is_full:
            self._health.degraded("Reading waits until what was read is worked on")
        elif self._note:
            self._health.degraded(self._note)
        else:
            count = len(reading.files)
            self._health.ok(f"Following {count} file{'s' * (count != 1)}")


def _told(arrears: Arrears) -> str:
    since = datetime.fromtimestamp(arrears.since_ns // 10**9, UTC)
    return (
        f"{arrears.endpoint} has had no room for lines since {since:%Y-%m-%d %H:%M:%S} UTC: {arrears.size_bytes} bytes wait in their"
        " files and are counted all the same"
    )


def _fingerprint(uid: str, part: list[Record], after: Position) -> bytes:
    places = f"{uid} {part[0].start} {part[-1].start} {len(part)} {after.offset}"
    return blake2b(places.encode(), digest_size=16).digest()
