"""A ledger that is reconciled: what runs beside it, who alters what nobody may, and what a report says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sentinel.reference.ledger.analytics import Analytics, AnalyticsConfig
from sentinel.reference.ledger.operate.prepare import prepare
from sentinel.reference.ledger.reconcile import (
    Check,
    ReconcileConfig,
    Reconciler,
    Report,
    Result,
)
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.nats import Queue
from sentinel.reference.ledger.wire.postgres import Database
from sentinel.reference.ledger.wire.roles import Role, role_url
from tests.support.ledger_servers import LedgerSite


async def start_analytics(site: LedgerSite) -> None:
    queue = await Queue.connect(site.nats, name="test", on_change=lambda what, detail: None)
    site.stack.push_async_callback(queue.close)
    await queue.subscribe_events("analytics")
    database = await Database.connect(site.postgres, application_name="analytics")
    site.stack.push_async_callback(database.close)
    analytics = Analytics(
        AnalyticsConfig(fetch_wait_s=0.2),
        queue=queue,
        database=database,
        telemetry=site.poster.telemetry,
    )
    stop = asyncio.Event()
    site.stops.append((stop, asyncio.create_task(analytics.run(stop))))


async def reconciler(
    site: LedgerSite,
    *,
    nats: NatsConfig | None = None,
    replica: PostgresConfig | None = None,
    **config: Any,
) -> Reconciler:
    url = role_url(site.postgres, Role.RECONCILE, "reconcile")
    await prepare(site.postgres, (), role_urls=[url])
    return Reconciler(
        ReconcileConfig(**config),
        nats=nats or site.nats,
        postgres=PostgresConfig(url=url),
        replica=replica,
    )


async def once(site: LedgerSite) -> Report:
    return await (await reconciler(site)).once()


def drifts(report: Report) -> dict[str, tuple[int, int]]:
    return {
        one.check.value: (one.drift_count, one.drift_value_minor)
        for one in report.results
        if one.drift_count
    }


def of(report: Report, check: Check) -> Result:
    return next(one for one in report.results if one.check is check)


async def alter(site: LedgerSite, *statements: str) -> None:
    """Do what nobody may, as a superuser whom no trigger and no foreign key stops."""
    async with (
        postgres.session(site.postgres, application_name="test") as session,
        session.transaction(),
    ):
        await session.execute("set local session_replication_role = replica")
        for statement in statements:
            await session.execute(statement)


async def ask(site: LedgerSite, path: str, key: str, body: dict[str, Any] | None = None) -> str:
    async with site.http.post(
        path, json=body, headers={"X-Tenant": "shop", "Idempotency-Key": key}
    ) as response:
        assert response.status == 202, await response.text()
        return str((await response.json())["status_url"])


def body(debit: str, credit: str, amount: int, **more: object) -> dict[str, Any]:
    return {
        "debit_account": debit,
        "credit_account": credit,
        "amount_minor": amount,
        "currency": "EUR",
        **more,
    }


KEEP = "create table public.kept as select * from {table} where {where}"
BACK = ("insert into {table} select * from public.kept", "drop table public.kept")


def gone(table: str, where: str) -> tuple[Sequence[str], Sequence[str]]:
    """Delete rows, and put them back."""
    return (
        (KEEP.format(table=table, where=where), f"delete from {table} where {where}"),
        tuple(statement.format(table=table) for statement in BACK),
    )


def changed(table: str, column: str, by: int, where: str) -> tuple[Sequence[str], Sequence[str]]:
    """Add to a number, and take it off again."""
    return (
        (f"update {table} set {column} = {column} + {by} where {where}",),
        (f"update {table} set {column} = {column} - {by} where {where}",),
    )
