"""Goal: the real process starts, refuses, drains, dies and comes back as operators expect, and tells no secret.

Method: `python -m sentinel run` as a child on real time with windows of a second, telemetry over HTTP, pages to a
collector; signals, a second process, a limit on file sizes, and secrets that must not be found anywhere.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from sentinel.cli.main import main
from sentinel.storage.sqlite import SqliteStore, StoreConfig
from tests.support.alertmanager_server import Collector, collector
from tests.support.servers import wait_until
from tests.support.sidecar_process import (
    SidecarProcess,
    command,
    environment,
    sidecar_process,
    write_config,
)
from tests.support.surroundings import make_surroundings
from tests.support.whole_app import Calls

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

BURST = Calls(failed_count=40)


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def until_paged(side: SidecarProcess, hook: Collector) -> None:
    def paged() -> bool:
        assert side.send(BURST) == 200
        return bool(hook.alerts("firing"))

    wait_until(paged, what="the page", every_s=0.4)


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["incidents", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_drained_killed_and_started_again_it_is_one_incident(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with collector() as hook:
        config = write_config(tmp_path, webhook_url=hook.url)
        with sidecar_process(config, name="first") as side:
            assert side.pid == side.process.pid
            until_paged(side, hook)
            (incident,) = side.incidents()
            another = run("run", "--config", str(config), folder=tmp_path)
            assert another.returncode == 3
            assert "another process" in another.stderr
            assert str(tmp_path / "store") in another.stderr
            assert "Traceback" not in another.stderr
            assert side.end(signal.SIGTERM) == 0
            assert "Draining" in side.log
            assert "Stopped" in side.log

        store = SqliteStore(StoreConfig(directory=str(tmp_path / "store")), make_surroundings())
        store.open()
        assert store.states()
        store.close()

        with sidecar_process(config, name="second") as side:
            assert side.incidents()[0]["id"] == incident["id"]
            assert side.incidents()[0]["state"] == "open"
            _incidents_are_told(side, incident["id"], capsys)
            assert side.end(signal.SIGKILL) == -signal.SIGKILL
        code, _, err = asked(capsys, "--url", side.web_url)
        assert code == 3
        assert "cannot be reached" in err

        with sidecar_process(config, name="third") as side:
            assert side.incidents()[0]["id"] == incident["id"]

            def resolved() -> bool:
                side.send(Calls())
                return bool(hook.alerts("resolved"))

            wait_until(resolved, what="the resolve", every_s=0.4)
            assert side.end(signal.SIGINT) == 0
        reasons = [one["annotations"]["reason"] for one in hook.alerts()]
        assert reasons == ["opened", "resolved"]
        assert {one["annotations"]["incident"] for one in hook.alerts()} == {incident["id"]}


def _incidents_are_told(
    side: SidecarProcess, incident_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = asked(capsys, "--url", side.web_url)
    assert code == 0
    assert out.splitlines()[0].startswith("ID")
    assert incident_id[:12] in out.splitlines()[1]
    assert "edge POST /v1/transfers errors" in out.splitlines()[1]
    code, out, _ = asked(capsys, "--url", side.web_url, "-o", "json")
    assert (code, [one["id"] for one in json.loads(out)]) == (0, [incident_id])
    code, out, _ = asked(capsys, "--url", side.web_url, "-o", "ndjson", "--open")
    assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, [incident_id])
    code, out, _ = asked(capsys, "--url", side.web_url, incident_id[:8])
    assert code == 0
    assert f"Incident {incident_id}" in out
    assert "static guard: at least 50 % of the calls fail" in " ".join(out.split())
    code, _, err = asked(capsys, "--url", side.web_url, "ffffffff")
    assert code == 1
    assert "no incident" in err


def test_a_hangup_asks_for_a_look_at_the_configuration(tmp_path: Path) -> None:
    """SIGHUP ended the process without a drain: it is what operators send for a reload, and a terminal when it closes."""
    with collector() as hook:
        config = write_config(tmp_path, webhook_url=hook.url)
        with sidecar_process(config) as side:
            side.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "it has not changed" in side.log, what="the answer")
            assert 'destinations="webhook hook"' in side.log
            assert side.send(Calls()) == 200
            assert side.end(signal.SIGTERM) == 0
            assert "Stopped" in side.log


def test_a_disk_that_takes_nothing_neither_delays_pages_nor_loses_any(tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk: writes fail half-way, as they do there."""
    with collector() as hook:
        config = write_config(tmp_path, webhook_url=hook.url)
        with sidecar_process(config) as side:
            wait_until(
                lambda: side.send(Calls()) == 200 and '"traffic"' in side.get("/api/v1/series"),
                what="a window",
                every_s=0.4,
            )
            _, hard = resource.prlimit(side.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(side.pid, resource.RLIMIT_FSIZE, (4096, hard))

            def in_trouble() -> bool:
                assert side.send(BURST) == 200
                components = json.loads(side.get("/-/ready"))["components"]
                return any(
                    components[name]["status"] != "ok"
                    for name in ("storage.sqlite", "pipeline.evaluate")
                )

            wait_until(in_trouble, what="health to say so", every_s=0.4)
            assert '"status":"ok"' in side.get("/-/healthy").replace(" ", "")
            until_paged(side, hook)
            resource.prlimit(side.pid, resource.RLIMIT_FSIZE, (hard, hard))
            dropped = [
                line
                for line in side.get("/metrics").splitlines()
                if line.startswith("sentinel_store_dropped_windows_total{")
            ]
            assert sum(float(line.rsplit(" ", 1)[1]) for line in dropped) >= 1
            wait_until(
                lambda: json.loads(side.get("/-/ready"))["ready"] is True, what="to be ready again"
            )
            (incident,) = side.incidents()
            assert incident["state"] == "open"
            assert side.end(signal.SIGTERM) == 0
        opened = [
            one["annotations"]["incident"]
            for one in hook.alerts()
            if one["annotations"]["reason"] == "opened"
        ]
        assert opened == [incident["id"]]


def test_secrets_are_nowhere_to_be_read(tmp_path: Path) -> None:
    canaries = {name: f"canary-{name}-5d1f7c0b9a" for name in ("read", "ingest", "bearer", "hmac")}
    for name, text in canaries.items():
        (tmp_path / name).write_text(text + "\n")
    with collector() as hook:
        config = write_config(
            tmp_path,
            webhook_url=hook.url,
            more_web=f", tokens: {{read_file: {tmp_path / 'read'}}}",
            more_hook=f", hmac_secret_file: {tmp_path / 'hmac'},"
            f" client: {{bearer_token_file: {tmp_path / 'bearer'}}}",
        )
        # The destination refuses, so that what is said about refusals is looked at too.
        hook.status = 503
        with sidecar_process(config) as side:
            token = canaries["read"]

            def refused() -> bool:
                side.send(BURST)
                return bool(hook.requests)

            wait_until(refused, what="an attempt to page", every_s=0.4)
            assert hook.requests[0].headers["Authorization"] == f"Bearer {canaries['bearer']}"
            assert "incidents" not in side.get("/api/v1/incidents")
            read = [
                side.get(path, token=token)
                for path in (
                    "/metrics",
                    "/metrics/series",
                    "/api/v1/status",
                    "/api/v1/incidents",
                    "/api/v1/series",
                    "/-/ready",
                )
            ]
            assert "ledger" in read[3]
            shown = run("config", "show", str(config), folder=tmp_path)
            assert shown.returncode == 0
            family = [psutil.Process(side.pid), *psutil.Process(side.pid).children(recursive=True)]
            read += [" ".join(one.cmdline()) for one in family]
            read += [" ".join(one.environ().values()) for one in family]
            assert side.end(signal.SIGTERM) == 0
            read += [side.log, shown.stdout, shown.stderr]
    for name, text in canaries.items():
        assert not any(text in page for page in read), name


def test_what_must_not_start_says_why(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("sensitivty: high\nweb: {listen: {address: 192.0.2.1}}\n")
    answer = run("run", "--config", str(file), folder=tmp_path)
    assert answer.returncode == 1
    assert "did you mean sensitivity?" in answer.stderr
    assert "can be reached by others and needs tls and tokens.read" in answer.stderr
    assert f"{file}:1" in answer.stderr
