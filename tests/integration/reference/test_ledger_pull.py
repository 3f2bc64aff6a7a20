"""Goal: what is fetched at a time is bounded in bytes, and all of it comes, however large a single message is.

Method: a consumer on a real server; and a poster in a process of its own, whose memory is measured while it decides large batches.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator

import nats
import orjson
import pytest
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NoStreamResponseError

from sentinel.reference.ledger.domain import identity
from sentinel.reference.ledger.domain.tenant import new_cohort
from sentinel.reference.ledger.wire.nats import CONSUMER, stream_name
from sentinel.reference.ledger.wire.nats.pull import Pull
from tests.support.ledger_servers import LedgerServers, LedgerSite

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

MIB = 1024 * 1024
BATCHES_COUNT, ITEMS_COUNT = 160, 1900
# Measured: 96 MiB; with all that was there fetched at once, 322.
PEAK_BYTES_MAX = 180 * MIB

# A poster that decides at once: the database's part is left out, for it is not what takes the memory.
DECIDING_POSTER = """
import asyncio, os, pathlib, re, sys
from contextlib import asynccontextmanager
from sentinel.reference.ledger.domain import Decision, Outcome
from sentinel.reference.ledger.posting import Poster, PosterConfig, poster
from sentinel.reference.ledger.telemetry import start_telemetry
from sentinel.reference.ledger.wire.config import NatsConfig
from sentinel.reference.ledger.wire.nats import Queue

count, cohort = 0, int(sys.argv[2])

async def decide(connection, cohort, envelopes, **rest):
    global count
    count += len(envelopes)
    requests = [request for one in envelopes for request in one.requests]
    assert len(requests) <= 5000
    if count == int(sys.argv[1]):
        stop.set()
    return [Decision(request=one, outcome=Outcome.REPLAYED, reason=None, movement=None) for one in requests]

async def no_position(connection):
    return ""

class NoDatabase:
    namespace = "books|ledger"
    def occupancy(self):
        return 0, 0
    @asynccontextmanager
    async def acquire(self):
        yield self
    async def fetch(self, *rest):
        return []
    def transaction(self):
        return self
    async def fetchval(self, *rest):
        return False
    async def fetchrow(self, *rest):
        return {"waiting_count": 0, "oldest_s": 0.0}
    async def __aenter__(self):
        return self
    async def __aexit__(self, *rest):
        return None

async def main():
    global stop
    stop = asyncio.Event()
    poster.apply_batch, poster.log_position = decide, no_position
    queue = await Queue.connect(NatsConfig(url=os.environ["NATS"], ack_wait_s=30.0), name="measured", on_change=lambda *_: None)
    await queue.subscribe([cohort])
    await Poster(PosterConfig(cohorts=(cohort,), gather_s=0.0), queue=queue, database=NoDatabase(),
                 telemetry=start_telemetry("measured", {})).run(stop)
    await queue.close()
    # Of this program alone: ru_maxrss begins with what the process had that started it.
    status = pathlib.Path("/proc/self/status").read_text()
    print(count, int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024)

asyncio.run(main())
"""


@pytest.fixture
async def client(ledger_servers: LedgerServers) -> AsyncIterator[Client]:
    """A connection, with a stream and a consumer of this test's own."""
    connection = await nats.connect(ledger_servers.nats_url)
    js = connection.jetstream()
    await js.add_stream(name="PULLED", subjects=["pulled.>"])
    await js.add_consumer(
        "PULLED", ConsumerConfig(durable_name="reader", ack_policy=AckPolicy.EXPLICIT)
    )
    yield connection
    await js.delete_stream("PULLED")
    await connection.close()


@pytest.fixture
async def pull(client: Client) -> AsyncIterator[Pull]:
    reading = Pull(client, stream="PULLED", durable="reader")
    await reading.start()
    yield reading
    await reading.stop()


async def sizes(reading: Pull, *, count_max: int = 100, bytes_max: int = MIB) -> list[int]:
    found = await reading.fetch(count_max=count_max, bytes_max=bytes_max, wait_s=0.3)
    return [len(one.data) for one in found]


async def test_a_fetch_brings_what_is_there_within_its_bytes(client: Client, pull: Pull) -> None:
    for size in (1000, 1000, 1000, 5000, 10):
        await client.jetstream().publish("pulled.x", b"x" * size)
    began_s = time.monotonic()
    fetched = [await sizes(pull, bytes_max=2500) for _ in range(4)]
    assert fetched == [[1000, 1000], [1000], [5000], [10]], (
        "one too large for any fetch comes alone"
    )
    assert time.monotonic() - began_s < 10, "none of them waits for more to come"
    assert await sizes(pull) == []


async def test_a_fetch_brings_no_more_than_its_count_and_waits_for_the_first(
    client: Client, pull: Pull
) -> None:
    for _ in range(5):
        await client.jetstream().publish("pulled.x", b"x")
    assert [len(await sizes(pull, count_max=2)) for _ in range(3)] == [2, 2, 1]

    async def publish_later() -> None:
        await asyncio.sleep(0.2)
        await client.jetstream().publish("pulled.x", b"late")

    later = asyncio.create_task(publish_later())
    found = await pull.fetch(count_max=100, bytes_max=MIB, wait_s=20.0)
    await later
    assert [one.data for one in found] == [b"late"]
    assert found[0].subject == "pulled.x"
    assert found[0].metadata.sequence.stream == 6


async def test_what_comes_after_a_fetch_was_given_up_is_not_lost(
    client: Client, pull: Pull
) -> None:
    fetching = asyncio.create_task(pull.fetch(count_max=100, bytes_max=MIB, wait_s=5.0))
    await asyncio.sleep(0.3)
    fetching.cancel()
    await client.jetstream().publish("pulled.x", b"late")
    await asyncio.sleep(0.3)
    assert await sizes(pull) == [4]


async def test_a_consumer_that_is_gone_is_told_at_once(client: Client, pull: Pull) -> None:
    await client.jetstream().delete_consumer("PULLED", "reader")
    with pytest.raises(NoStreamResponseError):
        await pull.fetch(count_max=100, bytes_max=MIB, wait_s=30.0)


@pytest.mark.full  # a minute of reading
async def test_large_batches_are_decided_in_bounded_memory(ledger_site: LedgerSite) -> None:
    """A hundred and sixty batches of 5,000 that waited were fetched at once, and a pod of 384Mi was killed again and again."""
    cohort = new_cohort("shop")
    # Long names in place of more items, which would take a minute to read: what counts is how much there is.
    items = [
        {
            "debit_account": f"external:{place}".ljust(64, "b"),
            "credit_account": f"{place}".ljust(64, "a"),
            "amount_minor": 1,
            "currency": "EUR",
        }
        for place in range(ITEMS_COUNT)
    ]
    rest = orjson.dumps(
        {
            "version": 2,
            "accepted_ns": 1,
            "cohort": cohort,
            "tenant": "shop",
            "kind": "batch",
            "items": items,
        }
    )
    client = await nats.connect(ledger_site.nats.url)
    try:
        js = client.jetstream()
        for index in range(BATCHES_COUNT):
            batch_id = identity.batch_id(tenant="shop", idempotency_key=f"k{index}")
            named = orjson.dumps({"id": str(batch_id), "idempotency_key": f"k{index}"})
            payload = named[:-1] + b"," + rest[1:]
            await js.publish(f"ledger.c{cohort}.transfers.{batch_id}", payload)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", DECIDING_POSTER, str(BATCHES_COUNT), str(cohort)),
            env={"NATS": ledger_site.nats.url, "PATH": ""},
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            told, _ = await asyncio.wait_for(process.communicate(), timeout=200)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0
        decided_count, peak_bytes = (int(word) for word in told.split())
        assert decided_count == BATCHES_COUNT
        assert peak_bytes < PEAK_BYTES_MAX
        info = await js.consumer_info(stream_name(cohort), CONSUMER)
        assert (info.num_pending, info.num_ack_pending) == (0, 0)
    finally:
        await client.close()
