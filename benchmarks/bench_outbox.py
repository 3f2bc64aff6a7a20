"""What it costs the poster to tell others: transfers a second with and without outbox and control totals, and with the relay at work.

Method: NATS and PostgreSQL from the wheels, one connection that applies batches of one cohort as the poster does, 30 % of them on one
account. The three ways take turns, a round each, so that what else the machine does meets all of them alike; their ratio is what
counts. `relay` has the relay in the same process, as in a poster.

    python benchmarks/bench_outbox.py [--batches 40] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

from machine import describe
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from sentinel.reference.ledger.domain import Transfer
from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.operate.folders import temporary_folder
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.operate.servers import start_nats, start_postgres
from sentinel.reference.ledger.posting import BY_INDEX, apply
from sentinel.reference.ledger.posting.intake import Taken
from sentinel.reference.ledger.posting.relay import Relay, RelayConfig
from sentinel.reference.ledger.telemetry import Telemetry
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.envelope import Envelope
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Connection, Database
from sentinel.reference.ledger.wire.register import Opening

TENANT = "shop"
COHORT = new_cohort(TENANT)
WAYS = ("bare", "told", "relay")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(describe())
    asyncio.run(bench(args.batches, args.rounds))


async def bench(batches_count: int, rounds_count: int) -> None:
    with temporary_folder() as folder:
        async with AsyncExitStack() as stack:
            nats = await start_nats(folder / "nats")
            stack.push_async_callback(nats.stop, timeout_s=5.0)
            postgres = await start_postgres(folder / "postgres")
            stack.push_async_callback(postgres.stop, timeout_s=5.0)
            # A machine that others use too may take its time.
            config = PostgresConfig(
                url=postgres.url_file.read_text(), statement_timeout_s=30.0, lock_timeout_s=29.0
            )
            await prepare(config, [Opening(name=TENANT)])
            database = await Database.connect(
                config, application_name="bench", settings=dict(BY_INDEX)
            )
            stack.push_async_callback(database.close)
            queue = await Queue.connect(
                NatsConfig(url=nats.url), name="bench", on_change=lambda *_: None
            )
            stack.push_async_callback(queue.close)
            for size in (10, 100, 200):
                await compare(database, queue, size, batches_count, rounds_count)


async def compare(
    database: Database, queue: Queue, size: int, batches_count: int, rounds_count: int
) -> None:
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds_count + 1):
        for way in random.sample(WAYS, len(WAYS)):
            seconds = await one_round(
                database, queue, way, size, batches_count, f"{size}-{number}"
            )
            if number:  # the first one warms up
                rates[way].append(size * batches_count / seconds)
    medians = {way: statistics.median(found) for way, found in rates.items()}
    told = ", ".join(
        f"{way} {medians[way]:,.0f}/s ({medians[way] / medians['bare']:.2f})" for way in WAYS
    )
    print(f"batches of {size}: {told}")


async def one_round(
    database: Database, queue: Queue, way: str, size: int, batches_count: int, mark: str
) -> float:
    batches = [envelopes(f"{way}-{mark}-{at}", size) for at in range(batches_count)]
    async with database.acquire() as connection, relaying(database, queue, on=way == "relay"):
        with untold(on=way == "bare"):
            began = time.perf_counter()
            for at, batch in enumerate(batches):
                await apply_one(connection, batch, at * size)
            seconds = time.perf_counter() - began
        await connection.execute("delete from ledger.outbox")
    return seconds


async def apply_one(connection: Connection, batch: list[Envelope], first: int) -> None:
    now = datetime.now(UTC)
    taken = [Taken(sequence=first + at + 1, stored_at=now) for at in range(len(batch))]
    await apply.apply_batch(connection, COHORT, batch, taken=taken)


def envelopes(mark: str, size: int) -> list[Envelope]:
    pick = random.Random(mark)
    return [
        Envelope(
            asked=Transfer(
                tenant=TENANT,
                idempotency_key=f"{mark}-{at}",
                debit_account="external:bank",
                credit_account="hot" if pick.random() < 0.3 else f"a{pick.randrange(2000)}",
                amount_minor=100,
                currency="EUR",
            ),
            cohort=COHORT,
            accepted_ns=time.time_ns(),
        )
        for at in range(size)
    ]


@contextlib.contextmanager
def untold(*, on: bool) -> Iterator[None]:
    """Leave out what a batch writes for others."""

    async def nothing(*_: object, **__: object) -> None:
        return None

    kept = apply.tell
    if on:
        apply.tell = nothing  # type: ignore[assignment]
    try:
        yield
    finally:
        apply.tell = kept


@contextlib.asynccontextmanager
async def relaying(database: Database, queue: Queue, *, on: bool) -> AsyncIterator[None]:
    if not on:
        yield
        return
    telemetry = Telemetry(
        service="bench",
        tracers=TracerProvider(shutdown_on_exit=False),
        meters=MeterProvider(shutdown_on_exit=False),
        loggers=LoggerProvider(shutdown_on_exit=False),
    )
    relay = Relay(
        RelayConfig(interval_s=0.02),
        cohorts=(COHORT,),
        queue=queue,
        database=database,
        telemetry=telemetry,
    )
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    main()
