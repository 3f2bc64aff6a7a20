"""Goal: what a release is installed for works where it is installed, and what needs more than the wheel says so.

Method: the wheel is installed twice where nothing else of ours is: bare, as `pip install WHEEL` leaves it, and with what the image
has; its programs run there, each to a real result.
"""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.clean_install import (
    ROOT,
    bare_install,
    full_install,
    program,
    run_program,
    sdist_install,
    surroundings,
)
from tests.support.injector import make_pod, make_review, patched, response_of
from tests.support.servers import wait_until
from tests.support.tls import make_certificate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SIDECAR = """\
mode: shadow
receivers: {otlp_http: {listen: {port: 0}}, otlp_grpc: {listen: {port: 0}}}
web: {listen: {port: 0}}
"""
INJECTOR = """\
sidecar: native
listen: {port: 0}
probes: {port: 0}
reconcile: {enabled: false}
stop_delay: 0s
"""
# Without a cluster nobody shares the authority, and no configuration is told of it.
OWN_AUTHORITY = (
    'authority: {folder: tls, secret: "", webhook: "", namespace: sentinel, service: injector}\n'
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare_install(tmp_path_factory)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return full_install(tmp_path_factory)


@contextmanager
def running(prefix: Path, command: str, config: str, folder: Path) -> Iterator[dict[str, Any]]:
    """A command that runs on, ready; it must end well on SIGTERM."""
    file, ready, log = folder / "config.yaml", folder / "ready.json", folder / "log"
    file.write_text(config)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program(prefix, "sentinel"), command, "--config", str(file), "--ready-file", str(ready)],
            cwd=folder, env=surroundings(prefix, folder),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, what=command)
        assert process.poll() is None, log.read_text()
        yield json.loads(ready.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


def review(url: str, authority: Path, name: str) -> dict[str, Any]:
    """What the injector answers to a pod, asked as an API server asks: by the name of the Service, believing one authority."""
    context = ssl.create_default_context(cafile=str(authority))
    host, port = url.split("/")[2].split(":")
    path = "/" + url.split("/", 3)[3]
    body = json.dumps(make_review(make_pod())).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {name}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        connection.sendall(head.encode() + body)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    status, _, rest = answer.partition(b"\r\n")
    assert b" 200 " in status, answer
    return response_of(rest.partition(b"\r\n\r\n")[2], uid="1a2b")


def test_the_sidecar_runs_and_is_asked(bare: Path, tmp_path: Path) -> None:
    with running(bare, "run", SIDECAR, tmp_path) as ready:
        told = run_program(
            bare, "sentinel", "check", "ready", "--url", ready["web_url"], home=tmp_path
        )
        assert told.returncode == 0, told.stdout + told.stderr
        with urllib.request.urlopen(f"{ready['web_url']}/metrics", timeout=5) as reply:
            assert b"sentinel_build_info" in reply.read()
    assert (tmp_path / "sentinel-store").is_dir()


def test_the_sdist_installs_what_the_wheel_does(
    bare: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    by_sdist = sdist_install(tmp_path_factory)
    recorded = [
        next(prefix.glob("lib/*/site-packages/sentinel_sidecar-*.dist-info/RECORD")).read_text()
        for prefix in (bare, by_sdist)
    ]
    files = [
        {line for line in text.splitlines() if line.startswith("sentinel/")} for text in recorded
    ]
    assert len(files[0]) > 400
    assert files[0] == files[1]
    assert run_program(by_sdist, "sentinel", "--version", home=tmp_path).stdout.startswith(
        "sentinel "
    )


def test_a_past_is_simulated_previewed_and_stored(bare: Path, tmp_path: Path) -> None:
    def typed(*command: str) -> str:
        done = run_program(bare, *command, home=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    typed("sentinel-ledger", "history", "--weeks", "0.3", "-o", "past.csv")
    assert " series" in typed("sentinel", "preview", "--csv", "past.csv")
    assert "Stored" in typed("sentinel", "baseline", "backfill", "past.csv", "--store", "store")
    assert "complete" in typed("sentinel-ledger", "completion", "bash")


def test_a_manifest_is_injected(bare: Path, tmp_path: Path) -> None:
    done = run_program(
        bare, "sentinel", "inject", "-f", str(ROOT / "deploy/pod.yaml"), "--image", "registry.example/sentinel:1",
        home=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [pod] = [one for one in yaml.safe_load_all(done.stdout) if one["kind"] == "Pod"]
    images = [one["image"] for one in pod["spec"]["initContainers"]]
    assert "registry.example/sentinel:1" in images


def test_a_review_is_answered_with_certificates_from_files(bare: Path, tmp_path: Path) -> None:
    """As cert-manager brings them: no extra is needed for that."""
    cert, key = make_certificate(tmp_path, "injector", names="DNS:injector.sentinel.svc")
    config = f"{INJECTOR}tls: {{cert_file: {cert}, key_file: {key}}}\n"
    with running(bare, "admission", config, tmp_path) as ready:
        response = review(ready["webhook_url"], cert, "injector.sentinel.svc")
    assert patched(make_pod(), response)["spec"]["initContainers"]


def test_a_review_is_answered_with_its_own_authority(full: Path, tmp_path: Path) -> None:
    with running(full, "admission", INJECTOR + OWN_AUTHORITY, tmp_path) as ready:
        authority = next((tmp_path / "tls").rglob("ca.crt"))
        response = review(ready["webhook_url"], authority, "injector.sentinel.svc")
    assert patched(make_pod(), response)["spec"]["initContainers"]


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("sentinel", "admission", "--config", "injector.yaml"), "admission"),
        (("sentinel", "run", "--config", "telemetry.yaml"), "otel"),
        (("sentinel", "baseline", "backfill", "past.parquet", "--store", "store"), "parquet"),
        (("sentinel", "baseline", "audit", "--store", "store"), "audit"),
        (
            (
                "sentinel",
                "baseline",
                "export",
                "--store",
                "store",
                "--remote-write",
                "http://127.0.0.1:9",
            ),
            "remote-write",
        ),
        (("sentinel-ledger", "up"), "ledger"),
        (("sentinel", "demo"), "ledger"),
    ],
    ids=["admission", "run", "backfill", "audit", "export", "ledger", "demo"],
)
def test_what_needs_an_extra_says_which(
    bare: Path, tmp_path: Path, command: tuple[str, ...], extra: str
) -> None:
    (tmp_path / "injector.yaml").write_text(INJECTOR + OWN_AUTHORITY)
    (tmp_path / "telemetry.yaml").write_text(
        f'{SIDECAR}self_telemetry: {{endpoint: "http://127.0.0.1:9"}}\n'
    )
    (tmp_path / "past.parquet").write_bytes(b"PAR1")
    if "store" in command:
        (tmp_path / "past.csv").write_text(
            "timestamp,service,stage,route,signal,value,weight\n"
            + "".join(f"{1_790_000_000 + 300 * n},pay,edge,GET /,traffic,1,\n" for n in range(600))
        )
        run_program(bare, "sentinel", "baseline", "backfill", "past.csv", "--store", "store", home=tmp_path)  # fmt: skip
    done = run_program(bare, *command, home=tmp_path)
    told = done.stdout + done.stderr
    assert done.returncode == (3 if extra in ("audit", "remote-write") else 1), told
    assert f"[{extra}]" in told or f"extra `{extra}`" in told, told
    assert "Traceback" not in told
    assert f"`{extra}`" in (ROOT / "docs/components/release.md").read_text()
