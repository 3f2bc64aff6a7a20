"""Reading the past of queries: slice by slice, several requests at once, and patiently.

What a server refuses as too much, or does not answer in time, is asked for in halves; what it cannot answer now is asked again
later, when it says so or after a growing wait, until it has not answered anything for a while. An answer that lacks a part is none. A
refusal for good ends it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol, TypeVar

import numpy as np

from sentinel.core.model import SHARE_KINDS, SeriesKey
from sentinel.core.normalise.promql.answer import Answer, AnswerSeries
from sentinel.core.normalise.promql.rows import QueryRows, Skip, rows_of, with_traffic_calls
from sentinel.core.normalise.promql.rules import Places, QueryRule, calls_rule
from sentinel.core.normalise.promql.zeros import KNOWN_FOR_NS, last_told, with_zeros
from sentinel.errors import (
    MalformedInputError,
    SentinelError,
    TooMuchAskedError,
    TooSlowError,
    UnreachableError,
    UntrustedError,
)
from sentinel.history.promql.cutting import Grid, Span
from sentinel.ports import Clock
from sentinel.runtime.backoff import Backoff
from sentinel.runtime.promql.whole import whole

PATIENCE_S = 300.0
_PATIENCE_AT_FIRST_S = 10.0
_BACKOFF = Backoff(first_s=0.5, limit_s=30.0)
_NOTES_MAX = 50


Result = TypeVar("Result")


class QueryClient(Protocol):
    """Who asks once; see `sentinel.runtime.promql.client.PromqlClient`."""

    async def instant(self, query: str, *, at_ns: int) -> Answer: ...  # noqa: D102  # said there

    async def over_range(  # noqa: D102
        self, query: str, *, first_ns: int, last_ns: int, step_ns: int
    ) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a first look found.

    Attributes:
        series_count: of all queries.
        silent: names of queries that give nothing now.
    """

    series_count: int
    silent: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceRead:
    """All rows of a slice.

    Attributes:
        span: the windows it is of.
        rows: by query.
        value_count: values that came, those of calls too.
    """

    span: Span
    rows: tuple[QueryRows, ...]
    value_count: int

    @property
    def skipped(self) -> dict[Skip, int]:
        """Values left out, by reason, of all queries."""
        found: dict[Skip, int] = {}
        for one in self.rows:
            for reason, count in one.skipped.items():
                found[reason] = found.get(reason, 0) + count
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What was answered of a slice, before absent series are looked at; `calls` by query."""

    span: Span
    rows: tuple[QueryRows, ...]
    calls: dict[str, QueryRows]
    value_count: int


@dataclass(slots=True)
class Remarks:
    """What a person should know, each once, and bounded.

    Attributes:
        said: sentences in the order they came.
        more_count: sentences that were not kept.
    """

    said: dict[str, None] = field(default_factory=dict)
    more_count: int = 0

    def add(self, sentences: Sequence[str]) -> None:
        """Note those that are new."""
        for one in sentences:
            if one in self.said:
                continue
            if len(self.said) < _NOTES_MAX:
                self.said[one] = None
            else:
                self.more_count += 1


class PromqlHistory:
    """The past of the queries of one server.

    Attributes:
        remarks: what the server said besides, and what does not fit the queries.
        request_count: requests that were answered.
    """

    def __init__(
        self,
        client: QueryClient,
        rules: Sequence[QueryRule],
        *,
        grid: Grid,
        parallel: int,
        clock: Clock,
        on_wait: Callable[[str], None],
    ) -> None:
        """Make it.

        Args:
            client: asks once.
            rules: what is asked.
            grid: how time is divided.
            parallel: most requests at once.
            clock: for waits.
            on_wait: told why, whenever something is asked again.
        """
        self._client = client
        self._rules = tuple(rules)
        self._places = tuple(map(Places, rules))
        self._grid = grid
        self._parallel = parallel
        self._clock = clock
        self._on_wait = on_wait
        self._calls_places = tuple(
            Places(calls_rule(rule)) for rule in rules if rule.absent_is_zero and rule.calls
        )
        self._known: dict[str, dict[SeriesKey, int]] = {}
        self._requests = asyncio.Semaphore(parallel)
        self._bins_max_of: dict[str, int] = {}
        self._series_count = 1
        self._last_good_s = 0.0
        self._patience_s = PATIENCE_S
        self.remarks = Remarks()
        self.request_count = 0

    async def look(self, *, start_ns: int, end_ns: int) -> Outlook:
        """Ask each query at both ends: whether it can be asked, how much it gives, and whether its series can be told apart.

        Raises:
            MalformedInputError: two series would be one; the message has a line for each fault.
            UnreachableError, RefusedError, InputError: as of the client; a server that is away is not waited for for long.
        """
        self._patience_s = _PATIENCE_AT_FIRST_S
        self._last_good_s = self._clock.monotonic_s()
        queries = list(dict.fromkeys(chain.from_iterable(map(_asked, self._rules))))
        newest, oldest = await _together(
            [self._instants(queries, end_ns), self._instants(queries, start_ns)]
        )
        self._patience_s = PATIENCE_S
        faults: list[str] = []
        silent: list[str] = []
        taken: dict[SeriesKey, str] = {}
        for places in self._places:
            rule = places.rule
            found = rows_of(places, newest[rule.query], step_ns=self._grid.step_ns)
            if found.skipped.get(Skip.SAME_PLACE):
                faults += found.notes
            if not newest[rule.query].series:
                silent.append(rule.name)
            for key in found.keys:
                other = taken.setdefault(key, rule.name)
                if other != rule.name:
                    faults.append(f"queries {other} and {rule.name} both give {key}")
                    break
        if faults:
            raise MalformedInputError("\n".join(faults))
        self._series_count = sum(
            max(len(newest[query].series), len(oldest[query].series)) for query in queries
        )
        return Outlook(series_count=self._series_count, silent=tuple(silent))

    async def read(
        self, spans: Sequence[Span], take: Callable[[SliceRead], Awaitable[None]]
    ) -> None:
        """Read spans in order and hand each slice on, in order; the next ones are asked for meanwhile.

        Raises:
            UnreachableError: nothing was answered for `PATIENCE_S`.
            RefusedError, InputError: as of the client.
        """
        self._last_good_s = self._clock.monotonic_s()
        per_slice = sum(len(_asked(rule)) for rule in self._rules)
        ahead = max(2, -(-self._parallel // max(per_slice, 1)))
        waiting: deque[tuple[bool, asyncio.Task[_Asked]]] = deque()

        async def hand_on() -> None:
            is_before, task = waiting.popleft()
            found = await task
            whole = await asyncio.to_thread(self._with_zeros, found)
            if not is_before:
                await take(whole)

        try:
            async with asyncio.TaskGroup() as group:
                for is_before, span in self._slices(spans):
                    waiting.append((is_before, group.create_task(self._slice(span))))
                    if len(waiting) >= ahead:
                        await hand_on()
                while waiting:
                    await hand_on()
        except BaseExceptionGroup as group_error:
            raise _first_of(group_error) from None

    def _slices(self, spans: Sequence[Span]) -> Iterator[tuple[bool, Span]]:
        """Slices of the spans; True with those before a span, which only tell what had a value of late.

        So a span that begins where an earlier run ended is read as if that had not ended.
        """
        reaches_back = any(map(_counts_absent, self._rules))
        last_ns = 0
        for start, end in spans:
            if reaches_back and start > last_ns:
                before = max(
                    last_ns, start - -(-KNOWN_FOR_NS // self._grid.bin_ns) * self._grid.bin_ns
                )
                yield from ((True, one) for one in self._cut((before, start)))
            yield from ((False, one) for one in self._cut((start, end)))
            last_ns = end

    def _cut(self, span: Span) -> Iterator[Span]:
        at, end = span
        while at < end:
            # As many series as the fullest slice so far: they may have been more in the past than now.
            one = self._grid.first_of((at, end), bins_max=self._grid.bins_max(self._series_count))
            yield one
            at = one[1]

    async def _slice(self, span: Span) -> _Asked:
        queries = list(dict.fromkeys(chain.from_iterable(map(_asked, self._rules))))
        found = await _together([self._range(query, span) for query in queries])
        answers = dict(zip(queries, found, strict=True))
        for answer in found:
            self.remarks.add([f"the server says: {said}" for said in answer.warnings])
        self._series_count = max(self._series_count, sum(len(each.series) for each in found))
        rows, calls = await asyncio.to_thread(self._rows, answers, span)
        for one in rows:
            self.remarks.add(one.notes)
        count = sum(answer.value_count for answer in found)
        return _Asked(span=span, rows=rows, calls=calls, value_count=count)

    def _rows(
        self, answers: dict[str, Answer], span: Span
    ) -> tuple[tuple[QueryRows, ...], dict[str, QueryRows]]:
        def over(places: Places, values: Answer, calls: Answer | None = None) -> QueryRows:
            step_ns = self._grid.step_ns
            return rows_of(
                places, values, calls, step_ns=step_ns, start_ns=span[0], end_ns=span[1]
            )

        rows = with_traffic_calls(
            [
                over(
                    places,
                    answers[places.rule.query],
                    answers[places.rule.calls] if places.rule.calls else None,
                )
                for places in self._places
            ]
        )
        calls = {
            places.rule.name: over(places, answers[places.rule.query])
            for places in self._calls_places
        }
        return rows, calls

    def _with_zeros(self, asked: _Asked) -> SliceRead:
        """The slice as live would have taken it; slices come in order, each knows which series had a value before it."""
        rows = with_zeros(asked.rows, self._rules, calls=asked.calls, known=self._known)
        for rule, one in zip(self._rules, asked.rows, strict=True):
            if _counts_absent(rule):
                known = {**self._known.get(rule.name, {}), **last_told([one])}
                oldest_ns = asked.span[1] - KNOWN_FOR_NS
                self._known[rule.name] = {
                    key: at_ns for key, at_ns in known.items() if at_ns >= oldest_ns
                }
        return SliceRead(span=asked.span, rows=rows, value_count=asked.value_count)

    async def _range(self, query: str, span: Span) -> Answer:
        """A query over a slice, in as many pieces as the server wants."""
        halves = self._grid.halves(span)
        bins = (span[1] - span[0]) // self._grid.bin_ns
        if halves is not None and bins > self._bins_max_of.get(query, bins):
            return _joined([await self._range(query, half) for half in halves])
        step_ns = self._grid.step_ns
        try:
            return await self._patiently(
                lambda: self._client.over_range(
                    query, first_ns=span[0] + step_ns, last_ns=span[1], step_ns=step_ns
                ),
                may_be_less=halves is not None,
            )
        except (TooMuchAskedError, TooSlowError):
            if halves is None:
                raise
            self._bins_max_of[query] = max(1, bins // 2)
            return _joined([await self._range(query, half) for half in halves])

    async def _instants(self, queries: Sequence[str], at_ns: int) -> dict[str, Answer]:
        found = await _together(
            [
                self._patiently(
                    lambda query=query: self._client.instant(query, at_ns=at_ns),  # type: ignore[misc]
                    may_be_less=False,
                )
                for query in queries
            ]
        )
        return dict(zip(queries, found, strict=True))

    async def _patiently(
        self, ask: Callable[[], Awaitable[Answer]], *, may_be_less: bool
    ) -> Answer:
        """Ask until there is an answer, or nothing was answered for so long; TooSlowError at once where less can be asked for."""
        attempts = 0
        while True:
            try:
                async with self._requests:
                    answer = whole(await ask())
            except UntrustedError:
                raise
            except UnreachableError as error:
                if may_be_less and isinstance(error, TooSlowError):
                    raise
                attempts += 1
                wait_s = max(_BACKOFF.wait_s(attempts), error.retry_after_s)
                quiet_s = self._clock.monotonic_s() - self._last_good_s
                # Who says when to come back is there, and is waited for that much longer.
                if quiet_s + wait_s > self._patience_s + error.retry_after_s:
                    raise
                self._on_wait(f"{error}; asked again in {wait_s:.0f} s")
                await self._clock.sleep(wait_s)
            else:
                self._last_good_s = self._clock.monotonic_s()
                self.request_count += 1
                return answer


def _counts_absent(rule: QueryRule) -> bool:
    """Whether an absent series of it counts nothing where it had a value of late."""
    return rule.absent_is_zero and rule.kind not in SHARE_KINDS


def _asked(rule: QueryRule) -> tuple[str, ...]:
    return (rule.query, rule.calls) if rule.calls else (rule.query,)


async def _together(asked: Sequence[Coroutine[Any, Any, Result]]) -> list[Result]:
    """What all of them give; the first that fails ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in asked]
    except BaseExceptionGroup as error:
        raise _first_of(error) from None
    return [task.result() for task in tasks]


def _joined(parts: Sequence[Answer]) -> Answer:
    """Answers over times that follow on one another as one."""
    pieces: dict[tuple[tuple[str, str], ...], list[AnswerSeries]] = {}
    for part in parts:
        for one in part.series:
            pieces.setdefault(tuple(sorted(one.labels.items())), []).append(one)
    return Answer(
        series=tuple(
            AnswerSeries(
                labels=found[0].labels,
                time_ns=np.concatenate([one.time_ns for one in found]),
                value=np.concatenate([one.value for one in found]),
            )
            for found in pieces.values()
        ),
        warnings=tuple(dict.fromkeys(chain.from_iterable(part.warnings for part in parts))),
        infos=tuple(dict.fromkeys(chain.from_iterable(part.infos for part in parts))),
        histogram_count=sum(part.histogram_count for part in parts),
    )


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that says most: one of ours, where there is one."""
    flat: list[BaseException] = []
    rest: list[BaseException] = [group]
    while rest:
        one = rest.pop(0)
        if isinstance(one, BaseExceptionGroup):
            rest += one.exceptions
        else:
            flat.append(one)
    return next((one for one in flat if isinstance(one, SentinelError)), flat[0])
