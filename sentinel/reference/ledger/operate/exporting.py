"""The process that makes exports, and what the edge needs to take them on and hand them out."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from sentinel.reference.ledger.audit.exports import Exporter, ExporterConfig
from sentinel.reference.ledger.edge.exports import Exports, ExportsConfig
from sentinel.reference.ledger.operate.single import (
    OpenExports,
    patiently,
    say,
    stop_on_signals,
)
from sentinel.reference.ledger.telemetry import Event, Telemetry, start_telemetry
from sentinel.reference.ledger.telemetry.exports import EXPORTER_SERVICE
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import Database

# Exports are rare beside everything else that the edge does.
EXPORTS_POOL_SIZE_MAX: Final = 3


async def run_exporter(config: ExporterConfig) -> None:
    """Make exports until SIGTERM or SIGINT.

    Raises:
        UnavailableError: the database was not there at the start.
    """
    telemetry = start_telemetry(EXPORTER_SERVICE)
    try:
        postgres = replace(config.postgres, pool_size_max=2)
        database = await patiently(
            lambda: Database.connect(postgres, application_name="audit-exports")
        )
        try:
            exporter = Exporter(config, database=database, telemetry=telemetry)
            stop = stop_on_signals()
            telemetry.info(Event.EXPORTS_STARTED, "Exports are made")
            say({"event": "ready", "role": "exports", "pid": os.getpid()})
            await exporter.run(stop)
            telemetry.info(Event.EXPORTS_STOPPED, "Exports are no longer made")
        finally:
            await database.close()
    finally:
        telemetry.stop()


def exports_opener(config: ExportsConfig, postgres: PostgresConfig) -> OpenExports:
    """Return how the edge opens its part once its telemetry is there."""

    @asynccontextmanager
    async def opened(telemetry: Telemetry) -> AsyncIterator[Exports]:
        # When it is first used: nothing else that the edge does waits for it.
        database = await Database.connect(postgres, application_name="edge-exports", at_once=False)
        try:
            yield Exports(config, database=database, telemetry=telemetry)
        finally:
            await database.close()

    return opened
