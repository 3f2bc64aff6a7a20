"""Faults held by the code behind the command, and what a superuser sees of the books meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sentinel.reference.ledger.operate.faults import FaultConfig, run_fault
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from tests.support.ledger_run import Up, eventually


@asynccontextmanager
async def held(up: Up, fault: str, *, error_ratio: float = 0.5) -> AsyncIterator[None]:
    """The fault while the block runs, from its recorded start to its recorded end."""
    record = up.state_file.with_name(f"{fault}-{time.time_ns()}.ndjson")
    stop = asyncio.Event()
    config = FaultConfig(
        fault=fault,
        state_file=up.state_file,
        seconds=60,
        record_file=record,
        error_ratio=error_ratio,
    )
    task = asyncio.create_task(run_fault(config, stop))
    try:
        await eventually(fault, lambda: task.done() or record.exists(), bool)
        if task.done():
            await task
        yield
    finally:
        stop.set()
        await task
    start, end = [json.loads(line) for line in record.read_text().splitlines()]
    assert (start["event"], end["event"]) == ("fault_start", "fault_end")
    assert start["expected"]
    assert start["start_ns"] < start["holding_ns"] < end["end_ns"]
    assert (end["start_ns"], end["holding_ns"]) == (start["start_ns"], start["holding_ns"])
    assert "killed" not in end


async def value(up: Up, query: str, **settings: str) -> Any:
    config = PostgresConfig(url=Path(up.ready["postgres_url_file"]).read_text())
    async with postgres.session(config, application_name="test", settings=settings) as session:
        return await session.fetchval(query)
