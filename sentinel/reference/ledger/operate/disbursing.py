"""The disburser's process, and a simulated rail beside it for those who have no bank."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from dataclasses import replace

from sentinel.reference.ledger.disburse import (
    Disburser,
    DisburserConfig,
    SimulatedRail,
    SimulatedRailConfig,
)
from sentinel.reference.ledger.operate.single import connect_queue, say, stop_on_signals
from sentinel.reference.ledger.telemetry import DISBURSER_SERVICE, Event, start_telemetry
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.postgres import Database


async def run_disburser(
    config: DisburserConfig,
    nats: NatsConfig,
    postgres: PostgresConfig,
    *,
    simulated: SimulatedRailConfig | None = None,
) -> None:
    """Hand disbursements to the rail until SIGTERM or SIGINT.

    Args:
        config: the rail and how often it is asked.
        nats: the queue.
        postgres: the database, as the role that may note what the rail says.
        simulated: a rail to run in this process, asked in place of the one of `config`.

    Raises:
        UnavailableError: a server was not there at the start.
    """
    telemetry = start_telemetry(DISBURSER_SERVICE)
    async with AsyncExitStack() as stack:
        stack.callback(telemetry.stop)
        if simulated is not None:
            rail = SimulatedRail(simulated)
            stack.push_async_callback(rail.stop)
            config = replace(config, rail_url=await rail.start())
        queue = await connect_queue(nats, telemetry)
        stack.push_async_callback(queue.close)
        database = await Database.connect(postgres, application_name="disburser")
        stack.push_async_callback(database.close)
        disburser = Disburser(config, queue=queue, database=database, telemetry=telemetry)
        stop = stop_on_signals()
        telemetry.info(Event.DISBURSING_STARTED, "The disburser is looking for payments")
        say({"event": "ready", "role": "disburser", "rail": config.rail_url, "pid": os.getpid()})
        await disburser.run(stop)
        telemetry.info(Event.DISBURSING_STOPPED, "The disburser has stopped")
