"""A receiver of webhooks for demonstrations: it registers itself, checks every signature, and can be told to fail.

A file in the run's folder tells it, as one tells the edge: which share of the webhooks it answers with 503, and until when.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.edge.burst import read_burst
from sentinel.reference.ledger.operate.single import say, stop_on_signals
from sentinel.reference.ledger.operate.tokens import Tokens, tokens_from

CONTROL_FILE: Final = "receiver.json"
_BODY_BYTES_MAX: Final = 128 * 1024
_TIMEOUT_S: Final = 5.0
_ENDPOINTS: Final = "/v2/webhook_endpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverConfig:
    """Whose webhooks it takes, from which ledger, and what controls it.

    With an issuer and its accounts it registers by a token, else by `X-Tenant`.
    """

    edge_url: str
    tenant: str
    port: int = 0
    control_file: Path | None = None
    issuer_url: str | None = None
    accounts_file: Path | None = None


async def run_receiver(config: ReceiverConfig) -> None:
    """Receive webhooks until SIGTERM or SIGINT.

    Raises:
        UnavailableError: the port is taken, or the ledger does not answer.
        LedgerError: the ledger refuses to register it.
    """
    receiver = _Receiver(config)
    url = await receiver.start()
    try:
        await receiver.register(url)
        stop = stop_on_signals()
        say({"event": "ready", "role": "receiver", "url": url, "pid": os.getpid()})
        await stop.wait()
    finally:
        await receiver.stop()
        say({"event": "received", **receiver.counts})


class _Receiver:
    def __init__(self, config: ReceiverConfig) -> None:
        self._config = config
        self._webhook: Webhook | None = None
        self._runner: web.AppRunner | None = None
        self.counts = {"accepted_count": 0, "refused_count": 0, "failed_count": 0}

    async def start(self) -> str:
        app = web.Application(client_max_size=_BODY_BYTES_MAX)
        app.router.add_post("/", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._config.port)
        try:
            await site.start()
        except OSError as error:
            message = f"cannot listen on port {self._config.port}: {error.strerror}"
            raise UnavailableError(message) from error
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def register(self, url: str) -> None:
        """Register, or take a fresh secret when this URL is there from before."""
        config = self._config
        tokens = Tokens(config.tenant)
        if config.issuer_url is not None and config.accounts_file is not None:
            tokens = tokens_from(config.issuer_url, config.accounts_file, config.tenant)
        async with aiohttp.ClientSession(
            config.edge_url,
            headers=await tokens.headers(),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
        ) as http:
            try:
                status, answer = await _asked(http, "POST", _ENDPOINTS, {"url": url})
                if status == 409:
                    status, answer = await self._rotate(http, url)
            except (aiohttp.ClientError, TimeoutError) as error:
                message = f"the ledger does not answer: {type(error).__name__}"
                raise UnavailableError(message) from error
        if "secret" not in answer:
            message = f"the ledger did not register the receiver: status {status}"
            raise LedgerError(message)
        self._webhook = Webhook(str(answer["secret"]))

    async def _rotate(self, http: aiohttp.ClientSession, url: str) -> tuple[int, dict[str, Any]]:
        _, listed = await _asked(http, "GET", _ENDPOINTS, None)
        for one in listed.get("endpoints", ()):
            if one["url"] == url:
                await _asked(http, "POST", f"{_ENDPOINTS}/{one['endpoint_id']}/enable", None)
                path = f"{_ENDPOINTS}/{one['endpoint_id']}/rotate"
                return await _asked(http, "POST", path, {"overlap_s": 0})
        return 409, {}

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        burst = (
            None if self._config.control_file is None else read_burst(self._config.control_file)
        )
        if (
            burst is not None
            and time.time_ns() < burst.until_ns
            and random.random() < burst.error_ratio  # noqa: S311 - a share, not a secret
        ):
            self.counts["failed_count"] += 1
            return web.Response(status=503)
        try:
            if self._webhook is None:
                return web.Response(status=503)
            self._webhook.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError):
            self.counts["refused_count"] += 1
            return web.Response(status=401)
        self.counts["accepted_count"] += 1
        return web.Response(status=204)


async def _asked(
    http: aiohttp.ClientSession, method: str, path: str, body: object
) -> tuple[int, dict[str, Any]]:
    async with asyncio.timeout(_TIMEOUT_S), http.request(method, path, json=body) as response:
        answer = await response.json(content_type=None)
        return response.status, answer if isinstance(answer, dict) else {}
