"""The ledger's faults one after another or together, beside a sidecar that asks its NATS and PostgreSQL and has no destination."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.rules.otlp_page import OtlpPage
from tests.support.rules.stage import (
    Stage,
    free_port,
    postgres_settings,
    prometheus_config,
    stage,
)
from tests.support.servers import prometheus_server

SIDECAR: Final = """
web:
  listen: {{port: {web_port}}}
  series_routes: ["*"]
receivers:
  otlp_http: {{listen: {{port: {otlp_port}}}}}
  otlp_grpc: {{enabled: false}}
forward:
  endpoints: [{{name: page, url: "{page}", traces: false, logs: false}}]
scrapers:
  nats:
    - {{name: main, service: nats, urls: ["{nats}"], advisories: {{urls: ["{nats_client}"]}}}}
  postgres:
    - {{name: main, service: postgres, host: "{pg_host}", port: {pg_port}, user: "{pg_user}", password_file: "{pg_password}", database: "{pg_database}"}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Faults that are held together for a while, after some minutes without any.

    Attributes:
        name: of the recording.
        faults: the ledger's names of them.
        quiet_s, seconds: how long none is held before, and these are.
        after_s: how much of what follows belongs to the recording.
        rules: the rule files whose series are kept.
        whole: whether every sample is kept of one that takes long, because something in it shows for a moment.
    """

    name: str
    faults: tuple[str, ...]
    seconds: float
    rules: tuple[str, ...]
    quiet_s: float = 150.0
    after_s: float = 120.0
    whole: bool = False


# Several scenes, so that all at once take 25 minutes instead of two hours.
SCENES: Final[dict[str, tuple[Act, ...]]] = {
    "posting": (
        Act(name="poison", faults=("poison",), seconds=60, rules=("ledger", "nats")),
        Act(name="reused-keys", faults=("reused-keys",), seconds=480, rules=("ledger",)),
    ),
    "database": (
        Act(
            name="postgres-stopped", faults=("postgres-stopped",), seconds=390, rules=("sentinel",)
        ),
    ),
    "queue": (
        Act(
            name="unacknowledged",
            faults=("unacknowledged",),
            seconds=420,
            rules=("nats", "ledger"),
        ),
        Act(name="full", faults=("full",), seconds=420, rules=("nats", "ledger", "slo")),
    ),
    "servers": (
        Act(name="connections", faults=("connections",), seconds=120, rules=("postgres",)),
        Act(name="damage", faults=("damage",), seconds=60, rules=("postgres",)),
        Act(name="slot", faults=("slot",), seconds=210, rules=("postgres",)),
        Act(name="store-full", faults=("store-full",), seconds=210, rules=("nats",)),
        Act(name="drift", faults=("drift",), seconds=150, rules=("ledger",)),
        Act(name="replica-lag", faults=("replica-lag",), seconds=510, rules=("postgres",)),
    ),
    "stopped": (
        Act(
            name="nats-stopped",
            faults=("nats-stopped",),
            seconds=390,
            rules=("sentinel", "ledger"),
        ),
    ),
    # Each of these is told of only when it has gone on for a quarter of an hour; none is in another's way.
    "long": (
        Act(
            name="long",
            faults=("loss", "deadlocks", "archive", "slow-reader"),
            seconds=1290,
            rules=("ledger", "nats", "postgres"),
            whole=True,
        ),
    ),
}
_RATE_PER_S: Final = 10
_SETTLE_S: Final = 45


async def play(name: str, folder: Path) -> None:
    """Play one scene and keep what Prometheus saw of it."""
    async with stage(folder) as (made, page):
        await _play(made, page, SCENES[name])


async def _play(made: Stage, page: OtlpPage, acts: tuple[Act, ...]) -> None:
    web_port, otlp_port = free_port(), free_port()
    state = await made.ledger(otlp_url=f"http://127.0.0.1:{otlp_port}", rate=_RATE_PER_S)
    await made.sidecar(
        "sidecar",
        SIDECAR.format(
            **postgres_settings(made.folder, Path(state["postgres_url_file"])),
            web_port=web_port,
            otlp_port=otlp_port,
            page=page.url,
            nats=state["nats_monitor_url"],
            nats_client=state["nats_url"],
        ),
    )
    config = prometheus_config(("sidecar", f"http://127.0.0.1:{web_port}"), page=page)
    with prometheus_server(config, made.folder / "prometheus") as server:
        await asyncio.sleep(_SETTLE_S)
        since_s = time.time()
        for act in acts:
            began_s = time.time()
            await asyncio.sleep(act.quiet_s)
            times: dict[str, Any] = {"fault_begins_s": round(time.time() - began_s)}
            await _hold(made, act)
            times["fault_ends_s"] = round(time.time() - began_s)
            await asyncio.sleep(act.after_s)
            times["whole"] = act.whole
            made.span(act.name, began_s, rules=act.rules, faults=act.faults, **times)
            made.save(server, since_s=since_s)


async def _hold(made: Stage, act: Act) -> None:
    async def one(fault: str) -> None:
        async with made.fault(fault, seconds=act.seconds):
            pass

    await asyncio.gather(*(one(fault) for fault in act.faults))
