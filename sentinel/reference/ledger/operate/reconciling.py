"""`sentinel-ledger reconcile`: one pass and its report, or pass after pass and metrics."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from typing import Any

import orjson

from sentinel.reference.ledger.domain import PermanentError, UnavailableError
from sentinel.reference.ledger.operate.single import patiently, say, stop_on_signals
from sentinel.reference.ledger.reconcile import ReconcileConfig, Reconciler, Report
from sentinel.reference.ledger.telemetry import (
    RECONCILE_SERVICE,
    Event,
    Telemetry,
    start_telemetry,
)
from sentinel.reference.ledger.telemetry.drift import DriftMetrics
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.postgres import session


async def reconcile_once(
    config: ReconcileConfig,
    nats: NatsConfig,
    postgres: PostgresConfig,
    *,
    replica: PostgresConfig | None,
    form: str,
) -> Report:
    """Make one full pass, print what it found, and return it.

    Raises:
        UnavailableError: the database is away.
        PermanentError: the database refused.
    """
    began = time.perf_counter()
    reconciler = Reconciler(config, nats=nats, postgres=postgres, replica=replica)
    report = await reconciler.once()
    if form == "json":
        document = {**report.document(), "duration_s": round(time.perf_counter() - began, 3)}
        sys.stdout.write(orjson.dumps(document).decode() + "\n")
    else:
        sys.stdout.write(_text(report))
    return report


async def reconcile_every(
    config: ReconcileConfig,
    nats: NatsConfig,
    postgres: PostgresConfig,
    *,
    replica: PostgresConfig | None,
    every_s: float,
) -> None:
    """Make passes until SIGTERM or SIGINT, `every_s` from the end of one to the next.

    Raises:
        UnavailableError: the database was not there at the start.
    """
    telemetry = start_telemetry(RECONCILE_SERVICE)
    metrics = DriftMetrics(telemetry.meter)
    reconciler = Reconciler(config, nats=nats, postgres=postgres, replica=replica)
    try:
        await patiently(lambda: _reach(postgres))
        stop = stop_on_signals()
        telemetry.info(Event.RECONCILE_STARTED, "Reconciling stream and books", every_s=every_s)
        say({"event": "ready", "role": "reconcile", "pid": os.getpid()})
        drifted: frozenset[str] = frozenset()
        away = ""
        while not stop.is_set():
            working = asyncio.create_task(reconciler.run(), name="reconcile-pass")
            stopping = asyncio.create_task(stop.wait(), name="reconcile-stop")
            # A full pass may take minutes: it changes nothing, so it may end anywhere.
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait({working})
                break
            try:
                report = working.result()
            except (UnavailableError, PermanentError) as error:
                metrics.failed()
                telemetry.warning(
                    Event.RECONCILE_FAILED, f"A pass could not be made to its end: {error}"
                )
            else:
                metrics.passed(*measured(report))
                away = _tell_away(telemetry, report, away)
                if report.trouble or report.away:
                    metrics.failed()
                if report.trouble:
                    telemetry.warning(
                        Event.RECONCILE_FAILED,
                        f"The full pass could not go on, and is gone on with: {report.trouble}",
                    )
                drifted = _tell(telemetry, report, drifted)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), every_s)
        telemetry.info(Event.RECONCILE_STOPPED, "Reconciling has stopped")
    finally:
        telemetry.stop()


async def _reach(postgres: PostgresConfig) -> None:
    async with session(postgres, application_name="reconcile") as connection:
        await connection.fetchval("select 1")


def measured(report: Report) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """Return drift by check, of those that could be judged, and messages by state."""
    drift = {
        one.check.value: (one.drift_count, one.drift_value_minor)
        for one in report.results
        if not one.reason or one.drift_count
    }
    totals = report.totals
    if not report.totals_known:
        return drift, {}
    states = {
        "accepted": totals.accepted_messages,
        "decided": totals.decided_messages,
        "dead": totals.dead_messages,
        "in_flight": totals.in_flight_messages,
        "lost": totals.lost_messages,
    }
    return drift, states


def _tell(telemetry: Telemetry, report: Report, before: frozenset[str]) -> frozenset[str]:
    """Log what drifts, while it does, and that it no longer does."""
    drifted = frozenset(one.check.value for one in report.results if one.drift_count)
    for one in report.results:
        if one.drift_count:
            first: Any = one.findings[0] if one.findings else {}
            telemetry.error(
                Event.RECONCILE_DRIFT,
                f"What is held against each other does not agree: {one.check.value}",
                check=one.check.value,
                drift_count=one.drift_count,
                drift_value_minor=one.drift_value_minor,
                first_finding=orjson.dumps(first).decode(),
            )
    if before and not drifted:
        telemetry.info(Event.RECONCILE_AGREES, "Everything agrees again")
    return drifted


def _tell_away(telemetry: Telemetry, report: Report, before: str) -> str:
    """Log who could not be asked, once while it is the same."""
    if report.away and report.away != before:
        telemetry.warning(Event.RECONCILE_FAILED, f"Some checks could not be made: {report.away}")
    return report.away


def _text(report: Report) -> str:
    totals = report.totals
    lines = [f"messages: not known, {report.away}"]
    if report.totals_known:
        lines = [
            f"accepted {totals.accepted_messages} = decided {totals.decided_messages} + dead {totals.dead_messages}"
            f" + in flight {totals.in_flight_messages} + lost {totals.lost_messages} (messages)",
            f"posted {totals.posted_requests}, rejected {totals.rejected_requests}, repeated {totals.repeated_requests} (requests)",
        ]
    lines += [
        f"{'CHECK':<10}{'STATE':<10}{'COUNT':>8}{'VALUE':>14}{'EXAMINED':>12}",
    ]
    for one in report.results:
        lines.append(
            f"{one.check.value:<10}{one.state.value:<10}{one.drift_count:>8}{one.drift_value_minor:>14}"
            f"{one.examined_count:>12}{'  ' + one.reason if one.reason else ''}"
        )
        lines += [f"  {orjson.dumps(finding).decode()}" for finding in one.findings]
    return "\n".join(lines) + "\n"
