"""A database that is watched, and the one connection to it: opened when first needed, kept, tried again with patience."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sentinel.errors import RefusedError, SentinelError, UnreachableError
from sentinel.ports import Clock
from sentinel.runtime.backoff import Backoff
from sentinel.scrapers.postgres import sql_database
from sentinel.scrapers.postgres.config import PostgresTargetConfig
from sentinel.scrapers.postgres.queries import ABSENT_EVERY_S, VERSION_MIN
from sentinel.scrapers.postgres.session import QueryError, Session, connect


class UnsupportedServerError(RefusedError):
    """A server of a version that is not watched."""


class Link:
    """A database and the connection to it."""

    def __init__(
        self,
        config: PostgresTargetConfig,
        database: str,
        *,
        clock: Clock,
        backoff: Backoff,
        met: Callable[[Session], Awaitable[None]],
    ) -> None:
        """Make it; nothing is connected to before `ready`.

        Args:
            config: of the server.
            database: its name.
            clock: for the waits.
            backoff: how long they are.
            met: told of each new session before anything else is asked of it.
        """
        self.database = database
        self.session: Session | None = None
        self._config = config
        self._clock = clock
        self._backoff = backoff
        self._met = met
        self._extensions: dict[str, str] = {}
        self._extensions_due_s = float("-inf")
        self._attempts = 0
        self._problem: SentinelError | None = None
        self._next_try_s = float("-inf")
        self._before = (0, 0)

    async def ready(self) -> Session:
        """The open session; without trying again while the wait lasts.

        Raises:
            UnreachableError, RefusedError, ConfigError: what keeps it shut.
        """
        if self.session is not None and self.session.is_open:
            return self.session
        if self._problem is not None and self._clock.monotonic_s() < self._next_try_s:
            raise self._problem
        await self.drop()
        try:
            session = await connect(self._config, self.database)
            self.session = session
            try:
                await self._greet(session)
            except BaseException:
                await self.drop()
                raise
        except SentinelError as error:
            self._attempts += 1
            self._problem = error
            wait_s = self._backoff.wait_s(self._attempts)
            self._next_try_s = self._clock.monotonic_s() + wait_s
            raise
        self._problem, self._attempts = None, 0
        return session

    async def extensions(self) -> dict[str, str]:
        """The extensions of use that are installed, with their schemas; looked for anew now and then."""
        if self.session is not None and self._clock.monotonic_s() >= self._extensions_due_s:
            rows = await self.session.fetch(sql_database.EXTENSIONS)
            self._extensions = {str(row["extname"]): str(row["schema"]) for row in rows}
            self._extensions_due_s = self._clock.monotonic_s() + ABSENT_EVERY_S
        return self._extensions

    def own(self) -> tuple[int, int]:
        """Transactions of ours in it, committed and rolled back, over all its sessions."""
        committed, rolled_back = self._before
        if self.session is not None:
            committed += self.session.committed
            rolled_back += self.session.rolled_back
        return committed, rolled_back

    async def drop(self) -> None:
        """Let go of the session; idempotent."""
        session, self.session = self.session, None
        if session is not None:
            self._before = (
                self._before[0] + session.committed,
                self._before[1] + session.rolled_back,
            )
            await session.close()

    async def _greet(self, session: Session) -> None:
        if session.version < VERSION_MIN:
            msg = f"PostgreSQL {session.version // 10_000} is too old: 15 is the least"
            raise UnsupportedServerError(msg, status=session.version, endpoint=self._config.place)
        self._extensions_due_s = float("-inf")
        try:
            await self._met(session)
        except QueryError as error:
            msg = f"the server cannot be asked when it began: {error}"
            raise UnreachableError(msg) from None
