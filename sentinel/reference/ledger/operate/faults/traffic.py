"""Faults of what comes in: failing writes, keys used again, the same again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.edge.burst import Burst, lift_burst, write_burst
from sentinel.reference.ledger.operate.faults.clients import Clients, clients
from sentinel.reference.ledger.operate.faults.fault import FaultConfig, Target, repeated
from sentinel.reference.ledger.operate.receiver import CONTROL_FILE
from sentinel.reference.ledger.wire import postgres

_PAST: Final = """
select tenant, idempotency_key, debit_account, credit_account, amount_minor, currency
from ledger.transactions
where accepted_at < now() - make_interval(secs => $1) order by accepted_at desc limit $2
"""
_BODY: Final = ("debit_account", "credit_account", "amount_minor", "currency")
_STORM_COUNT: Final = 20


@asynccontextmanager
async def errors(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Have the edge answer a share of the writes with 500."""
    _burst(target, config, Path(target.state.burst_file))
    yield {"error_ratio": config.error_ratio}


@asynccontextmanager
async def webhook_errors(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Have the receiver of webhooks answer a share of them with 503.

    Raises:
        LedgerError: there is no receiver.
    """
    if "receiver" not in target.state.pids:
        message = "there is no receiver of webhooks: start the ledger with `up --receiver`"
        raise LedgerError(message)
    _burst(target, config, Path(target.state.burst_file).with_name(CONTROL_FILE))
    yield {"error_ratio": config.error_ratio}


def _burst(target: Target, config: FaultConfig, path: Path) -> None:
    """Ask for failures in a control file; it says itself until when, should nobody be left to lift it."""
    target.note(burst_file=str(path))
    until_ns = time.time_ns() + int(config.seconds * 1e9)
    write_burst(path, Burst(error_ratio=config.error_ratio, until_ns=until_ns))


async def lift(target: Target) -> None:
    """Take the control file away that asked for failures."""
    lift_burst(Path(str(target.notes["burst_file"])))


@asynccontextmanager
async def reused_keys(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Send keys that the queue has forgotten again, for a transfer of another amount."""
    del config
    past_s = target.nats.duplicate_window_s + 30
    rows = await _past(target, older_than_s=past_s, count=1000)
    if not rows:
        message = f"no transfer is older than {past_s:g} s: its key would be recognised"
        raise LedgerError(message)
    places = iter(range(10**9))
    async with clients(target.state) as asking:

        async def send() -> None:
            row = dict(rows[next(places) % len(rows)])
            await _again(asking, {**row, "amount_minor": row["amount_minor"] + 1})

        async with repeated(send, every_s=0.5):
            yield {"keys_count": len(rows)}


@asynccontextmanager
async def duplicates(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
    """Send the last transfers again and again, as clients do that lose their patience."""
    del config
    async with clients(target.state) as asking:

        async def send() -> None:
            rows = await _past(target, older_than_s=0, count=_STORM_COUNT)
            await asyncio.gather(*(_again(asking, dict(row)) for row in rows))

        async with repeated(send, every_s=0.5):
            yield {"count_a_turn": _STORM_COUNT}


async def _past(target: Target, *, older_than_s: float, count: int) -> list[Any]:
    async with postgres.session(target.postgres, application_name="ledger_fault:keys") as session:
        return list(await session.fetch(_PAST, older_than_s, count))


async def _again(asking: Clients, row: Mapping[str, Any]) -> None:
    await asking.transfer(
        row["tenant"], row["idempotency_key"], {name: row[name] for name in _BODY}
    )
