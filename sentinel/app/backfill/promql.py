"""The past of a server's queries into a store: looked at first, then read slice by slice and stored as it comes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from sentinel.history.promql.cutting import Grid, Span
from sentinel.history.promql.reader import PromqlHistory, SliceRead
from sentinel.pipeline.backfill import STEP_NS, BackfillSummary
from sentinel.pipeline.backfill.slices import SliceBackfill, finish
from sentinel.pipeline.backfill.windows import CHUNK_NS
from sentinel.ports import Clock, PastStore
from sentinel.runtime.promql.client import PromqlClient
from sentinel.runtime.promql.config import QueryServerConfig

_SHORT_OF_NS = 3_600_000_000_000
"""Data that begins so much later than what was asked for is told of; below that a scrape may just have been missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """How far a backfill got.

    Attributes:
        done_ratio: of all the time that was asked for.
        run_ratio: of the time that this run has to read.
        value_count: values that came in this run.
        elapsed_s: since this run began to read.
        at_ns: up to where it was read.
    """

    done_ratio: float
    run_ratio: float
    value_count: int
    elapsed_s: float
    at_ns: int

    @property
    def rate(self) -> float:
        """Values a second."""
        return self.value_count / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds that are left at the speed so far, None before there is one."""
        if self.run_ratio <= 0:
            return None
        return self.elapsed_s * (1 - self.run_ratio) / self.run_ratio


@dataclass(slots=True)
class PromqlReport:
    """How a backfill ended.

    Attributes:
        summary: what is stored, by this run and by those that it went on from.
        remarks: what a person should know, one sentence each.
        resumed: whether it went on from an earlier run.
        value_count, request_count: of this run.
        read_s: seconds from the first slice that was asked for until all was stored.
        store_s: seconds in which slices were reduced and stored; the next ones are read meanwhile.
    """

    summary: BackfillSummary
    remarks: list[str] = field(default_factory=list)
    resumed: bool = False
    value_count: int = 0
    request_count: int = 0
    read_s: float = 0.0
    store_s: float = 0.0


async def backfill_from_server(
    server: QueryServerConfig,
    store: PastStore | None,
    *,
    span: Span,
    step_ns: int,
    now_ns: int,
    clock: Clock,
    on_advance: Callable[[Advance], None],
    on_wait: Callable[[str], None],
) -> PromqlReport:
    """Read `span` and store it; with no store it is only said what would be stored.

    What is done is noted in the store until `finished` says that all of a command is.

    Args:
        server: whom to ask, and what.
        store: open, or None for a dry run.
        span: windows, both ends at multiples of `STEP_NS` and not after `now_ns`.
        step_ns: between two values; divides `STEP_NS`.
        now_ns: the present.
        clock: for waits and durations.
        on_advance: told after each slice.
        on_wait: told why, whenever something is asked again.

    Raises:
        MalformedInputError: queries whose series cannot be told apart, or an answer that is none.
        UnreachableError, RefusedError: the server; what is stored until then stays, and the same call goes on from there.
        StoreError: the store does not take it.
    """
    backfill = SliceBackfill(store, digest=digest_of(server, step_ns), span=span, now_ns=now_ns)
    spans = backfill.left
    report = PromqlReport(summary=backfill.summary, resumed=backfill.resumed)
    client = PromqlClient(server)
    history = PromqlHistory(
        client,
        server.rules(),
        grid=Grid(step_ns=step_ns, bin_ns=STEP_NS, chunk_ns=CHUNK_NS),
        parallel=server.parallel,
        clock=clock,
        on_wait=on_wait,
    )
    to_read_ns = sum(last - first for first, last in spans)
    began_s = clock.monotonic_s()
    read_ns = 0

    async def take(one: SliceRead) -> None:
        nonlocal read_ns
        for reason, count in one.skipped.items():
            backfill.skip(reason.value, count)
        before_s = clock.monotonic_s()
        await asyncio.to_thread(backfill.add, one.rows, one.span)
        report.store_s += clock.monotonic_s() - before_s
        report.value_count += one.value_count
        read_ns += one.span[1] - one.span[0]
        done_ns = span[1] - span[0] - to_read_ns + read_ns
        on_advance(
            Advance(
                done_ratio=done_ns / (span[1] - span[0]),
                run_ratio=read_ns / to_read_ns,
                value_count=report.value_count,
                elapsed_s=clock.monotonic_s() - began_s,
                at_ns=one.span[1],
            )
        )

    try:
        outlook = await history.look(start_ns=span[0] + step_ns, end_ns=span[1])
        began_s = clock.monotonic_s()
        await history.read(spans, take)
    finally:
        await client.close()
    report.read_s = clock.monotonic_s() - began_s
    report.request_count = history.request_count
    report.summary = backfill.summary
    report.remarks = [
        *(f"query {name} gives nothing now" for name in outlook.silent),
        *history.remarks.said,
    ]
    if history.remarks.more_count:
        report.remarks.append(f"and {history.remarks.more_count} more such remarks")
    return report


def finished(store: PastStore, server: QueryServerConfig, *, step_ns: int, now_ns: int) -> None:
    """Every server of a command was read to the end, this one too: the next backfill of it begins anew."""
    finish(store, [digest_of(server, step_ns)], now_ns=now_ns)


def short_of_ns(span: Span, summary: BackfillSummary) -> int | None:
    """How much earlier than the first data was asked for, where that is more than a gap: the server keeps no more."""
    if not summary.window_count:
        return None
    missing_ns = summary.start_ns - span[0]
    return missing_ns if missing_ns >= _SHORT_OF_NS else None


def digest_of(server: QueryServerConfig, step_ns: int) -> str:
    """What a backfill is of: where it is read, and all that decides what becomes of it. No credentials."""
    rules = [asdict(rule) for rule in server.rules()]
    what = json.dumps([server.url, server.tenant, step_ns, rules], sort_keys=True)
    return hashlib.blake2b(what.encode(), digest_size=16).hexdigest()
