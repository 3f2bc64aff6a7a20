"""A PostgreSQL server that is watched: its connections, its questions, and what of its answers is known now.

One connection a database is opened by the first poll and kept: a server that is full has room for nobody who comes
later. When it is lost, each poll tries once, and not before a wait that doubles and is drawn by lot, so that a server
that comes back is not met by all its watchers at once.

Each answer holds until its question is asked again, so that its series have a value in each window. One that fails costs
its own series and no other; what it gave before is not said again. A poll that runs out of time gives what it has, and
what was not asked is asked first in the next. Transactions that a poll did not ask for are said to be still to come: until
they are told their windows have no value, and no 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sentinel.core.normalise.postgres import PostgresReader, Reading, batch_of, refused
from sentinel.errors import RefusedError, UnreachableError
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.component import Surroundings
from sentinel.runtime.polling.component import Polled
from sentinel.runtime.polling.reach import Reach
from sentinel.scrapers.postgres import sql_server
from sentinel.scrapers.postgres.config import PostgresTargetConfig
from sentinel.scrapers.postgres.link import Link
from sentinel.scrapers.postgres.queries import (
    ABSENT_EVERY_S,
    AskedOf,
    Lack,
    queries,
)
from sentinel.scrapers.postgres.reaching import look
from sentinel.scrapers.postgres.schedule import Due, Schedule
from sentinel.scrapers.postgres.session import (
    DeniedError,
    Failure,
    QueryError,
    Session,
    tls_context,
)

_POLL_SHARE = 0.7
"""After so much of a poll's time nothing more is asked."""
_BYTES_PER_LEVEL = 100
_NOTES_MAX = 20
_COST_EVERY_S = 60.0
_OFTEN_S = 60.0
_BEGAN = "SELECT extract(epoch FROM pg_postmaster_start_time())::float8 AS began"

Rows = Sequence[Mapping[str, object]]


class PostgresTarget:
    """One server."""

    def __init__(
        self,
        config: PostgresTargetConfig,
        surroundings: Surroundings,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        # A file of its TLS that cannot be used is found before the start, not by the first poll.
        tls_context(config)
        self._config = config
        self._clock = surroundings.clock
        self._metrics = surroundings.metrics
        self._databases = (config.database, *config.databases)
        self._links = {
            name: Link(
                config,
                name,
                clock=self._clock,
                backoff=backoff or Backoff(first_s=1.0, limit_s=60.0),
                met=self._met,
            )
            for name in self._databases
        }
        asked = [
            query
            for query in queries(
                statement_count=config.statement_count, table_count=config.table_count
            )
            if query.subject not in config.leave_out
        ]
        self._schedule = Schedule(
            interval_s=config.interval,
            cost_ratio_max=config.cost_ratio_max,
            entries=[
                Due(query, name)
                for query in asked
                for name in (self._databases if query.per_database else self._databases[:1])
            ],
        )
        self._reader = PostgresReader(
            statement_count=config.statement_count,
            table_count=config.table_count,
            rollbacks_are_errors=config.rollbacks.are_errors,
        )
        self._known: dict[tuple[str, str], Reading] = {}
        self._counted_of: tuple[str, ...] = ()
        self._server_began_s: float | None = None
        self._in_recovery = False
        self._costed_ns = 0

    @property
    def name(self) -> str:
        """As configured."""
        return self._config.name

    @property
    def interval_s(self) -> float:
        """How often it is asked."""
        return self._config.interval

    @property
    def timeout_s(self) -> float:
        """Longest time of a whole poll."""
        return self._config.timeout

    async def poll(self, now_ns: int) -> Polled:
        """Ask what is due.

        Raises:
            UnreachableError, RefusedError: the server gave no answer at all.
        """
        until_s = self._clock.monotonic_s() + _POLL_SHARE * self._config.timeout
        fresh: list[Reading] = []
        try:
            await self._links[self._config.database].ready()
            now_s = self._clock.monotonic_s()
            due = self._schedule.due(now_s)
            self._unasked(self._schedule.cut(now_s), "cost")
            for at, one in enumerate(due):
                if self._clock.monotonic_s() > until_s:
                    self._unasked([left for left in due[at:] if left.is_first], "time")
                    break
                reading = await self._ask(one, now_ns)
                if reading is not None:
                    fresh.append(reading)
            await self._flush()
        except DeniedError as error:
            self._lost()
            if error.server_is_full:
                return self._polled((refused(),), (), now_ns, notes=(str(error),))
            raise
        except UnreachableError:
            self._lost()
            raise
        self._tell_cost()
        return self._polled(self._known.values(), fresh, now_ns, notes=self._notes())

    async def reach(self) -> tuple[Reach, ...]:
        """What a connection of its own finds: rights, extensions, version, and the SQL that mends what is missing."""
        return await look(self._config)

    async def close(self) -> None:
        """Let go of the connections; idempotent."""
        for link in self._links.values():
            await link.drop()
        self._count_connections()

    # Connections.

    async def _met(self, session: Session) -> None:
        """A server was just connected to: it may be another one, and what was absent may be there."""
        if session.database == self._config.database:
            await self._compare(session)
        for one in self._schedule.entries:
            if one.database == session.database and one.note:
                self._schedule.at_once(one)
        self._count_connections()

    async def _compare(self, session: Session) -> None:
        """Begin anew with every counter when another server answers, or this one was started anew."""
        (row,) = await session.fetch(_BEGAN)
        began_s = float(str(row["began"]))
        if self._server_began_s not in (None, began_s):
            self._reader.forget()
        self._server_began_s = began_s

    def _lost(self) -> None:
        """What was true a moment ago is not known any more; what changes in hours is not asked again for it."""
        for one in self._schedule.entries:
            if one.query.every_s <= _OFTEN_S:
                self._known.pop((one.query.subject, one.database), None)
                self._schedule.at_once(one)
        self._count_connections()

    def _count_connections(self) -> None:
        count = sum(
            link.session is not None and link.session.is_open for link in self._links.values()
        )
        self._metrics.set("sentinel_postgres_connections_count", count, target=self.name)

    # Questions.

    async def _ask(self, one: Due, now_ns: int) -> Reading | None:
        """Ask one question; None when it gave nothing. UnreachableError when the server itself is gone."""
        query, key = one.query, (one.query.subject, one.database)
        is_main = one.database == self._config.database
        if query.asked_of is AskedOf.STANDBY and not self._in_recovery:
            self._known.pop(key, None)
            return None
        link = self._links[one.database]
        started_s = self._clock.monotonic_s()
        try:
            session = await link.ready()
            text = await self._text(one, session, link)
            if not text:
                self._known.pop(key, None)
                return None
            own = self._own()
            started_s = self._clock.monotonic_s()
            rows = await session.fetch(text, *([query.limit] if query.limit else []))
            elapsed_s = self._clock.monotonic_s() - started_s
            reading = (
                self._reader.read_databases(rows, now_ns=now_ns, own=own)
                if query.subject == "databases"
                else await self._read(one, rows, session, link, now_ns)
            )
        except QueryError as error:
            self._known.pop(key, None)
            self._missed(one, error, started_s)
            return None
        except (UnreachableError, RefusedError) as error:
            if is_main:
                raise
            # Only this database is away; the server answers.
            self._known.pop(key, None)
            self._schedule.failed(
                one, now_s=self._clock.monotonic_s(), note=f"database {one.database}: {error}"
            )
            self._counted(one, "unreachable")
            return None
        self._schedule.answered(one, now_s=self._clock.monotonic_s(), elapsed_s=elapsed_s)
        self._counted(one, "ok")
        if reading.missing:
            one.note = f"{query.subject}: {reading.missing}; {self._remedy(one)}"
        self._known[key] = reading
        return reading

    async def _text(self, one: Due, session: Session, link: Link) -> str:
        """What to ask here, "" where there is nothing to ask; QueryError when an extension is not there."""
        query = one.query
        text = query.text_for(session.version)
        if not text:
            self._schedule.until(one, float("inf"))
            return ""
        if not (query.extension or query.unless_extension):
            return text
        installed = await link.extensions()
        if query.unless_extension in installed:
            self._schedule.until(one, self._clock.monotonic_s() + ABSENT_EVERY_S)
            return ""
        if not query.extension:
            return text
        if query.extension not in installed:
            msg = f"the extension {query.extension} is not installed in database {one.database}"
            raise NoExtensionError(Failure.ABSENT, msg)
        return text.replace("{schema}", installed[query.extension])

    async def _read(
        self, one: Due, rows: Rows, session: Session, link: Link, now_ns: int
    ) -> Reading:
        subject = one.query.subject
        if subject == "statements":
            if unknown := self._reader.choose_statements(rows, now_ns=now_ns):
                schema = (await link.extensions())["pg_stat_statements"]
                texts = sql_server.STATEMENT_TEXTS.replace("{schema}", schema)
                self._reader.statements.learn(await session.fetch(texts, list(unknown)))
            self._measure(rows, now_ns)
        if subject == "activity":
            self._in_recovery = any(row["in_recovery"] for row in rows)
        if subject == "bloat" and rows and all(row["bloat_ratio"] is None for row in rows):
            return Reading(missing="the widths of columns are not to be seen")
        return self._reader.read(subject, rows, now_ns=now_ns, database=one.database)

    def _missed(self, one: Due, error: QueryError, started_s: float) -> None:
        now_s, subject = self._clock.monotonic_s(), one.query.subject
        self._counted(one, error.failure.value)
        if error.failure is Failure.ABSENT:
            is_extension = isinstance(error, NoExtensionError)
            lack = Lack.EXTENSION if is_extension else one.query.lack_of(error.sqlstate)
            note = f"{subject}: {error}; {self._remedy(one, lack)}"
            self._schedule.absent(one, now_s=now_s, note=note)
        elif error.failure is Failure.SLOW:
            note = f"{subject}: the answer took too long and is asked for more seldom"
            self._schedule.slow(one, now_s=now_s, elapsed_s=now_s - started_s, note=note)
        else:
            self._schedule.failed(one, now_s=now_s, note=f"{subject}: {error}")

    def _remedy(self, one: Due, lack: Lack = Lack.RIGHTS) -> str:
        remedy = one.query.remedy_for(role=self._config.user, lack=lack)
        return remedy or "see docs/components/postgres.md"

    def _unasked(self, entries: Iterable[Due], reason: str) -> None:
        """Count what belongs to this poll and is not asked in it."""
        for one in entries:
            self._metrics.count(
                "sentinel_postgres_unasked_total",
                target=self.name,
                subject=one.query.subject,
                reason=reason,
            )

    def _counted(self, one: Due, result: str) -> None:
        self._metrics.count(
            "sentinel_postgres_queries_total",
            target=self.name,
            subject=one.query.subject,
            result=result,
        )

    # What it comes to.

    async def _flush(self) -> None:
        """Have the server count our own transactions now, so that they can be taken off at the next poll."""
        for link in self._links.values():
            if link.session is not None and link.session.is_open:
                try:
                    await link.session.fetch("SELECT pg_stat_force_next_flush()")
                except QueryError:
                    continue
                except UnreachableError:
                    if link.database == self._config.database:
                        raise

    def _own(self) -> dict[str, tuple[int, int]]:
        return {name: link.own() for name, link in self._links.items()}

    def _measure(self, rows: Rows, now_ns: int) -> None:
        for row in rows[:1]:
            cost = self._reader.own_cost_ratio(float(str(row["own_ms"])), now_ns=now_ns)
            if cost is not None:
                self._costed_ns = now_ns
                self._metrics.set("sentinel_postgres_cost_ratio", cost, target=self.name)

    def _tell_cost(self) -> None:
        if self._clock.now_ns() - self._costed_ns > 3 * _COST_EVERY_S * 1e9:
            self._metrics.set(
                "sentinel_postgres_cost_ratio", self._schedule.cost_ratio(), target=self.name
            )

    def _notes(self) -> tuple[str, ...]:
        notes = dict.fromkeys(
            one.note for one in self._schedule.entries if one.note and not one.query.optional
        )
        return (*self._slowed(), *notes)[:_NOTES_MAX]

    def _slowed(self) -> tuple[str, ...]:
        """That what belongs to each poll waits for its cost: first, because a series holds or has a gap for it."""
        if not (every_s := self._schedule.slowed_s):
            return ()
        return (
            f"answers take more of the server than cost_ratio_max ({self._config.cost_ratio_max:g}) lets: "
            f"what belongs to each poll is asked every {every_s:g} s at worst",
        )

    def _polled(
        self,
        known: Iterable[Reading],
        fresh: Sequence[Reading],
        now_ns: int,
        *,
        notes: tuple[str, ...],
    ) -> Polled:
        transactions = [one for reading in fresh for one in reading.transactions]
        if transactions:
            self._counted_of = tuple(one.route for one in transactions)
        batch = batch_of(
            known,
            transactions,
            pending=() if transactions else self._counted_of,
            service=self._config.service,
            now_ns=now_ns,
        )
        return Polled(batch=batch, size_bytes=_BYTES_PER_LEVEL * batch.sample_count, notes=notes)


class NoExtensionError(QueryError):
    """What is asked needs an extension that is not installed."""
