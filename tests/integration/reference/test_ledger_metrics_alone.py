"""Goal: a process whose metrics go to a Prometheus sends it nothing that it would refuse. Method: a collector in its place, and a process's telemetry whose environment is the witness' in a cluster."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sentinel.reference.ledger.telemetry import Event, start_telemetry
from tests.support.otlp_collector import OtlpCollector

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.mark.parametrize("alone", [True, False])
async def test_what_is_none_is_not_sent(*, alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    collector = OtlpCollector()
    await collector.start()
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    if alone:
        told |= {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    try:
        telemetry = await asyncio.to_thread(start_telemetry, "ledger-witness")
        telemetry.meter.create_counter("ledger.witness.answers").add(1)
        telemetry.info(Event.WITNESS_STARTED, "The witness signs")
        await asyncio.to_thread(telemetry.stop)
        assert ("ledger-witness", "ledger.witness.answers") in collector.metrics
        assert bool(collector.logs) is not alone
        assert collector.spans == []
    finally:
        await collector.stop()
