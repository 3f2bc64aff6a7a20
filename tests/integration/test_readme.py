"""Goal: what the README tells a newcomer to type works as it is pasted.

Method: its blocks are cut out and run by a shell in a folder that looks like a fresh clone, against a real sidecar. Only
addresses are exchanged, for ones that are free. What cannot be run here (make, docker, kubectl) is held against the tree.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"(?ms)^ *```\n(.*?)^ *```$", README)
    for line in textwrap.dedent(block).splitlines()
    if line.strip()
]
# What a program with an OpenTelemetry SDK is: it knows nothing of Sentinel but the variables. It goes on for longer than
# a window: the one that runs when the sidecar begins is left out, and a program that ended within it was never seen.
PROGRAM = """
import time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("a program")
for _ in range(25):
    time.sleep(0.1)
    attributes = {"http.request.method": "GET", "http.route": "/pay", "http.response.status_code": 200}
    with tracer.start_as_current_span("GET /pay", kind=SpanKind.SERVER, attributes=attributes):
        pass
provider.shutdown()
"""


def the(beginning: str) -> str:
    """The one command that begins so."""
    [command] = [command for command in COMMANDS if command.startswith(beginning)]
    return command


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a command may look at in a fresh clone after `make install`."""
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "OPENBLAS_NUM_THREADS": "1",
        "SENTINEL_RECEIVERS__OTLP_HTTP__LISTEN__PORT": "0",
        "SENTINEL_RECEIVERS__OTLP_GRPC__LISTEN__PORT": "0",
        "SENTINEL_WEB__LISTEN__PORT": "0",
        "SENTINEL_SERIES__WINDOW": "1s",
        # As by default: a slow machine's first export may come seconds after its calls.
        "SENTINEL_SERIES__LATENESS": "5s",
        **more,
    }


def pasted_path() -> str:
    """What the README has one put before PATH."""
    [line] = [command for command in COMMANDS if command.startswith("export PATH=")]
    return line


def shell(command: str, clone: Path, **more: str) -> str:
    """What a pasted command prints; it must end well."""
    done = subprocess.run(
        ["sh", "-c", f"{pasted_path()}; {command}"],
        cwd=clone,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def running(clone: Path) -> Iterator[dict[str, Any]]:
    """The sidecar as the README starts it; its addresses."""
    shell(the("cp "), clone)
    shell(the("sentinel check config"), clone)
    ready = clone / "ready.json"
    log = clone / "run.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", f"{pasted_path()}; exec {the('sentinel run')} --ready-file {ready}"],
            cwd=clone,
            env=environment(),
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, what="the sidecar")
        assert process.poll() is None, log.read_text()
        yield json.loads(ready.read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def test_a_program_is_heard_and_its_past_is_taken(clone: Path, running: dict[str, Any]) -> None:
    exported = dict(
        command.removeprefix("export ").split("=", 1)
        for command in COMMANDS
        if command.startswith("export OTEL_")
    )
    assert exported["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
    exported["OTEL_EXPORTER_OTLP_ENDPOINT"] = running["otlp_http_url"]
    (clone / "program.py").write_text(PROGRAM)
    shell("python program.py", clone, **exported)

    url = running["web_url"]
    assert "Ready" in shell(f"{the('sentinel check ready')} --url {url}", clone)
    look = the("curl ").replace("http://127.0.0.1:9640", url)
    wait_until(
        lambda: '"GET /pay"' in shell(look, clone).replace("\\/", "/"),
        what="the program's series",
        timeout_s=60,
    )
    assert {
        (row["service"], row["stage"]) for row in json.loads(shell(look, clone))["series"]
    } == {(exported["OTEL_SERVICE_NAME"], "edge")}
    shell(f"{the('sentinel incidents')} --url {url}", clone)


def test_past_data_can_be_previewed_and_stored(clone: Path) -> None:
    shell("sentinel-ledger history --weeks 0.02 -o history.csv", clone)
    assert "24" in shell(the("sentinel baseline backfill"), clone)
    folder = clone / "FOLDER"
    folder.mkdir()
    rows = "".join(f"{1_700_000_000 + 300 * n},{n % 7}\n" for n in range(600))
    (folder / "calls.csv").write_text("timestamp,value\n" + rows)
    assert " 1 series" in shell(the("sentinel preview"), clone)


def test_the_injected_pod_is_what_is_piped_on(clone: Path) -> None:
    command, pipe, kubectl = the("sentinel inject").partition(" | ")
    assert (pipe, kubectl) == (" | ", "kubectl apply -f -")
    assert "image: registry.example/sentinel:0.1.0" in shell(command, clone)


def test_what_runs_already_is_found_and_written_down(clone: Path) -> None:
    shell(the("sentinel discover --write"), clone)
    assert "The configuration is right" in shell("sentinel check config found.yaml", clone)
    asked = re.search(r"`(sentinel check ready --config found\.yaml)`", README)
    assert asked
    # Whatever else runs on this machine, it says so and does not break.
    assert "ok" in shell(f"{asked[1]} || true", clone)


def test_the_way_from_a_prometheus_begins_as_its_document_does() -> None:
    """The rest of that way is typed there: tests/integration/test_prometheus_walkthrough.py follows it."""
    document = (ROOT / "docs/prometheus.md").read_text()
    first = re.search(r"(?m)^\$ (.+)$", document)
    assert first
    assert the("sentinel discover --prometheus") == first[1]
    # Who comes from here has the program; who comes there first is told where it is from.
    assert "(../README.md#on-your-own-data)" in document
    assert "\n## On your own data\n" in README


def test_no_command_is_left_unchecked() -> None:
    """Whoever adds a command to the README adds its check here."""
    checked = (
        *("cp ", "export ", "curl "),
        *(
            f"sentinel {name}"
            for name in (
                *("preview ", "check config ", "run ", "check ready", "incidents"),
                *("baseline backfill ", "inject ", "discover "),
            )
        ),
    )
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))
    for command in COMMANDS:
        if command.startswith("make "):
            assert command.split()[1] in targets
        elif command.startswith("docker build -f "):
            assert (ROOT / command.split()[3]).exists()
        elif not command.startswith("kubectl create configmap sentinel --from-file=sentinel.yaml"):
            assert command.startswith(checked), command
