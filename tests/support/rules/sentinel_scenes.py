"""What can be wrong with Sentinel itself; a cluster of NATS; a service with hardly a request.

Five sidecars stand in a row. `main` takes the ledger's telemetry, pages, and hands everything on: to `small`, whose bounds are too low
for it, to `tight`, which may have too little memory, and to `dying`, which hands it on to `deaf`.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import time
from pathlib import Path
from typing import Final

import aiohttp
import nats
from nats.js.api import StreamConfig

from tests.support.alertmanager_server import alertmanager_server, collector
from tests.support.nats_servers import nats_cluster
from tests.support.otlp_messages import span, traces
from tests.support.rules.otlp_page import OtlpPage
from tests.support.rules.stage import Stage, free_port, prometheus_config, say, stage
from tests.support.servers import prometheus_server

_COMMON: Final = """
web: {{listen: {{port: {web}}}, series_routes: ["*"]}}
receivers: {{otlp_http: {{listen: {{port: {otlp}}}}}, otlp_grpc: {{enabled: false}}}}
"""
_MAIN: Final = """
series: {{window: 10s}}
senders:
  alertmanager: {{urls: ["{alertmanager}"]}}
  webhooks: [{{name: refusing, url: "{refusing}"}}]
forward:
  endpoints:
    - {{name: page, url: "{page}", traces: false, logs: false}}
    - {{name: small, url: "http://127.0.0.1:{small}"}}
    - {{name: tight, url: "http://127.0.0.1:{tight}"}}
    - {{name: dying, url: "http://127.0.0.1:{dying}"}}
    - {{name: away, url: "{away}", queue: {{max_bytes: 1MiB, memory_max_bytes: 256KiB}}}}
"""
_HANDS_ON: Final = 'forward: {{endpoints: [{{name: deaf, url: "http://127.0.0.1:{deaf}"}}]}}\n'
_SMALL: Final = "series: {series_count_max: 5}\n"
_TIGHT: Final = "overload: {memory_max: 64MiB}\n"
_QUIET_S: Final = 180.0
_CLUSTER_QUIET_S: Final = 90.0
_RATE_PER_S: Final = 5
_SIDECARS: Final = ("main", "small", "tight", "dying", "deaf")


async def play_sentinel(folder: Path) -> None:
    """A destination and an endpoint go away, a sidecar dies, and others are not up to what they are given."""
    with collector() as refusing, collector() as pager:
        refusing.status = 400
        async with stage(folder) as (made, page):
            await _play_sentinel(made, page, refusing.url, pager.url)


async def _play_sentinel(made: Stage, page: OtlpPage, refusing: str, pager: str) -> None:
    web = {name: free_port() for name in _SIDECARS}
    otlp = {name: free_port() for name in _SIDECARS}
    away = OtlpPage()
    await away.start()
    await made.ledger(otlp_url=f"http://127.0.0.1:{otlp['main']}", rate=_RATE_PER_S)
    with alertmanager_server(made.folder / "alertmanager", webhook_url=pager) as alertmanager:
        more = {
            "main": _MAIN.format(
                alertmanager=alertmanager.url,
                refusing=refusing,
                page=page.url,
                away=away.url,
                **otlp,
            ),
            "small": _SMALL,
            "tight": _TIGHT,
            "dying": _HANDS_ON.format(**otlp),
            "deaf": "",
        }
        sidecars = {
            name: await made.sidecar(
                name, _COMMON.format(web=web[name], otlp=otlp[name]) + more[name]
            )
            for name in reversed(_SIDECARS)
        }
        urls = {name: f"http://127.0.0.1:{port}" for name, port in web.items()}
        all_but_one = [(name, urls[name]) for name in _SIDECARS if name != "dying"]
        watched = prometheus_config(*all_but_one, page=page)
        alone = prometheus_config(("dying", urls["dying"]), page=None)
        with (
            prometheus_server(watched, made.folder / "prometheus") as server,
            prometheus_server(alone, made.folder / "prometheus-alone") as server_alone,
        ):
            await asyncio.sleep(60)
            broken = asyncio.create_task(_send_broken_spans(otlp["small"]))
            began_s = time.time()
            try:
                await asyncio.sleep(_QUIET_S)
                say("a sidecar is killed, the Alertmanager and an endpoint go away")
                await made.stop(sidecars["dying"], signal.SIGKILL)
                alertmanager.stop()
                await away.stop()
                async with made.fault("errors", "--ratio", "1", seconds=90):
                    pass
                # The file is looked at every two seconds; what it says now makes no sense.
                file = made.folder / "main.yaml"
                good = file.read_text()
                file.write_text(good + "nonsense: true\n")
                await asyncio.sleep(420)
                file.write_text(good)
                made.span("sentinel-dead", began_s, rules=["sentinel"], fault_begins_s=_QUIET_S)
                made.save(server_alone, since_s=began_s, name="raw-alone")
                made.spans.clear()
                say("the Alertmanager is back; files of the store can grow no more")
                alertmanager.start()
                await asyncio.sleep(60)
                await _without_disk(sidecars["main"].pid, seconds=60)
                await asyncio.sleep(max(0.0, began_s + 1320 - time.time()))
            finally:
                broken.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await broken
            made.span("sentinel", began_s, rules=["sentinel"], fault_begins_s=_QUIET_S)
            made.save(server, since_s=began_s)


async def _without_disk(pid: int, *, seconds: float) -> None:
    """No file of a process may grow, as on a disk that is full."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    await asyncio.sleep(seconds)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


async def _send_broken_spans(port: int) -> None:
    """A source whose spans have no end."""
    async with aiohttp.ClientSession() as http:
        while True:
            await asyncio.sleep(5)
            now_ns = time.time_ns()
            spans = [span(number=number + 1, end_ns=now_ns) for number in range(40)]
            for one in spans[5:]:
                one.end_time_unix_nano = 0
            body = traces(*spans, service="broken-source").SerializeToString()
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await http.post(
                    f"http://127.0.0.1:{port}/v1/traces",
                    data=body,
                    headers={"Content-Type": "application/x-protobuf"},
                )


_CLUSTER: Final = """
scrapers: {{nats: [{{name: main, service: nats, urls: {urls}}}]}}
"""


async def play_cluster(folder: Path) -> None:
    """Of three NATS servers one dies, and then another hangs."""
    folder.mkdir(parents=True, exist_ok=True)
    with nats_cluster(folder / "nats") as servers:
        async with stage(folder) as (made, _):
            web, otlp = free_port(), free_port()
            client = await nats.connect([one.url for one in servers], max_reconnect_attempts=-1)
            await client.jetstream(timeout=10).add_stream(
                StreamConfig(name="ORDERS", subjects=["orders"], num_replicas=3)
            )
            urls = [one.monitor_url for one in servers]
            await made.sidecar(
                "sidecar", _COMMON.format(web=web, otlp=otlp) + _CLUSTER.format(urls=urls)
            )
            config = prometheus_config(("sidecar", f"http://127.0.0.1:{web}"), page=None)

            async def publish() -> None:
                while True:
                    with contextlib.suppress(nats.errors.Error, TimeoutError):
                        await client.publish("orders", b"one")
                    await asyncio.sleep(0.5)

            publishing = asyncio.create_task(publish())
            try:
                with prometheus_server(config, folder / "prometheus") as server:
                    await asyncio.sleep(30)
                    began_s = time.time()
                    await asyncio.sleep(_CLUSTER_QUIET_S)
                    say("one of three servers is killed")
                    servers[2].stop(signal.SIGKILL)
                    await asyncio.sleep(840)
                    say("another hangs")
                    servers[1].hold()
                    await asyncio.sleep(120)
                    servers[1].go_on()
                    await asyncio.to_thread(servers[2].start)
                    await asyncio.sleep(60)
                    made.span("cluster", began_s, rules=["nats"], fault_begins_s=_CLUSTER_QUIET_S)
                    made.save(server, since_s=began_s)
            finally:
                publishing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await publishing
                servers[1].go_on()
                await client.close()


async def play_few(folder: Path) -> None:
    """A ledger with hardly a request, most of which fail."""
    async with stage(folder) as (made, page):
        state = await made.ledger(otlp_url=page.url, rate=0)
        with prometheus_server(prometheus_config(page=page), made.folder / "prometheus") as server:
            await asyncio.sleep(30)
            began_s = time.time()
            async with aiohttp.ClientSession(state["edge_url"]) as http:
                for number in range(3):
                    await _transfer(http, f"well-{number}")
                    await asyncio.sleep(60)
                begins_s = time.time() - began_s
                async with made.fault("errors", "--ratio", "1", seconds=330):
                    for number in range(7):
                        await asyncio.sleep(45)
                        await _transfer(http, f"ill-{number}")
                ends_s = time.time() - began_s
                await asyncio.sleep(120)
            made.span("few", began_s, rules=["slo"], fault_begins_s=begins_s, fault_ends_s=ends_s)
            made.save(server, since_s=began_s)


async def _transfer(http: aiohttp.ClientSession, key: str) -> None:
    body = {
        "debit_account": "external:bank",
        "credit_account": "alice",
        "amount_minor": 5,
        "currency": "EUR",
    }
    headers = {"X-Tenant": "shop", "Idempotency-Key": key}
    async with http.post("/v1/transfers", json=body, headers=headers) as response:
        await response.read()
