"""A bank's rail, simulated: what becomes of a payment follows from the payee's account and the time alone.

So it may be started again and forget nothing that matters. The account's ending says what happens:
`-R` and a code: refused; `-B` and a code: returned; `-L` and a code: settled, and returned later; `-S`: for
ever under way; any other: settled.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web

from sentinel.reference.ledger.disburse.rail import RailAnswer
from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.disbursement import RailWord, ReturnCode

_PAYMENTS_COUNT_MAX: Final = 100_000
_BODY_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRailConfig:
    """Where it listens and how long it takes."""

    host: str = "127.0.0.1"
    port: int = 0
    settle_s: float = 0.5
    return_late_s: float = 2.0


class SimulatedRail:
    """The HTTP server; `start` returns its address."""

    def __init__(self, config: SimulatedRailConfig) -> None:
        self._config = config
        # When each payment was first seen, by id; the oldest are forgotten, and begin anew when asked for.
        self._since_s: dict[uuid.UUID, float] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen, and return the base URL.

        Raises:
            UnavailableError: the address is not to be had.
        """
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        app.router.add_put("/payments/{id}", self._put)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._config.host, self._config.port)
        try:
            await site.start()
        except OSError as error:
            message = f"cannot listen on {self._config.host}:{self._config.port}: {error.strerror}"
            raise UnavailableError(message) from error
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _put(self, request: web.Request) -> web.Response:
        try:
            payment_id = uuid.UUID(request.match_info["id"])
            document = orjson.loads(await request.read())
            account = str(document["account"])
        except (ValueError, KeyError, TypeError, orjson.JSONDecodeError):
            return web.Response(status=400)
        now_s = time.monotonic()
        if payment_id not in self._since_s and len(self._since_s) >= _PAYMENTS_COUNT_MAX:
            del self._since_s[next(iter(self._since_s))]
        age_s = now_s - self._since_s.setdefault(payment_id, now_s)
        answer = fate(account, age_s, self._config)
        body = {"word": answer.word.value, "return_code": answer.return_code}
        return web.Response(body=orjson.dumps(body), content_type="application/json")


def fate(account: str, age_s: float, config: SimulatedRailConfig) -> RailAnswer:
    """Return what the rail says of a payment to `account` that it has known for `age_s` seconds.

    >>> fate("DE00-1234", 9.0, SimulatedRailConfig()).word.value
    'settled'
    >>> fate("DE00-BAC", 9.0, SimulatedRailConfig()).return_code.name
    'ACCOUNT_CLOSED'
    """
    ending = account.rpartition("-")[2]
    what, code = ending[:1], _code(ending[1:])
    if what == "R" and code is not None:
        return RailAnswer(word=RailWord.REFUSED, return_code=code)
    if ending == "S" or age_s < config.settle_s:
        return RailAnswer(word=RailWord.ACCEPTED)
    if what == "B" and code is not None:
        return RailAnswer(word=RailWord.RETURNED, return_code=code)
    if what == "L" and code is not None and age_s >= config.settle_s + config.return_late_s:
        return RailAnswer(word=RailWord.RETURNED, return_code=code)
    return RailAnswer(word=RailWord.SETTLED)


def _code(text: str) -> ReturnCode | None:
    try:
        return ReturnCode(text)
    except ValueError:
        return None
