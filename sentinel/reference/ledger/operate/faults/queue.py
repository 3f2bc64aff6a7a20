"""Faults of NATS: poison, messages lost, messages kept, a stream and a store that are full, readers that are too slow."""

from __future__ import annotations

import asyncio
import random
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import NotFoundError

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.tenant import COHORTS_COUNT
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target, repeated
from sentinel.reference.ledger.operate.faults.processes import let_go, stop
from sentinel.reference.ledger.wire.envelope import transfer_subject
from sentinel.reference.ledger.wire.nats import CONSUMER, STREAMS, operator

_LOSS_S: Final = 15.0
_LOSS_EVERY_S: Final = 120.0
_ROOM_BYTES: Final = 32 * 1024
_TAKEN_AT_ONCE: Final = 200
_KEEP_S: Final = 3.0
_BALLAST: Final = "LEDGER_FAULT_BALLAST"
_BALLAST_RATIO: Final = 0.96
_PIECE_BYTES: Final = 512 * 1024
_FLOOD: Final = "ledger_fault.flood"
_FLOOD_PIECES: Final = 48
_FLOOD_EVERY_S: Final = 60.0
_UNREAD_S: Final = 20.0


@asynccontextmanager
async def poison(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Put messages on the queue that nobody can read."""
    del config
    async with operator(target.nats, name="ledger_fault:poison") as (_, stream):

        async def put() -> None:
            cohort = random.randrange(COHORTS_COUNT)  # noqa: S311 - any will do
            subject = transfer_subject(cohort=cohort, asked_id=uuid.uuid4())
            await stream.publish(subject, b"not a transfer")

        async with repeated(put, every_s=2.0):
            yield {"subject": "ledger.*.transfers.*"}


@asynccontextmanager
async def loss(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Hold the poster for a moment, and purge what has been accepted meanwhile."""
    del config
    async with operator(target.nats, name="ledger_fault:loss") as (_, stream):

        async def lose() -> None:
            stop(target, "poster")
            await asyncio.sleep(_LOSS_S)
            for name in STREAMS:
                await stream.purge_stream(name)
            let_go(target, "poster")

        async with repeated(lose, every_s=_LOSS_EVERY_S):
            yield {"streams": STREAMS, "purged_every_s": _LOSS_EVERY_S + _LOSS_S}


@asynccontextmanager
async def unacknowledged(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Take every message in the poster's place, and acknowledge none."""
    del config
    async with operator(target.nats, name="ledger_fault:unacknowledged") as (client, stream):
        stop(target, "poster")
        takers = [
            await stream.pull_subscribe_bind(consumer=CONSUMER, stream=name) for name in STREAMS
        ]
        taken: list[Msg] = []

        async def take_from(taker: JetStreamContext.PullSubscription) -> None:
            with suppress(TimeoutError):
                taken.extend(await taker.fetch(_TAKEN_AT_ONCE, timeout=1))

        async def take() -> None:
            await asyncio.gather(*(take_from(taker) for taker in takers))
            for message in taken:
                await message.in_progress()

        try:
            async with repeated(take, every_s=_KEEP_S):
                yield {"consumer": CONSUMER, "ack_pending_max": target.nats.ack_pending_max}
        finally:
            for message in taken:
                await message.nak()
            await client.flush(timeout=2)


@asynccontextmanager
async def full(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Hold the poster, and leave the streams hardly any room."""
    del config
    async with operator(target.nats, name="ledger_fault:full") as (_, stream):
        infos = [await stream.stream_info(name) for name in STREAMS]
        limits = {str(info.config.name): info.config.max_bytes for info in infos}
        target.note(max_bytes=limits)
        stop(target, "poster")
        for info in infos:
            max_bytes = info.state.bytes + _ROOM_BYTES
            await stream.update_stream(replace(info.config, max_bytes=max_bytes))
        yield {"streams": STREAMS, "room_bytes": _ROOM_BYTES}


async def make_room(target: Target) -> None:
    """Give the streams the limits that they had, and let the poster go."""
    let_go(target, "poster")
    limits = target.notes.get("max_bytes")
    if isinstance(limits, dict):
        async with operator(target.nats, name="ledger_fault:full") as (_, stream):
            for name, limit in limits.items():
                info = await stream.stream_info(name)
                await stream.update_stream(replace(info.config, max_bytes=limit))


@asynccontextmanager
async def store_full(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Fill the memory that JetStream may have with somebody else's stream."""
    del config
    async with operator(target.nats, name="ledger_fault:store") as (_, stream):
        limit = int(await _memory_limit(target))
        target.note(limit=limit)
        await stream.add_stream(
            StreamConfig(name=_BALLAST, subjects=[_BALLAST], storage=StorageType.MEMORY)
        )
        piece = bytes(_PIECE_BYTES)
        for _ in range(int(limit * _BALLAST_RATIO) // _PIECE_BYTES):
            await stream.publish(_BALLAST, piece)
        yield {"stream": _BALLAST, "limit_bytes": limit}


async def drop_ballast(target: Target) -> None:
    """Delete the stream that filled the store."""
    async with operator(target.nats, name="ledger_fault:store") as (_, stream):
        with suppress(NotFoundError):
            await stream.delete_stream(_BALLAST)


async def _memory_limit(target: Target) -> float:
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"{target.state.nats_monitor_url}/varz", timeout=aiohttp.ClientTimeout(total=5)
        ) as answer,
    ):
        found = (await answer.json()).get("jetstream", {}).get("config", {}).get("max_memory", 0)
    if not 0 < found <= 256 * 1024 * 1024:
        message = f"JetStream may have {found} bytes of memory: more than a fault should fill"
        raise LedgerError(message)
    return float(found)


@asynccontextmanager
async def slow_reader(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Subscribe and do not read, until the server cuts the connection; and again."""
    del config
    where = urlsplit(target.nats.servers[0])

    async def fall_behind() -> None:
        reader = socket.socket()
        # A connection for each flood: over one for all, floods were seen to end after eight minutes.
        async with operator(target.nats, name="ledger_fault:slow_reader") as (client, _):
            try:
                # Small, so that the server's own buffer fills and not the kernel's.
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                reader.connect((where.hostname, where.port))
                reader.sendall(
                    f'CONNECT {{"verbose":false}}\r\nSUB {_FLOOD} 1\r\nPING\r\n'.encode()
                )
                await asyncio.sleep(0.2)
                for _ in range(_FLOOD_PIECES):
                    await client.publish(_FLOOD, bytes(_PIECE_BYTES))
                    await client.flush(timeout=5)
                await asyncio.sleep(_UNREAD_S)
            finally:
                reader.close()

    async with repeated(fall_behind, every_s=_FLOOD_EVERY_S - _UNREAD_S):
        yield {"subject": _FLOOD, "every_s": _FLOOD_EVERY_S}
