"""The disburser's process, and a simulated rail beside it for those who have no bank."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack

from sentinel.reference.ledger.disburse import (
    Disburser,
    DisburserConfig,
    RailConfig,
    SimulatedRail,
    SimulatedRailConfig,
)
from sentinel.reference.ledger.operate.single import connect_queue, say, stop_on_signals
from sentinel.reference.ledger.telemetry import DISBURSER_SERVICE, Event, start_telemetry
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.postgres import Database


async def run_disburser(
    rail: RailConfig | SimulatedRailConfig, nats: NatsConfig, postgres: PostgresConfig
) -> None:
    """Hand disbursements to the rail until SIGTERM or SIGINT.

    Args:
        rail: the rail, or one to run in this process.
        nats: the queue.
        postgres: the database, as the role that may note what the rail says.

    Raises:
        UnavailableError: a server was not there at the start.
        UnreadableError: what the rail needs cannot be read.
    """
    telemetry = start_telemetry(DISBURSER_SERVICE)
    async with AsyncExitStack() as stack:
        stack.callback(telemetry.stop)
        if isinstance(rail, SimulatedRailConfig):
            simulated = SimulatedRail(rail)
            stack.push_async_callback(simulated.stop)
            rail = RailConfig(url=await simulated.start())
        queue = await connect_queue(nats, telemetry)
        stack.push_async_callback(queue.close)
        database = await Database.connect(postgres, application_name="disburser")
        stack.push_async_callback(database.close)
        config = DisburserConfig(rail=rail)
        disburser = Disburser(config, queue=queue, database=database, telemetry=telemetry)
        stop = stop_on_signals()
        telemetry.info(Event.DISBURSING_STARTED, "The disburser is looking for payments")
        say({"event": "ready", "role": "disburser", "rail": rail.url, "pid": os.getpid()})
        await disburser.run(stop)
        telemetry.info(Event.DISBURSING_STOPPED, "The disburser has stopped")
