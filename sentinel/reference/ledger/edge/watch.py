"""A look at both databases, once a second: how far the primary is, how far the replica, whether it can be read.

Who waits for the replica to come to a position waits here: one question for all of them, a few
milliseconds apart and only while somebody waits. (A server that could wait by itself is PostgreSQL 19.)
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnavailableError
from sentinel.reference.ledger.domain.lag import Lag, LagClock
from sentinel.reference.ledger.domain.position import Position
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.wire.postgres import Database

_PRIMARY: Final = """
select (pg_current_wal_insert_lsn() - '0/0')::bigint as lsn,
       ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int as timeline
"""
_REPLICA: Final = """
select pg_is_in_recovery() as follows, (coalesce(pg_last_wal_replay_lsn(), '0/0') - '0/0')::bigint as lsn
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchConfig:
    """When the replica is good enough to be read, and how long somebody waits for it.

    Attributes:
        every_s: between two looks.
        wait_s: how long a read waits at most until the replica has come to the position it names.
        wait_poll_s: between two looks while somebody waits.
        lag_s_max: a replica that is later is not read, except by whom it satisfies by position.
        lag_bytes_max: likewise, by the log it has not replayed.
    """

    every_s: float = 1.0
    wait_s: float = 0.25
    wait_poll_s: float = 0.005
    lag_s_max: float = 10.0
    lag_bytes_max: int = 64 * 1024 * 1024


class ReplicaWatch:
    """What is known of the two servers; `run` keeps it fresh until it is cancelled."""

    def __init__(
        self,
        config: WatchConfig,
        *,
        primary: Database,
        replica: Database | None,
        telemetry: Telemetry,
    ) -> None:
        self._config = config
        self._primary = primary
        self._replica = replica
        self._telemetry = telemetry
        self._clock = LagClock()
        self._timeline = 0
        self._primary_lsn = 0
        self._replayed_lsn = 0
        self._away = True
        self._waiting: list[tuple[int, asyncio.Future[bool]]] = []
        self._asked = asyncio.Event()
        if replica is not None:
            telemetry.observe_replica(self._observed)

    @property
    def newest(self) -> Position | None:
        """Where the primary was at the last look; None before the first."""
        return Position(self._timeline, self._primary_lsn) if self._timeline else None

    def replayed(self, lsn: int) -> Position:
        """Note that the replica has answered from this place, and return it as a position."""
        if not self._away:
            self._replayed_lsn = max(self._replayed_lsn, lsn)
        return Position(self._timeline, lsn)

    def written(self, lsn: int) -> Position:
        """Return the place that the primary has answered from as a position."""
        return Position(self._timeline, lsn)

    def lost(self, error: LedgerError) -> None:
        """Take the replica for away until a look finds it again."""
        if not self._away:
            self._telemetry.warning(
                Event.EDGE_REPLICA_LOST, f"The replica is away; reads go to the primary: {error}"
            )
        self._away = True
        self._replayed_lsn = 0
        self._release(reached=False)

    async def why_not(self, at_least: Position | None) -> str:
        """Return why the replica is not to be read, or nothing; waits for it to come to `at_least`."""
        if self._replica is None:
            return "unconfigured"
        if self._away or not self._timeline:
            return "away"
        if at_least is None:
            lag = self._clock.lag(self._replayed_lsn)
            if lag is not None and self._is_late(lag):
                return "lagging"
            return ""
        if at_least.timeline != self._timeline:
            return "other_timeline"
        return "" if await self._reach(at_least.lsn) else "behind"

    async def look(self) -> None:
        """Look at both servers once; one that does not answer is as it was, or away."""
        with suppress(UnavailableError, PermanentError):
            async with self._primary.acquire() as connection:
                row = await connection.fetchrow(_PRIMARY)
            self._timeline, self._primary_lsn = row["timeline"], row["lsn"]
            self._clock.primary_at(row["lsn"], asyncio.get_running_loop().time())
        await self._look_at_replica()

    async def run(self) -> None:
        """Look again and again, more often while somebody waits."""
        loop = asyncio.get_running_loop()
        while True:
            next_s = loop.time() + self._config.every_s
            await self.look()
            while (left_s := next_s - loop.time()) > 0:
                if self._waiting:
                    await asyncio.sleep(min(self._config.wait_poll_s, left_s))
                    await self._look_at_replica()
                    continue
                self._asked.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), timeout=left_s)

    async def _look_at_replica(self) -> None:
        if self._replica is None:
            return
        try:
            async with self._replica.acquire() as connection:
                row = await connection.fetchrow(_REPLICA)
        except (UnavailableError, PermanentError) as error:
            self.lost(error)
            return
        if not row["follows"]:
            # Somebody has promoted it: it has a history of its own from now on.
            self.lost(UnavailableError("it follows the primary no more"))
            return
        if self._away:
            self._telemetry.info(Event.EDGE_REPLICA_FOUND, "The replica answers; it is read")
        self._away = False
        # Not the greater of the two: one that has crashed begins some way back.
        self._replayed_lsn = row["lsn"]
        self._release(reached=True)

    def _release(self, *, reached: bool) -> None:
        """Tell those who wait: that the replica is there, or all of them that it is away."""
        still = []
        for lsn, future in self._waiting:
            if future.done():
                continue
            if reached and lsn > self._replayed_lsn:
                still.append((lsn, future))
            else:
                future.set_result(reached)
        self._waiting = still

    async def _reach(self, lsn: int) -> bool:
        if lsn <= self._replayed_lsn:
            return True
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((lsn, future))
        self._asked.set()
        try:
            return await asyncio.wait_for(future, timeout=self._config.wait_s)
        except TimeoutError:
            return False

    def _is_late(self, lag: Lag) -> bool:
        return (
            lag.behind_s > self._config.lag_s_max or lag.behind_bytes > self._config.lag_bytes_max
        )

    def _observed(self) -> tuple[bool, Lag | None]:
        return not self._away, None if self._away else self._clock.lag(self._replayed_lsn)
