"""Open-loop load: requests leave when they are due, whether or not earlier ones were answered.

Latency is counted from the intended send time, so a server that stalls is charged for the requests
that would have been sent meanwhile. Arrivals are Poisson with a seed; 40 % are transfers, the rest
balances and look-ups of recent transactions, whose answers also tell how long the commit took.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import aiohttp
import numpy as np
import orjson

from sentinel.reference.ledger.domain import LedgerError, UsageError
from sentinel.reference.ledger.domain.shape import load_factor, local_s, ordinary_week
from sentinel.reference.ledger.operate.history import check_day
from sentinel.reference.ledger.operate.tokens import Tokens
from sentinel.reference.ledger.wire.config import check_url

_WRITE_SHARE: Final = 0.4
_BALANCE_SHARE: Final = 0.5  # of the reads
_DEPOSIT_SHARE: Final = 0.3  # of the writes
_INFLIGHT_COUNT_MAX: Final = 1000
_SAMPLES_COUNT_MAX: Final = 200_000
_RECENT_COUNT: Final = 200
_TIMEOUT_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 1.0
_REPORT_S: Final = 5.0
_CURRENCY: Final = "EUR"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadConfig:
    """What to offer, where, and for how long; `rate` is the requests a second at the start.

    With `day_s`, which needs the shape of a day, days take so many seconds and all weeks are ordinary ones.
    """

    url: str
    rate: float
    seconds: float | None = None
    shape: str = "flat"
    zone: str = "UTC"
    seed: int = 1
    tenant: str = "demo"
    accounts_count: int = 50
    day_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a load that cannot be offered."""
        if not 0 < self.rate <= 100_000 or self.accounts_count < 2:
            message = "the rate must be above 0 and at most 100000, with at least 2 accounts"
            raise UsageError(message)
        if self.seconds is not None and not self.seconds > 0:
            message = "--seconds must be above 0"
            raise UsageError(message)
        if self.day_s is not None and self.shape != "day":
            message = "--day-seconds needs --shape day"
            raise UsageError(message)
        check_day(self.day_s)
        check_url(self.url, what="--url", schemes=("http", "https"))


@dataclass(slots=True)
class _Tally:
    """What happened so far; samples are the last ones, bounded."""

    sent_count: int = 0
    shed_count: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    accept_s: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES_COUNT_MAX))
    read_s: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES_COUNT_MAX))
    commit_s: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLES_COUNT_MAX))


class Load:
    """Offers the configured load until its time is over or `stop` is set."""

    def __init__(self, config: LoadConfig, tokens: Tokens | None = None) -> None:
        """Store the configuration; without tokens, requests carry `X-Tenant`."""
        self._config = config
        self._tokens = tokens or Tokens(config.tenant)
        self._rng = random.Random(config.seed)  # noqa: S311 - load, not secrets
        self._tally = _Tally()
        self._run = uuid.uuid4().hex[:12]  # keys of an earlier run would only be replays
        self._writes_count = 0
        self._opened: list[str] = []
        self._recent: deque[str] = deque(maxlen=_RECENT_COUNT)

    async def run(self, stop: asyncio.Event) -> dict[str, object]:
        """Offer the load and return the summary."""
        loop = asyncio.get_running_loop()
        began, began_unix_s = loop.time(), time.time()
        end = began + self._config.seconds if self._config.seconds is not None else float("inf")
        due = began
        tasks: set[asyncio.Task[None]] = set()
        reporter = asyncio.create_task(self._report(), name="load-report")
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)  # bounded by _INFLIGHT_COUNT_MAX instead
        try:
            async with aiohttp.ClientSession(
                self._config.url, timeout=timeout, connector=connector
            ) as session:
                while not stop.is_set():
                    due += self._rng.expovariate(self._rate_at(began_unix_s, due - began))
                    if due >= end:
                        await _sleep_until(end, stop)
                        break
                    await _sleep_until(due, stop)
                    if len(tasks) >= _INFLIGHT_COUNT_MAX:
                        self._tally.shed_count += 1
                        continue
                    self._tally.sent_count += 1
                    task = asyncio.create_task(self._request(session, due), name="load-request")
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                if tasks:
                    # A load that is told to stop is in somebody's way; one that ran its time reports it whole.
                    patience_s = _STOP_TIMEOUT_S if stop.is_set() else _TIMEOUT_S
                    await asyncio.wait(tasks, timeout=patience_s)
        finally:
            reporter.cancel()
            for task in tasks:
                task.cancel()
        return self._summary(loop.time() - began)

    def _rate_at(self, began_unix_s: float, elapsed_s: float) -> float:
        if self._config.shape == "flat":
            return self._config.rate
        zone, day_s = self._config.zone, self._config.day_s
        clock = np.array([local_s(began_unix_s + passed, zone) for passed in (0.0, elapsed_s)])
        if day_s is not None:
            clock = ordinary_week(clock, day_s=day_s)
        start, now = load_factor(clock).tolist()
        return float(self._config.rate * now / start)

    async def _request(self, session: aiohttp.ClientSession, due: float) -> None:
        choice = self._rng.random()
        try:
            if choice < _WRITE_SHARE or not self._recent:
                await self._write(session, due)
            elif self._rng.random() < _BALANCE_SHARE:
                await self._read(
                    session, f"/v1/accounts/{self._rng.choice(self._opened)}/balance", due
                )
            else:
                await self._read(session, self._rng.choice(self._recent), due)
        except TimeoutError:
            self._tally.statuses["timeout"] += 1
        except (aiohttp.ClientError, LedgerError) as error:
            self._tally.statuses[type(error).__name__] += 1

    async def _write(self, session: aiohttp.ClientSession, due: float) -> None:
        self._writes_count += 1
        body, credit = self._transfer()
        key = f"{self._run}-{self._writes_count}"
        headers = {**await self._tokens.headers(), "Idempotency-Key": key}
        async with session.post("/v1/transfers", json=body, headers=headers) as response:
            answer = await response.read()
            self._count(response.status)
        self._tally.accept_s.append(asyncio.get_running_loop().time() - due)
        if response.status == 202:
            self._recent.append(orjson.loads(answer)["status_url"])
            if credit not in self._opened:
                self._opened.append(credit)

    def _transfer(self) -> tuple[dict[str, object], str]:
        """Return a transfer's body and its credit account; the first ones fund every account."""
        opened_count = len(self._opened)
        if opened_count < self._config.accounts_count:
            debit, credit, amount = "external:bank", f"account-{opened_count:04d}", 1_000_000
        elif self._rng.random() < _DEPOSIT_SHARE:
            debit, credit = "external:bank", self._rng.choice(self._opened)
            amount = self._rng.randint(1_000, 100_000)
        else:
            debit, credit = self._rng.sample(self._opened, 2)
            amount = self._rng.randint(100, 20_000)
        body: dict[str, object] = {
            "debit_account": debit,
            "credit_account": credit,
            "amount_minor": amount,
            "currency": _CURRENCY,
        }
        return body, credit

    async def _read(self, session: aiohttp.ClientSession, path: str, due: float) -> None:
        async with session.get(path, headers=await self._tokens.headers()) as response:
            answer = await response.read()
            self._count(response.status)
        self._tally.read_s.append(asyncio.get_running_loop().time() - due)
        if response.status == 200:
            document = orjson.loads(answer)
            if "posted_at" in document:
                posted = datetime.fromisoformat(document["posted_at"])
                accepted = datetime.fromisoformat(document["accepted_at"])
                self._tally.commit_s.append((posted - accepted).total_seconds())

    def _count(self, status: int) -> None:
        self._tally.statuses[str(status)] += 1
        if status == 401:
            self._tokens.refused()

    async def _report(self) -> None:
        sent_before = 0
        while True:
            await asyncio.sleep(_REPORT_S)
            tally = self._tally
            latency = _percentiles(tally.accept_s)
            sys.stderr.write(
                f"load: {(tally.sent_count - sent_before) / _REPORT_S:.1f}/s, "
                f"accept p50 {latency['p50']} s, p99 {latency['p99']} s, "
                f"answers {dict(sorted(tally.statuses.items()))}, shed {tally.shed_count}\n"
            )
            sys.stderr.flush()
            sent_before = tally.sent_count

    def _summary(self, elapsed_s: float) -> dict[str, object]:
        tally = self._tally
        return {
            "event": "load_done",
            "seconds": round(elapsed_s, 3),
            "sent_count": tally.sent_count,
            "shed_count": tally.shed_count,
            "rate": round(tally.sent_count / elapsed_s, 2) if elapsed_s > 0 else 0.0,
            "status_counts": dict(sorted(tally.statuses.items())),
            "accept_latency_s": _percentiles(tally.accept_s),
            "read_latency_s": _percentiles(tally.read_s),
            "accept_to_commit_s": _percentiles(tally.commit_s),
        }


async def _sleep_until(due: float, stop: asyncio.Event) -> None:
    wait_s = due - asyncio.get_running_loop().time()
    if wait_s <= 0:
        # Late already: let answers be read before the next request leaves.
        await asyncio.sleep(0)
        return
    try:
        await asyncio.wait_for(stop.wait(), timeout=wait_s)
    except TimeoutError:
        return


def _percentiles(samples: deque[float]) -> dict[str, float | int | None]:
    if not samples:
        return {"count": 0, "p50": None, "p95": None, "p99": None}
    p50, p95, p99 = np.percentile(np.array(samples), [50, 95, 99])
    return {
        "count": len(samples),
        "p50": round(float(p50), 5),
        "p95": round(float(p95), 5),
        "p99": round(float(p99), 5),
    }
