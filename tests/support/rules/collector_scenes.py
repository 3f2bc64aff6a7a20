"""One service's collecting sidecars and their scorer: a collector is killed, and of another pair the scorer."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Final

from tests.support.rules.stage import free_port, prometheus_config, say, stage
from tests.support.servers import prometheus_server

_WEB: Final = 'web: {{listen: {{port: {web}}}, series_routes: ["*"]}}\n'
_COLLECTOR: Final = (
    _WEB
    + """
role: collect
collect: {{name: {name}, url: "http://127.0.0.1:{windows}"}}
receivers: {{otlp_http: {{listen: {{port: {otlp}}}}}, otlp_grpc: {{enabled: false}}}}
"""
)
_SCORER: Final = (
    _WEB
    + """
role: score
receivers: {{windows_http: {{listen: {{port: {windows}}}}}, otlp_http: {{enabled: false}}, otlp_grpc: {{enabled: false}}}}
"""
)
_HANDS_ON: Final = "forward: {{endpoints: [{endpoints}]}}\n"
_QUIET_S: Final = 90.0
_BROKEN_S: Final = 720.0
_RATE_PER_S: Final = 5
# Of each its scorer; `first` takes what the ledger sends and hands it on to the others.
_COLLECTORS: Final = {"first": "scorer", "second": "scorer", "alone": "dying-scorer"}


async def play_collectors(folder: Path) -> None:
    """`second` is killed, and the scorer of `alone`."""
    names = [*_COLLECTORS, *dict.fromkeys(_COLLECTORS.values())]
    web = {name: free_port() for name in names}
    otlp = {name: free_port() for name in _COLLECTORS}
    windows = {name: free_port() for name in _COLLECTORS.values()}
    async with stage(folder) as (made, page):
        started = {
            name: await made.sidecar(name, _SCORER.format(web=web[name], windows=windows[name]))
            for name in windows
        }
        others = ", ".join(
            f'{{name: {name}, url: "http://127.0.0.1:{otlp[name]}"}}'
            for name in ("second", "alone")
        )
        for name, scorer in _COLLECTORS.items():
            config = _COLLECTOR.format(
                name=name,
                web=web[name],
                otlp=otlp[name],
                windows=windows[scorer],
            )
            more = _HANDS_ON.format(endpoints=others) if name == "first" else ""
            started[name] = await made.sidecar(name, config + more)
        await made.ledger(otlp_url=f"http://127.0.0.1:{otlp['first']}", rate=_RATE_PER_S)
        urls = [(name, f"http://127.0.0.1:{port}") for name, port in web.items()]
        with prometheus_server(
            prometheus_config(*urls, page=page), folder / "prometheus"
        ) as server:
            await asyncio.sleep(30)
            began_s = time.time()
            await asyncio.sleep(_QUIET_S)
            say("a collector is killed, and a scorer")
            await made.stop(started["second"], signal.SIGKILL)
            await made.stop(started["dying-scorer"], signal.SIGKILL)
            await asyncio.sleep(_BROKEN_S)
            made.span("collectors", began_s, rules=["sentinel"], fault_begins_s=_QUIET_S)
            made.save(server, since_s=began_s)
