"""How long a review takes under concurrency, and what it costs.

Goal: p99 at most 100 ms. Method: `sentinel admission` as a process of its own, over TLS with its own authority; reviews of
pods of five kinds (from one that does not ask to one of 20 containers) over kept connections, as API servers send them. They
begin when they are due, whether others are answered or not: one after another at random, and many at once, as a rollout makes them.
Latency is from when it was due to the answer's last byte, as the caller sees it, who shares the machine; beside it the
injector's own CPU time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.machine import describe

GOAL_P99_MS = 100.0
HOST = "sentinel-admission.sentinel.svc"
CONNECTIONS = 64
LOADS = ("20/s", "100/s", "16x0.5", "32x0.5", "32x99")
"""Twenty a second is what a cluster's controllers make by default; bursts are of pods of one rollout, the last on new connections."""


def reviews() -> list[bytes]:
    """Reviews as API servers send them, by kind of pod."""
    asks = {"sentinel.dev/inject": "true"}
    env = [{"name": f"SETTING_{number}", "value": "x" * 40} for number in range(30)]
    managed = [
        {"manager": "kube-controller-manager", "fieldsV1": {f"f:{n}": {} for n in range(150)}}
    ]

    def container(name: str) -> dict[str, Any]:
        return {
            "name": name,
            "image": f"registry.example/{name}@sha256:{'0' * 64}",
            "env": env,
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}},
            "volumeMounts": [{"name": "conf", "mountPath": "/etc/app"}],
        }

    def pod(annotations: dict[str, str], count: int) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "generateName": "payments-7c9d8f6b5-",
                "annotations": annotations,
                "managedFields": managed,
            },
            "spec": {
                "containers": [container(f"app-{number}") for number in range(count)],
                "volumes": [{"name": "conf", "configMap": {"name": "conf"}}],
            },
        }

    pods = [pod({}, 1), pod(asks, 1), pod(asks, 2), pod(asks, 5), pod(asks, 20)]
    return [
        json.dumps(
            {
                "kind": "AdmissionReview",
                "apiVersion": "admission.k8s.io/v1",
                "request": {
                    "uid": f"705ab4f5-6393-11e8-b7cc-42010a80000{number}",
                    "kind": {"group": "", "version": "v1", "kind": "Pod"},
                    "namespace": "pay",
                    "operation": "CREATE",
                    "object": one,
                },
            }
        ).encode()
        for number, one in enumerate(pods)
    ]


def cpu_s(pid: int) -> float:
    """CPU seconds a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def arrivals(load: str, seconds: float) -> list[float]:
    """When reviews begin, in seconds from now: `RATE/s` at random, or `COUNTxPERIOD` all at once, again and again."""
    rng = random.Random(7)
    if load.endswith("/s"):
        times, at_s = [], 0.0
        while at_s < seconds:
            at_s += rng.expovariate(float(load.removesuffix("/s")))
            times.append(at_s)
        return times
    count, period_s = load.split("x")
    bursts = range(max(1, int(seconds / float(period_s))))
    return [number * float(period_s) for number in bursts for _ in range(int(count))]


async def ask(url: str, folder: Path, times: list[float], *, kept_count: int) -> list[float]:
    """Latencies in milliseconds of reviews that begin at these times, with so many connections there before."""
    tls = ssl.create_default_context(cafile=str(folder / "tls/current/ca.crt"))
    bodies = reviews()
    latencies: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

        async def one(number: int, at_s: float, begun_s: float) -> None:
            await asyncio.sleep(max(0.0, begun_s + at_s - time.perf_counter()))
            body = bodies[number % len(bodies)]
            started_s = begun_s + at_s
            async with session.post(
                f"{url}?timeout=5s", data=body, ssl=tls, server_hostname=HOST
            ) as reply:
                answer = await reply.read()
                assert reply.status == 200
            latencies.append((time.perf_counter() - started_s) * 1000)
            assert b'"allowed":true' in answer
            assert (b'"patch"' in answer) == (number % len(bodies) != 0)

        now_s = time.perf_counter()
        await asyncio.gather(*(one(number, 0.0, now_s) for number in range(kept_count)))
        latencies.clear()
        begun_s = time.perf_counter()
        await asyncio.gather(*(one(number, at_s, begun_s) for number, at_s in enumerate(times)))
    return sorted(latencies)


def own_p99(probes_url: str) -> str:
    """Below which of its histogram's bounds the injector itself answered 99 of 100 reviews."""
    with urllib.request.urlopen(f"{probes_url}/metrics", timeout=5) as reply:
        text = reply.read().decode()
    pattern = r'sentinel_admission_review_seconds_bucket\{le="([^"]+)"\} (\S+)'
    buckets = [(float(bound), float(count)) for bound, count in re.findall(pattern, text)]
    within = next(bound for bound, count in buckets if count >= 0.99 * buckets[-1][1])
    return f"p99 at most {within * 1000:g} ms of {buckets[-1][1]:.0f}"


def main() -> None:
    """Start the injector, ask it, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each load")
    arguments = parser.parse_args()
    print(describe())
    sizes = ", ".join(f"{len(body) / 1024:.1f}" for body in reviews())
    print(f"reviews of {sizes} KiB in turn; the first asks for nothing")
    with tempfile.TemporaryDirectory(prefix="sentinel-bench-") as name:
        folder = Path(name)
        ready = folder / "ready"
        (folder / "admission.yaml").write_text(
            "sidecar: native\nlisten: {port: 0}\nprobes: {port: 0}\nreconcile: {enabled: false}\nstop_delay: 0s\n"
            f"authority: {{folder: {folder / 'tls'}, secret: '', webhook: '', namespace: sentinel}}\n"
        )
        command = ("admission", "--config", str(folder / "admission.yaml"))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "sentinel", *command, "--ready-file", str(ready)],
                stderr=log,
            )
        try:
            while not ready.exists():
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
            told = json.loads(ready.read_text())
            url, probes_url = told["webhook_url"], told["probes_url"]
            for load in LOADS:
                times = arrivals(load, arguments.seconds)
                before_s = cpu_s(process.pid)
                kept_count = 0 if load == LOADS[-1] else CONNECTIONS
                found = asyncio.run(ask(url, folder, times, kept_count=kept_count))
                own_ms = (cpu_s(process.pid) - before_s) * 1000 / (len(found) + kept_count)
                p50, p99 = (found[int(len(found) * q)] for q in (0.5, 0.99))
                verdict = "within" if p99 <= GOAL_P99_MS else "ABOVE"
                print(
                    f"{load:>7}: {len(found):5} reviews over {'kept' if kept_count else 'new'} connections, p50 {p50:6.2f} ms, p99 {p99:6.2f} ms"
                    f" ({verdict} the goal of {GOAL_P99_MS:g} ms), most {found[-1]:6.2f} ms,"
                    f" {own_ms:.2f} ms CPU of the injector each"
                )
            print(f"within the injector, from the head to the answer: {own_p99(probes_url)}")
            status = Path(f"/proc/{process.pid}/status").read_text()
            resident_mb = int(status.partition("VmRSS:")[2].split()[0]) / 1000
            print(f"resident afterwards: {resident_mb:.0f} MB")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


if __name__ == "__main__":
    main()
