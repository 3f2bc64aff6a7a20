"""How long a review takes under concurrency, and what it costs.

Goal: p99 at most 100 ms. Method: `sentinel admission` as a process of its own, over TLS with its own authority, asked as an API
server asks: HTTP/1.1, 25 connections kept between requests, a full handshake for each beyond them. Reviews are of pods of five kinds,
from one that does not ask to one of 20 containers, and begin when they are due, whether others are answered or not: one after
another at random, and many at once, as a rollout makes them; then beside reviews of 3 MiB, and among what is no review at all.
Latency is from when it was due to the answer's last byte, as the caller sees it, who shares the machine and takes little of it;
beside it the injector's own CPU time. Each load is taken in rounds, between the others; of p50, p95 and p99 the median over rounds is told.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.https_caller import Caller
from benchmarks.machine import describe

GOAL_P99_MS = 100.0
HOST = "sentinel-admission.sentinel.svc"
KEPT = 25
"""What client-go keeps for one host. With HTTP/2 it would be one connection, but API servers ask webhooks by HTTP/1.1."""
LARGE_EVERY_S = 0.5


@dataclass(frozen=True)
class Load:
    """How reviews come.

    Attributes:
        name: as it is printed.
        arrival: `RATE/s` at random, or `COUNTxPERIOD` all at once, again and again.
        kept_max: connections kept between requests.
        bodies: in turn.
        large: sent two at a time beside the others, and not counted among them.
    """

    name: str
    arrival: str
    kept_max: int
    bodies: list[bytes]
    large: list[bytes] = field(default_factory=list)


@dataclass
class Found:
    """What the rounds of one load came to."""

    quantiles: list[tuple[float, float, float]] = field(default_factory=list)
    count: int = 0
    most_ms: float = 0.0
    large_ms: list[float] = field(default_factory=list)
    own_s: float = 0.0
    made_count: int = 0


def usual_reviews() -> list[bytes]:
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


def large_reviews() -> list[bytes]:
    """Two of 3 MiB: a pod of very many containers, and brackets without end."""
    usual = json.loads(usual_reviews()[1])
    usual["request"]["object"]["spec"]["containers"] = [
        {
            "name": f"c-{n}",
            "image": "app:1",
            "env": [{"name": f"V{i}", "value": "x" * 40} for i in range(20)],
        }
        for n in range(2200)
    ]
    return [
        json.dumps(usual).encode(),
        b'{"request": {"uid": "1a2b", "object": ' + b"[" * 3 * 2**20,
    ]


def odd_reviews() -> list[bytes]:
    """What no API server sends: cut off, nested as deep as can be, of wrong types, not UTF-8."""
    rng = random.Random(7)
    usual = usual_reviews()
    made = [one[: rng.randrange(len(one))] for one in usual]
    made += [
        b"",
        b"null",
        b"\x00\xff" * 2000,
        b"[" * 100_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    ]
    for part in ("object", "kind", "namespace", "operation", "uid"):
        for value in (
            None,
            10**30,
            [[]] * 500,
            {"spec": {"containers": [{}] * 5000}},
            "x" * 60_000,
        ):
            review = json.loads(usual[1])
            review["request"][part] = value
            made.append(json.dumps(review).encode())
    rng.shuffle(made)
    return made


def loads() -> list[Load]:
    """A hundred a second is five times what a cluster's controllers make by default."""
    usual = usual_reviews()
    return [
        Load("100/s", "100/s", KEPT, usual),
        Load("16 at once", "16x0.5", KEPT, usual),
        Load("32 at once", "32x0.5", KEPT, usual),
        Load("100/s, each on a new connection", "100/s", 0, usual),
        Load("32 at once, each on a new connection", "32x0.5", 0, usual),
        Load("100/s beside two of 3 MiB each half second", "100/s", KEPT, usual, large_reviews()),
        Load("100/s, none of them a review", "100/s", KEPT, odd_reviews()),
    ]


def arrivals(load: str, seconds: float, seed: int) -> list[float]:
    """When reviews begin, in seconds from now."""
    rng = random.Random(seed)
    if load.endswith("/s"):
        times, at_s = [], 0.0
        while at_s < seconds:
            at_s += rng.expovariate(float(load.removesuffix("/s")))
            times.append(at_s)
        return times
    count, period_s = load.split("x")
    bursts = range(max(1, int(seconds / float(period_s))))
    return [number * float(period_s) for number in bursts for _ in range(int(count))]


def as_request(body: bytes) -> bytes:
    """As an API server sends it."""
    head = (
        f"POST /mutate?timeout=5s HTTP/1.1\r\nHost: {HOST}:443\r\nUser-Agent: kube-apiserver-admission\r\n"
        f"Content-Length: {len(body)}\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\n\r\n"
    )
    return head.encode() + body


def cpu_s(pid: int) -> float:
    """CPU seconds a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_cpu_s() -> float:
    """CPU seconds all have taken."""
    user, nice, system, _, _, irq, softirq = map(
        int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8]
    )
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def take_round(
    load: Load, url: str, tls: ssl.SSLContext, *, seconds: float, seed: int, into: Found
) -> None:
    """One round of a load."""
    parts = urlsplit(url)
    caller = Caller(
        str(parts.hostname), int(parts.port or 0), tls, name=HOST, kept_max=load.kept_max
    )
    usual = [as_request(one) for one in load.bodies]
    try:
        if load.kept_max:
            caller.ask([usual[0]] * load.kept_max, [0.0] * load.kept_max)
        times = arrivals(load.arrival, seconds, seed)
        requests = [usual[number % len(usual)] for number in range(len(times))]
        count = len(times)
        if load.large:
            steps = range(int(seconds / LARGE_EVERY_S))
            times += [step * LARGE_EVERY_S for step in steps for _ in load.large]
            requests += [as_request(one) for _ in steps for one in load.large]
        answers = caller.ask(requests, times)
        assert all(b'"allowed":true' in one.data for one in answers)
        assert len(answers) == len(requests)
    finally:
        caller.close()
    found = sorted(one.latency_ms for one in answers if one.number < count)
    p50, p95, p99 = (found[int(len(found) * q)] for q in (0.5, 0.95, 0.99))
    into.quantiles.append((p50, p95, p99))
    into.large_ms += [one.latency_ms for one in answers if one.number >= count]
    into.count += count
    into.most_ms = max(into.most_ms, found[-1])
    into.made_count += caller.made_count


def own_p99(probes_url: str) -> str:
    """Below which of its histogram's bounds the injector itself answered 99 of 100 reviews."""
    with urllib.request.urlopen(f"{probes_url}/metrics", timeout=5) as reply:
        text = reply.read().decode()
    pattern = r'sentinel_admission_review_seconds_bucket\{le="([^"]+)"\} (\S+)'
    buckets = [(float(bound), float(count)) for bound, count in re.findall(pattern, text)]
    within = next(bound for bound, count in buckets if count >= 0.99 * buckets[-1][1])
    return f"p99 at most {within * 1000:g} ms of {buckets[-1][1]:.0f}"


def print_found(load: Load, found: Found) -> None:
    """One line of the table."""
    p50, p95, p99 = (statistics.median(one) for one in zip(*found.quantiles, strict=True))
    worst = max(one[2] for one in found.quantiles)
    verdict = "within" if p99 <= GOAL_P99_MS else "ABOVE"
    beside = f"; the large ones at most {max(found.large_ms):.0f} ms" if found.large_ms else ""
    print(
        f"{load.name}: {found.count} reviews, {found.made_count} connections made; p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f} ms"
        f" ({verdict} the goal of {GOAL_P99_MS:g}), p99 of the worst round {worst:.1f}, most {found.most_ms:.1f} ms;"
        f" {found.own_s * 1000 / found.count:.2f} ms CPU of the injector each{beside}"
    )


def main() -> None:
    """Start the injector, ask it, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each round of each load")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(describe())
    sizes = ", ".join(f"{len(body) / 1024:.1f}" for body in usual_reviews())
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
            tls = ssl.create_default_context(cafile=str(folder / "tls/current/ca.crt"))
            found = [(load, Found()) for load in loads()]
            begun_s, before_s = time.perf_counter(), machine_cpu_s()
            ours_s = cpu_s(process.pid) + time.process_time()
            for number in range(arguments.rounds):
                for load, into in found:
                    own_s = cpu_s(process.pid)
                    take_round(
                        load,
                        told["webhook_url"],
                        tls,
                        seconds=arguments.seconds,
                        seed=number,
                        into=into,
                    )
                    into.own_s += cpu_s(process.pid) - own_s
            for load, into in found:
                print_found(load, into)
            took_s = time.perf_counter() - begun_s
            others = (
                machine_cpu_s() - before_s - (cpu_s(process.pid) + time.process_time() - ours_s)
            )
            print(
                f"{arguments.rounds} rounds; meanwhile others took {others / took_s:.2f} of {os.cpu_count()} cores,"
                f" load average {os.getloadavg()[1]:.1f}"
            )
            print(
                f"within the injector, from the head to the answer: {own_p99(told['probes_url'])}"
            )
            status = Path(f"/proc/{process.pid}/status").read_text()
            resident, peak = (
                int(status.partition(f"{one}:")[2].split()[0]) / 1000 for one in ("VmRSS", "VmHWM")
            )
            print(f"resident afterwards: {resident:.0f} MB, at most {peak:.0f} MB")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=20)


if __name__ == "__main__":
    main()
