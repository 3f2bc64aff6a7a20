"""Asks all queries of one server for one instant: some at once, again while that may help, and of its replicas in turn.

how a question ends                       then
an answer                                 it is taken
an answer that says it lacks a part       as no answer: a sum without a part of it would look like a fall
no answer, or "later"                     the next replica, then again after a while, until time is up
the query is refused, or over a limit     not asked again before the next window
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sentinel.core.normalise.promql.answer import Answer
from sentinel.core.normalise.promql.rules import QueryRule
from sentinel.errors import SentinelError, UnreachableError
from sentinel.ports import Clock
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.promql import QueryServerConfig
from sentinel.runtime.promql.client import PromqlClient
from sentinel.runtime.promql.whole import whole

_BACKOFF = Backoff(first_s=1.0, factor=2.0, limit_s=8.0)
_IS_THERE = "vector(1)"


@dataclass(slots=True, kw_only=True)
class Round:
    """What was asked for one instant, and what came of it so far.

    Attributes:
        at_ns: the instant.
        answers: by the query's name; with those of its calls.
        failed: why nothing came of the others, by name.
    """

    at_ns: int
    answers: dict[str, tuple[Answer, Answer | None]] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)


class Asking:
    """One server and its replicas, of which the one that answered last is asked first."""

    def __init__(self, server: QueryServerConfig, clock: Clock) -> None:
        """Make the clients; ConfigError when a file of their TLS cannot be used."""
        urls = dict.fromkeys((server.url, *server.replica_urls))
        self._clients = [PromqlClient(replace(server, url=url)) for url in urls]
        self._room = asyncio.Semaphore(server.parallel)
        self._clock = clock
        self._first = 0

    async def ask(
        self, rules: Sequence[QueryRule], *, at_ns: int, within_s: float, once: bool = False
    ) -> Round:
        """Ask until every query has its answer, or cannot have one, or time is up, or `once`; never raises for what was asked."""
        asked = Round(at_ns=at_ns)
        pending = list(rules)
        until_s = self._clock.monotonic_s() + within_s
        attempt = 0
        while pending:
            attempt += 1
            left_s = until_s - self._clock.monotonic_s()
            if left_s <= 0:
                break
            try:
                async with asyncio.timeout(left_s):
                    await self._once(pending, asked)
            except TimeoutError:
                for rule in pending:
                    if rule.name not in asked.answers:
                        asked.failed.setdefault(rule.name, TimeoutError())
                break
            pending = [
                rule
                for rule in pending
                if rule.name not in asked.answers
                and isinstance(asked.failed.get(rule.name), UnreachableError)
            ]
            wishes = [
                error.retry_after_s
                for rule in pending
                if isinstance(error := asked.failed[rule.name], UnreachableError)
            ]
            wait_s = _BACKOFF.wait_s(attempt, retry_after_s=min(wishes, default=0.0))
            if once or not pending or self._clock.monotonic_s() + wait_s >= until_s:
                break
            await self._clock.sleep(wait_s)
        return asked

    async def over(
        self, rules: Sequence[QueryRule], *, first_ns: int, last_ns: int, step_ns: int
    ) -> dict[str, tuple[Answer, Answer | None]]:
        """Ask each query over a span of the past, once; raises what any of them met."""
        client = self._clients[self._first]

        async def one(rule: QueryRule) -> tuple[Answer, Answer | None]:
            async with self._room:
                span = {"first_ns": first_ns, "last_ns": last_ns, "step_ns": step_ns}
                values = whole(await client.over_range(rule.query, **span))
                if not rule.calls:
                    return values, None
                return values, whole(await client.over_range(rule.calls, **span))

        found = await asyncio.gather(*(one(rule) for rule in rules))
        return dict(zip((rule.name for rule in rules), found, strict=True))

    async def close(self) -> None:
        """Release connections; idempotent."""
        for client in self._clients:
            await client.close()

    async def _once(self, pending: Sequence[QueryRule], asked: Round) -> None:
        """Ask each once, of the first server that is there."""
        count = len(self._clients)
        problem: Exception | None = None
        for turn in range(count):
            number = (self._first + turn) % count
            problem = await self._absence(self._clients[number], at_ns=asked.at_ns)
            if problem is None:
                self._first = number
                client = self._clients[number]
                await asyncio.gather(*(self._one(client, rule, asked) for rule in pending))
                return
        for rule in pending:
            asked.failed[rule.name] = problem or TimeoutError()

    async def _absence(self, client: PromqlClient, *, at_ns: int) -> UnreachableError | None:
        """Why the server cannot be asked; None where it answers. A query may be slow without it being away, so none of them is asked."""
        try:
            await client.instant(_IS_THERE, at_ns=at_ns)
        except UnreachableError as error:
            return error
        except SentinelError:
            return None  # it answers, if not to this
        return None

    async def _one(self, client: PromqlClient, rule: QueryRule, asked: Round) -> None:
        async with self._room:
            try:
                values = whole(await client.instant(rule.query, at_ns=asked.at_ns))
                calls: Answer | None = None
                if rule.calls:
                    calls = whole(await client.instant(rule.calls, at_ns=asked.at_ns))
            except SentinelError as error:
                asked.failed[rule.name] = error
            else:
                asked.failed.pop(rule.name, None)
                asked.answers[rule.name] = (values, calls)
