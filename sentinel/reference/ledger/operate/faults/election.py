"""The fault of a cluster's elections: the server that leads is killed and kept away, and who leads then steps down again and again.

Nothing that was accepted is lost by it: two of three servers are more than half, and each message is on both before it is answered.
What is asked for while there is no leader waits, or is answered 503, and may be asked for again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.operate.away import come_back, keep_away
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target, repeated
from sentinel.reference.ledger.operate.faults.processes import runs_as
from sentinel.reference.ledger.wire.nats import STREAMS, operator
from sentinel.reference.ledger.wire.streams import leader_of, step_down

_EVERY_S: Final = 10.0
_NODE: Final = "nats-"


@asynccontextmanager
async def leader_election(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Kill the server that leads most of the streams, keep it away, and have who leads then step down every ten seconds.

    Raises:
        LedgerError: there is one server of NATS, or none that this run started.
    """
    pids = {name: pid for name, pid in target.state.pids.items() if name.startswith(_NODE)}
    if not pids:
        message = "this run has no cluster of NATS, so nobody is elected: start the ledger with `up --nats-nodes 3`"
        raise LedgerError(message)
    async with operator(target.nats, name="ledger_fault:leader-election") as (client, _):
        leaders = Counter([await leader_of(client, stream) for stream in STREAMS])
    node = max(pids, key=lambda name: leaders[name])
    if not runs_as("nats", pids[node]):
        message = f"no nats runs as process {pids[node]}"
        raise LedgerError(message)
    target.note(node=node)
    keep_away(_folder(target), node, until_ns=time.time_ns() + int(config.seconds * 1e9))
    with suppress(ProcessLookupError):
        os.kill(pids[node], signal.SIGKILL)

    async def elect() -> None:
        await asyncio.sleep(_EVERY_S)
        async with operator(target.nats, name="ledger_fault:leader-election") as (other, _):
            for stream in STREAMS:
                # One that has no leader at this moment is being elected as it is.
                with suppress(UnavailableError):
                    await step_down(other, stream)

    async with repeated(elect, every_s=0.0):
        yield {"node": node, "streams": STREAMS, "step_down_every_s": _EVERY_S}


async def let_come_back(target: Target) -> None:
    """Have the server started again that was kept away."""
    node = target.notes.get("node")
    if isinstance(node, str):
        come_back(_folder(target), node)


def _folder(target: Target) -> Path:
    return Path(target.state.burst_file).parent
