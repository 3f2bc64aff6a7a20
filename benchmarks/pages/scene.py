"""All that runs: the ledger under load, a sidecar that has learnt, Prometheus with both sets of rules, Alertmanager.

Each is a process of its own that the kernel ends with this one; whatever happens all of it is stopped again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp

from benchmarks.pages import configs, ordinary
from benchmarks.pages.recorder import Recorder
from sentinel.app.demo.children import Child, ChildError, Children, wait_for_json
from sentinel.app.demo.sidecar_config import SidecarPlace, free_place
from sentinel.runtime.own_folder import OwnFolder
from tests.support.rules.otlp_page import OtlpPage

_LISTENING: Final = re.compile(rb"Listening on.*?address=127\.0\.0\.1:(\d+)")
_WEEKS: Final = 6
_SEED: Final = 7
_READY_S: Final = 90.0
_FIT_S: Final = 300.0
_SCORED_RATIO: Final = 0.95
# A burst takes a minute, and what a batch brings with it (postings, webhooks) is over in three windows.
_BURST_WINDOWS: Final = 5
_BATCH_WINDOWS: Final = 3
_WATCHED: Final = ("ledger", "load", "sidecar", "prometheus", "alertmanager")
_LEDGER: Final = ("-m", "sentinel.reference.ledger")


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """What a fault's record says of its beginning.

    Attributes:
        start_s: right before the first thing was broken (Unix).
        holding_s: when all of it held.
        expected: the series that it is to move.
    """

    start_s: float
    holding_s: float
    expected: tuple[Mapping[str, Any], ...]


@dataclass(slots=True)
class Scene:
    """What runs, and what anybody could ask it.

    Attributes:
        rate: average requests a second of the ordinary load.
        gauge_severity: `ticket`, as by default, or `page`.
    """

    folder: Path
    children: Children
    place: SidecarPlace
    recorder: Recorder
    page: OtlpPage
    rate: float
    gauge_severity: str
    ledger: dict[str, Any] = field(default_factory=dict)
    watching: asyncio.Task[None] | None = None
    _prometheus_url: str = ""

    @property
    def state_file(self) -> Path:
        """Where the ledger says how it is reached."""
        return self.folder / "ledger.json"

    async def start(self, *, learn_windows: int, event_every_s: float) -> None:
        """Start all, let the sidecar learn, and let it begin anew.

        Args:
            learn_windows: how many windows are measured in which nothing happens.
            event_every_s: how often there is a burst, and how often a batch, while nothing is broken.

        Raises:
            ChildError: a part did not start, or ended.
        """
        _say("starting the ledger, its load, Alertmanager and the sidecar")
        await self._start_alertmanager()
        await self._start_ledger()
        await self._start_load()
        sidecar = await self._start_sidecar()
        _say(f"measuring {learn_windows} windows in which nothing is broken")
        measured = ordinary.by_series(await self._measured(learn_windows))
        events = await self._measured_events(event_every_s)
        await sidecar.stop()
        learned = await self._learn(measured, events)
        await self._start_sidecar()
        await self._start_prometheus()
        await self._until_scored(learned)
        await self._until_read()
        self.watching = asyncio.create_task(self.children.watch(*_WATCHED))

    def check(self) -> None:
        """Raise `ChildError` when a part has ended that has to run."""
        if self.watching is not None and self.watching.done():
            self.watching.result()

    async def wait(self, seconds: float) -> None:
        """Let time pass, and see that everything runs."""
        ends = time.monotonic() + seconds
        while (left_s := ends - time.monotonic()) > 0:
            self.check()
            await asyncio.sleep(min(left_s, 0.25))
        self.check()

    async def burst(self) -> Child:
        """More load for a minute, beside the usual."""
        rate = ordinary.BURST_RATIO * self.rate * ordinary.factor_at(time.time())
        return await self.children.start(
            "burst",
            [
                *(sys.executable, *_LEDGER, "load", "--state", str(self.state_file)),
                *("--rate", f"{rate:.3f}", "--seconds", f"{ordinary.BURST_S:g}"),
            ],
        )

    @asynccontextmanager
    async def fault(self, name: str, *, seconds: float, number: int) -> AsyncIterator[Began]:
        """Hold a fault; gives when it began, and what it is to move.

        Raises:
            ChildError: it could not be held.
        """
        record = self.folder / f"fault-{number}.ndjson"
        child = await self.children.start(
            f"fault-{number}",
            [
                *(sys.executable, *_LEDGER, "fault", "start", name),
                *("--state", str(self.state_file)),
                *("--seconds", f"{seconds:g}", "--record", str(record)),
            ],
        )
        try:
            yield await _began(record, child)
        finally:
            # It undoes what it did, which may take as long as whoever it broke needs to answer.
            await child.stop(timeout_s=30)

    async def _start_alertmanager(self) -> None:
        config = self.folder / "alertmanager.yml"
        config.write_text(configs.alertmanager(self.recorder.url))
        child = await self.children.start(
            "alertmanager",
            [
                *(_program("prometheus-alertmanager"), f"--config.file={config}"),
                f"--storage.path={self.folder / 'alertmanager'}",
                *("--web.listen-address=127.0.0.1:0", "--cluster.listen-address="),
            ],
        )
        self.recorder.alertmanager_url = f"http://127.0.0.1:{await _port(child)}"

    async def _start_ledger(self) -> None:
        child = await self.children.start(
            "ledger",
            [
                *(sys.executable, *_LEDGER, "up", "--receiver"),
                *("--state", str(self.state_file)),
            ],
            environment={"OTEL_EXPORTER_OTLP_ENDPOINT": self.place.otlp_url},
        )
        self.ledger = await wait_for_json(self.state_file, child, timeout_s=_READY_S)

    async def _start_load(self) -> None:
        rate = self.rate * ordinary.factor_at(time.time())
        await self.children.start(
            "load",
            [
                *(sys.executable, *_LEDGER, "load", "--state", str(self.state_file)),
                *("--rate", f"{rate:.3f}", "--forever"),
                *("--shape", "day", "--day-seconds", f"{ordinary.SHORT_DAY_S:.3f}"),
            ],
        )

    async def _start_sidecar(self) -> Child:
        config = self.folder / "sentinel.yaml"
        config.write_text(
            configs.sidecar(self._addresses, self.folder, gauge_severity=self.gauge_severity)
        )
        ready = self.folder / "sentinel.ready"
        ready.unlink(missing_ok=True)
        child = await self.children.start(
            "sidecar",
            [
                *(sys.executable, "-m", "sentinel", "run", "--config", str(config)),
                *("--ready-file", str(ready)),
            ],
        )
        await wait_for_json(ready, child, timeout_s=_READY_S)
        return child

    async def _start_prometheus(self) -> None:
        config = self.folder / "prometheus.yml"
        config.write_text(configs.prometheus(self._addresses))
        child = await self.children.start(
            "prometheus",
            [
                *(_program("prometheus"), f"--config.file={config}"),
                f"--storage.tsdb.path={self.folder / 'prometheus'}",
                "--web.listen-address=127.0.0.1:0",
            ],
        )
        self._prometheus_url = f"http://127.0.0.1:{await _port(child)}"

    async def _until_read(self) -> None:
        """Wait until Prometheus has all that thresholds read; `ChildError` naming what is missing."""
        deadline = time.monotonic() + _READY_S
        missing = list(configs.READ)
        while missing:
            if time.monotonic() > deadline:
                message = f"Prometheus has no {', no '.join(missing)}"
                raise ChildError(message)
            await self.wait(2.0)
            missing = [one for one in missing if not await self._has(one)]

    async def felt(self, seconds: float) -> dict[str, float | None]:
        """What clients felt at worst in any half minute of the last so many seconds; None where nobody asked anything."""
        span = f"[{max(10, int(seconds))}s:10s]"
        return {
            name: await self._asked(f"max_over_time(({query}){span})")
            for name, query in configs.FELT.items()
        }

    async def _has(self, selector: str) -> bool:
        return await self._asked(f"count({selector})") is not None

    async def _asked(self, query: str) -> float | None:
        """The one number that Prometheus answers; None when there is none."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, KeyError, IndexError):
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
                http.get(
                    f"{self._prometheus_url}/api/v1/query", params={"query": query}
                ) as answer,
            ):
                value = float((await answer.json())["data"]["result"][0]["value"][1])
                return value if math.isfinite(value) else None
        return None

    @property
    def _addresses(self) -> configs.Addresses:
        return configs.Addresses(
            ledger=self.ledger,
            place=self.place,
            recorder_url=self.recorder.url,
            page_url=self.page.url,
        )

    async def _measured_events(self, every_s: float) -> list[ordinary.Event]:
        """What a burst and a batch of salaries look like here, one after the other."""
        _say("measuring a burst and a batch of salaries")
        event = partial(ordinary.event_of, every_s=every_s, window_s=configs.CADENCE_S)
        burst = await self.burst()
        bursts = await self._measured(_BURST_WINDOWS)
        await burst.stop()
        # What the burst left to be done is not the batch's.
        await self.wait(2 * configs.CADENCE_S)
        await ordinary.pay_salaries(self.ledger["edge_url"])
        batches = await self._measured(_BATCH_WINDOWS, skipped=1)
        return [event(bursts), event(batches)]

    async def _measured(
        self, windows: int, *, skipped: int = 2
    ) -> list[dict[ordinary.Place, float]]:
        """Values of every series, in so many windows after the first ones."""
        measured: list[dict[ordinary.Place, float]] = []
        ends: list[str] = []
        deadline = time.monotonic() + _READY_S + 12.0 * (windows + 2)
        while len(ends) < windows + skipped:
            if time.monotonic() > deadline:
                message = f"the sidecar closed {len(ends)} windows only"
                raise ChildError(message)
            await self.wait(1.0)
            report = await self._series()
            end = (report.get("window") or {}).get("end")
            if end is None or end in ends:
                continue
            rows = [row for row in report["series"] if row["value"] is not None]
            # The first one is over already; of a run, two hold the start of processes, and the accounts' first money.
            if len(ends) >= skipped:
                places = (
                    (row["service"], row["stage"], row["route"], row["signal"]) for row in rows
                )
                values = (float(row["value"]) for row in rows)
                measured.append(dict(zip(places, values, strict=True)))
            if ends or any(row["service"] == "ledger-poster" for row in rows):
                ends.append(end)
        return measured

    async def _learn(
        self, measured: dict[ordinary.Place, list[float]], events: list[ordinary.Event]
    ) -> int:
        """Give the sidecar a past; of how many series."""
        levels, plain = self.folder / "levels.json", self.folder / "plain.csv"
        past = self.folder / "past.csv"
        levels.write_text(json.dumps(ordinary.levels(measured)))
        await self.children.run(
            "history",
            [
                *(sys.executable, *_LEDGER, "history", "--weeks", str(_WEEKS), "--step", "5m"),
                *("--seed", str(_SEED), "--levels", str(levels), "-o", str(plain)),
                *("--day-seconds", f"{ordinary.SHORT_DAY_S:.3f}"),
            ],
            timeout_s=120,
        )
        count = await asyncio.to_thread(
            ordinary.write_past, plain, past, measured, seed=_SEED, events=events
        )
        _say(f"the sidecar learns from {_WEEKS} weeks of {count} series, which are simulated")
        await self.children.run(
            "backfill",
            [
                *(sys.executable, "-m", "sentinel", "baseline", "backfill", str(past)),
                *("--store", str(self.folder / "store")),
            ],
            timeout_s=600,
        )
        plain.unlink()
        past.unlink()
        return count

    async def _until_scored(self, count: int) -> None:
        """Wait until nearly all series that it has learned have their range."""
        deadline = time.monotonic() + _FIT_S
        scored, since = 0, time.monotonic()
        while time.monotonic() < deadline:
            await self.wait(2.0)
            rows = (await self._series())["series"]
            now = sum(row["reason"] == "scored" for row in rows)
            if now > scored:
                scored, since = now, time.monotonic()
            is_still = time.monotonic() - since > 3 * configs.CADENCE_S
            if scored >= _SCORED_RATIO * count or (scored and is_still):
                break
        if not scored:
            message = f"no series had a range after {_FIT_S:.0f} s"
            raise ChildError(message)
        _say(f"{scored} of {count} series have a range")

    async def _series(self) -> dict[str, Any]:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
                http.get(f"{self.place.web_url}/api/v1/series?limit=5000") as answer,
            ):
                found: dict[str, Any] = await answer.json()
                return found
        return {"window": None, "series": []}


@asynccontextmanager
async def scene(*, rate: float, gauge_severity: str, keep: bool = False) -> AsyncIterator[Scene]:
    """A folder, and what listens in this process; all that is started is stopped at the end."""
    folder = OwnFolder("sentinel-pages-")
    # PostgreSQL does not run as root, and its user must be able to pass through.
    folder.path.chmod(0o711 if os.geteuid() == 0 else 0o700)
    children, recorder, page = Children(folder.path), Recorder(), OtlpPage()
    made = Scene(
        folder=folder.path,
        children=children,
        place=free_place(),
        recorder=recorder,
        page=page,
        rate=rate,
        gauge_severity=gauge_severity,
    )
    is_well = False
    try:
        await recorder.start()
        await page.start()
        yield made
        is_well = True
    except ChildError as error:
        message = f"{error}\n{children.tails()}"
        raise ChildError(message) from error
    except asyncio.CancelledError:
        is_well = True
        raise
    finally:
        if made.watching is not None:
            made.watching.cancel()
            with contextlib.suppress(asyncio.CancelledError, ChildError):
                await made.watching
        await children.stop_all(last="sidecar")
        await recorder.stop()
        await page.stop()
        if is_well and not keep:
            folder.remove()
        else:
            folder.keep()
            _say(f"the logs are in {folder.path}")


async def _began(record: Path, child: Child) -> Began:
    """When a fault began and what it is to move, by its own record."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            first = json.loads(record.read_text().splitlines()[0])
            return Began(
                start_s=float(first["start_ns"]) / 1e9,
                holding_s=float(first["holding_ns"]) / 1e9,
                expected=tuple(first["expected"]),
            )
        if not child.running:
            break
        await asyncio.sleep(0.05)
    message = f"it could not be held: {child.log_tail(3)}"
    raise ChildError(message)


async def _port(child: Child) -> int:
    """The port that a server says it listens on; it was told to take any."""
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and child.running:
        found = _LISTENING.search(child.log_path.read_bytes())
        if found:
            return int(found[1])
        await asyncio.sleep(0.05)
    message = f"{child.name} does not listen\n{child.log_tail()}"
    raise ChildError(message)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed: `make system-deps` installs it"
        raise ChildError(message)
    return path


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
