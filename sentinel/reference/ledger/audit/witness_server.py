"""The witness over HTTP: POST /add-checkpoint asks it to sign, GET /checkpoint tells what it signed last."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sentinel.reference.ledger.audit.witness import REQUEST_BYTES_MAX, STATUS, Outcome, Witness
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.telemetry.audit import WitnessSignals

_SIZE_TYPE: Final = "text/x.tlog.size"
_BODY_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessServerConfig:
    """Where the witness listens; port 0 is a free one."""

    host: str = "127.0.0.1"
    port: int = 0


class WitnessServer:
    """Listens, and asks the witness one thing at a time."""

    def __init__(
        self, config: WitnessServerConfig, *, witness: Witness, telemetry: Telemetry
    ) -> None:
        self._config = config
        self._witness = witness
        self._telemetry = telemetry
        self._signals = WitnessSignals(telemetry)
        # Between the look at what was signed and the note of what is signed nobody may come.
        self._turn = asyncio.Lock()
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen; returns the address."""
        app = web.Application(client_max_size=REQUEST_BYTES_MAX)
        app.add_routes(
            [web.post("/add-checkpoint", self._add), web.get("/checkpoint", self._checkpoint)]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._config.host, self._config.port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening; idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _add(self, request: web.Request) -> web.Response:
        try:
            body = await asyncio.wait_for(request.text(), timeout=_BODY_TIMEOUT_S)
        except (TimeoutError, UnicodeDecodeError, LookupError):
            self._signals.answered(Outcome.MALFORMED)
            return web.Response(status=400, text="the body did not come, or is no text\n")
        async with self._turn:
            # In a thread: it waits for the disk.
            answer = await asyncio.to_thread(self._witness.answer, body, now_s=int(time.time()))
        self._signals.answered(answer.outcome)
        if answer.outcome in (Outcome.INCONSISTENT, Outcome.NOT_THE_LOGS):
            self._telemetry.error(
                Event.WITNESS_REFUSED, f"A checkpoint was not signed: {answer.body.strip()}"
            )
        kind = _SIZE_TYPE if answer.outcome is Outcome.STALE else "text/plain"
        return web.Response(status=STATUS[answer.outcome], text=answer.body, content_type=kind)

    async def _checkpoint(self, request: web.Request) -> web.Response:
        origins = self._witness.origins
        origin = request.query.get("origin") or (origins[0] if len(origins) == 1 else "")
        last = await asyncio.to_thread(self._witness.last, origin)
        if last is None:
            return web.Response(status=404, text="nothing of this log was signed here\n")
        return web.Response(text=str(last))
