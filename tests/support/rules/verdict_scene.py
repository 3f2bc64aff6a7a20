"""The ledger's faults beside a sidecar that has learnt: before the first of them it is given a simulated history, as in the demo."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from pathlib import Path
from typing import Any, Final

from tests.support.rules.ledger_scenes import SIDECAR
from tests.support.rules.otlp_page import OtlpPage
from tests.support.rules.stage import (
    Stage,
    free_port,
    get_json,
    postgres_settings,
    prometheus_config,
    stage,
)
from tests.support.servers import prometheus_server

_QUIET_S: Final = 240
_SETTLE_S: Final = 120
_RATE_PER_S: Final = 25
# The last one once more, for what is told of only when something has been strange for five minutes.
_FAULTS: Final[tuple[tuple[str, str, int, dict[str, Any]], ...]] = (
    ("lock", "lock", 270, {}),
    ("stall", "stall", 270, {}),
    ("errors", "errors", 270, {}),
    ("lock", "long-lock", 420, {"rules": ["sentinel"]}),
)


async def play_verdicts(folder: Path) -> None:
    """Record each fault with the minutes before and after it."""
    async with stage(folder) as (made, page):
        await _play(made, page)


async def _play(made: Stage, page: OtlpPage) -> None:
    folder = made.folder
    web_port, otlp_port = free_port(), free_port()
    url = f"http://127.0.0.1:{web_port}"
    state = await made.ledger(otlp_url=f"http://127.0.0.1:{otlp_port}", rate=_RATE_PER_S)
    config = SIDECAR.format(
        **postgres_settings(folder, Path(state["postgres_url_file"])),
        web_port=web_port,
        otlp_port=otlp_port,
        page=page.url,
        nats=state["nats_monitor_url"],
        nats_client=state["nats_url"],
    )
    sidecar = await made.sidecar("sidecar", config)
    levels = await _levels(url)
    (folder / "levels.json").write_text(json.dumps(levels))
    await made.stop(sidecar)
    await _learn(made)
    await made.sidecar("sidecar", config)
    with prometheus_server(
        prometheus_config(("sidecar", url), page=page), folder / "prometheus"
    ) as server:
        # What starting shook is settled, and every stage has its band.
        await asyncio.sleep(_SETTLE_S)
        since_s = time.time()
        for fault, name, seconds, how in _FAULTS:
            began_s = time.time()
            await asyncio.sleep(_QUIET_S)
            begins_s = round(time.time() - began_s)
            async with made.fault(fault, seconds=seconds):
                pass
            ends_s = round(time.time() - began_s)
            await asyncio.sleep(_QUIET_S)
            times = {"fault_begins_s": begins_s, "fault_ends_s": ends_s}
            made.span(name, began_s, faults=[fault], **times, **how)
            made.save(server, since_s=since_s)


async def _learn(made: Stage) -> None:
    folder = made.folder
    history = str(folder / "history.csv")
    for name, argv in {
        "history": (
            *("sentinel.reference.ledger", "history", "--weeks", "6", "--step", "5m"),
            *("--seed", "7", "--levels", str(folder / "levels.json"), "-o", history),
        ),
        "backfill": (
            *("sentinel", "baseline", "backfill", history),
            *("--store", str(folder / "sidecar")),
        ),
    }.items():
        assert await (await made.start(name, *argv)).wait() == 0, name


async def _levels(sidecar_url: str) -> list[dict[str, Any]]:
    """The level of every series of calls, over eight windows after the first."""
    names = ("service", "stage", "route", "signal")
    measured: dict[tuple[str, ...], list[float]] = {}
    ends: set[str] = set()
    while len(ends) < 9:
        await asyncio.sleep(2)
        with contextlib.suppress(OSError):
            report = await asyncio.to_thread(get_json, f"{sidecar_url}/api/v1/series?limit=5000")
            end = (report.get("window") or {}).get("end")
            rows = [row for row in report["series"] if row["value"] is not None]
            if end is None or end in ends or not any(row["stage"] == "database" for row in rows):
                continue
            if ends:
                for row in rows:
                    if row["signal"] in ("traffic", "errors", "latency"):
                        key = tuple(row[name] for name in names)
                        measured.setdefault(key, []).append(float(row["value"]))
            ends.add(end)
    return [
        {**dict(zip(names, key, strict=True)), "value": statistics.median(values)}
        for key, values in sorted(measured.items())
        if key[0].startswith("ledger-")
    ]
