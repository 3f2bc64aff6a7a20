"""Open-loop load on the ledger's edge, as a process of its own: `python -m benchmarks.ledger.generator`.

Requests leave when they are due, whether or not earlier ones were answered, and latency counts from then. Reads stdin for
one JSON line, its configuration, and writes one, what it measured; ids that were answered 202 go to a file, so that
somebody else can look for every one of them.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import time
import uuid
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson
import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.ledger.wire import Pool

_TIMEOUT_S = 10.0
_RECENT_COUNT = 4000
_FUNDS_MINOR = 10_000_000
_CONNECTIONS_MAX = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What to offer.

    Attributes:
        url: the edge's.
        tenants: who asks, in equal shares.
        writes: transfers a second.
        reads: balances and transactions a second, half of each.
        payments: payments out a second, most of which the simulated rail settles.
        seconds: for how long; 0 funds the accounts only.
        accounts_count: accounts a tenant.
        ids_file: where to append ids that were answered 202.
        fund: whether accounts get money before the load begins, which is not measured.
        hot_share: of the writes, deposits from each tenant's one account for the world outside.
        seed: of arrivals and choices.
    """

    url: str
    tenants: tuple[str, ...]
    writes: float
    reads: float
    seconds: float
    ids_file: str
    accounts_count: int = 100
    fund: bool = True
    payments: float = 0.0
    hot_share: float = 0.3
    seed: int = 1


@dataclass(slots=True)
class Measured:
    """What one kind of request saw."""

    sent: int = 0
    shed: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    latency_s: list[float] = field(default_factory=list)
    left_late_s: list[float] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "sent": self.sent,
            "shed": self.shed,
            "statuses": dict(sorted(self.statuses.items())),
            "latency_ms": percentiles_ms(self.latency_s),
            "left_late_ms": percentiles_ms(self.left_late_s),
        }


def percentiles_ms(samples_s: list[float]) -> dict[str, float]:
    """p50, p95, p99 and the most, in milliseconds."""
    if not samples_s:
        return {}
    found = np.percentile(np.array(samples_s) * 1000, [50, 95, 99, 100])
    return {
        name: round(float(one), 2)
        for name, one in zip(("p50", "p95", "p99", "max"), found, strict=True)
    }


class Generator:
    """Offers one load."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._rng = random.Random(offer.seed)
        parts = urlsplit(offer.url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._pool = Pool(parts.hostname, parts.port, count_max=_CONNECTIONS_MAX)
        self._host = f"{parts.hostname}:{parts.port}"
        self._run = uuid.uuid4().hex[:10]
        self._keys = 0
        self._inflight = 0
        self._ids: list[str] = []
        self._recent: deque[tuple[str, str]] = deque(maxlen=_RECENT_COUNT)
        self.writes, self.reads = Measured(), Measured()

    async def run(self) -> dict[str, Any]:
        """Fund, offer, wait for the last answers, and tell."""
        try:
            if self._offer.fund:
                await self._fund()
            began = time.time()
            used = resource.getrusage(resource.RUSAGE_SELF)
            await asyncio.gather(
                self._arrivals(self._offer.writes, self._write),
                self._arrivals(self._offer.reads, self._read),
                self._arrivals(self._offer.payments, self._pay),
            )
            ended = time.time()
            await self._answered_all()
            cpu = resource.getrusage(resource.RUSAGE_SELF)
        finally:
            self._pool.close()
            with Path(self._offer.ids_file).open("a", encoding="ascii") as file:
                file.writelines(f"{one}\n" for one in self._ids)
        return {
            "began_s": began,
            "ended_s": ended,
            "writes": self.writes.told(),
            "reads": self.reads.told(),
            "unanswered": self._inflight,
            "connections": self._pool.count,
            "cpu_s": cpu.ru_utime + cpu.ru_stime - used.ru_utime - used.ru_stime,
        }

    async def _arrivals(self, rate: float, send: Any) -> None:
        if not rate or not self._offer.seconds:
            return
        loop = asyncio.get_running_loop()
        due = loop.time()
        end = due + self._offer.seconds
        while (due := due + self._rng.expovariate(rate)) < end:
            wait_s = due - loop.time()
            if wait_s > 0.0005:  # the loop's timers are no finer
                await asyncio.sleep(wait_s)
            elif wait_s < -0.05:
                await asyncio.sleep(0)  # late: answers have their turn
            send(due)

    def _write(self, due: float) -> None:
        tenant = self._rng.choice(self._offer.tenants)
        accounts_count = self._offer.accounts_count
        if self._rng.random() < self._offer.hot_share:
            debit = "external:bank"
            credit = f"a{self._rng.randrange(accounts_count):04d}"
        else:
            one, other = self._rng.sample(range(accounts_count), 2)
            debit, credit = f"a{one:04d}", f"a{other:04d}"
        self._transfer(tenant, debit, credit, self._rng.randint(1, 500), due, self.writes)

    def _transfer(
        self, tenant: str, debit: str, credit: str, amount: int, due: float, seen: Measured
    ) -> None:
        body = (
            b'{"debit_account":"%b","credit_account":"%b","amount_minor":%d,"currency":"EUR"}'
            % (debit.encode(), credit.encode(), amount)
        )
        self._post("transfers", tenant, body, due, seen)

    def _pay(self, due: float) -> None:
        tenant = self._rng.choice(self._offer.tenants)
        account = f"a{self._rng.randrange(self._offer.accounts_count):04d}"
        payee = self._rng.choice(("DE00-1", "DE00-2", "DE00-3", "DE00-RAL", "DE00-BAC"))
        body = (
            b'{"debit_account":"%b","amount_minor":%d,"currency":"EUR","payee":{"account":"%b","name":"Ann Other"}}'
            % (account.encode(), self._rng.randint(1, 500), payee.encode())
        )
        self._post("disbursements", tenant, body, due, self.writes)

    def _post(self, what: str, tenant: str, body: bytes, due: float, seen: Measured) -> None:
        self._keys += 1
        request = (
            f"POST /v1/{what} HTTP/1.1\r\nHost: {self._host}\r\nX-Tenant: {tenant}\r\n"
            f"Idempotency-Key: {self._run}-{self._keys}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

        def accepted(answer: bytes) -> None:
            document = orjson.loads(answer)
            self._ids.append(document["transaction_id"])
            self._recent.append((tenant, document["status_url"]))

        self._send(request, due, seen, accepted)

    def _read(self, due: float) -> None:
        if self._rng.random() < 0.5 and self._recent:
            tenant, path = self._rng.choice(self._recent)
        else:
            tenant = self._rng.choice(self._offer.tenants)
            path = f"/v1/accounts/a{self._rng.randrange(self._offer.accounts_count):04d}/balance"
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\nX-Tenant: {tenant}\r\n\r\n".encode()
        )
        self._send(request, due, self.reads, None)

    def _send(self, request: bytes, due: float, seen: Measured, accepted: Any) -> None:
        now = asyncio.get_running_loop().time

        def answered(status: int, body: bytes) -> None:
            self._inflight -= 1
            seen.statuses[str(status or "broken")] += 1
            seen.latency_s.append(now() - due)
            if status == 202 and accepted is not None:
                accepted(body)

        seen.left_late_s.append(now() - due)
        if self._pool.send(request, answered):
            self._inflight += 1
            seen.sent += 1
        else:
            seen.shed += 1

    async def _fund(self) -> None:
        """Money for every account, a few requests at a time; those refused are asked for again."""
        unseen = Measured()
        loop = asyncio.get_running_loop()
        wanted = [
            (tenant, f"a{number:04d}")
            for number in range(self._offer.accounts_count)
            for tenant in self._offer.tenants
        ]
        deadline = loop.time() + 120
        while wanted and loop.time() < deadline:
            some, wanted = wanted[:32], wanted[32:]
            before = len(self._ids)
            for tenant, account in some:
                self._transfer(tenant, "external:bank", account, _FUNDS_MINOR, loop.time(), unseen)
            await self._answered_all()
            if len(self._ids) - before < len(some):
                wanted += some
                await asyncio.sleep(0.2)
        if wanted:
            message = f"the accounts could not be funded: {dict(unseen.statuses)}"
            raise RuntimeError(message)

    async def _answered_all(self) -> None:
        deadline = time.monotonic() + _TIMEOUT_S
        while self._inflight and time.monotonic() < deadline:
            await asyncio.sleep(0.002)


def main() -> int:
    """Run it."""
    given = json.loads(sys.stdin.readline())
    offer = Offer(**{**given, "tenants": tuple(given["tenants"])})
    told = uvloop.run(Generator(offer).run())
    sys.stdout.write(json.dumps({**told, "offer": asdict(offer)}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
