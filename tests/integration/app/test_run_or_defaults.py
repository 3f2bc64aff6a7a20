"""Goal: an injected sidecar runs whatever became of its ConfigMap, says so, and takes it when it is right.

Method: `sentinel run --or-defaults` as a process of its own on a folder that is empty, broken, and then right.
"""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.support.servers import wait_until
from tests.support.sidecar_process import command, environment

pytestmark = pytest.mark.integration


def test_without_a_configuration_it_runs_and_takes_one_when_it_comes(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    ready, log = tmp_path / "ready", tmp_path / "log"
    ports = ("RECEIVERS__OTLP_HTTP__LISTEN", "RECEIVERS__OTLP_GRPC__LISTEN", "WEB__LISTEN")
    more = {f"SENTINEL_{name}__PORT": "0" for name in ports}
    more |= {"SENTINEL_STORE__DIRECTORY": str(tmp_path / "store"), "SENTINEL_ROLE": "collect"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command("run", "--config", str(folder), "--or-defaults", "--ready-file", str(ready)),
            env={**environment(), **more},
            cwd=tmp_path,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, what="the sidecar")
        assert process.poll() is None, log.read_text()
        url = json.loads(ready.read_text())["web_url"]
        assert "the defaults hold until it is right" in log.read_text()
        assert "without a *.yaml file" in log.read_text()

        def metrics() -> str:
            with urllib.request.urlopen(f"{url}/metrics", timeout=5) as reply:
                return str(reply.read().decode())

        wait_until(
            lambda: "sentinel_config_last_reload_success 0.0" in metrics(), what="it to be seen"
        )
        # A fault is no better than nothing, and no worse.
        (folder / "sentinel.yaml").write_text("sensitivity: loud\n")
        wait_until(lambda: "is not one of" in log.read_text(), what="the fault to be told")
        assert process.poll() is None
        ready.unlink()
        (folder / "sentinel.yaml").write_text(
            "mode: shadow\ncollect: {url: 'http://127.0.0.1:1', drain_timeout: 200ms}\n"
        )
        # It begins anew, as a collector now, and is the same process: to Kubernetes the container never ended.
        wait_until(ready.exists, what="it to begin anew")
        told = json.loads(ready.read_text())
        assert told["pid"] == process.pid
        url = told["web_url"]
        wait_until(
            lambda: "sentinel_config_last_reload_success 1.0" in metrics(), what="it to be taken"
        )
        assert "mode=shadow" in log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


def test_who_does_not_ask_for_it_gets_no_stand_in(tmp_path: Path) -> None:
    done = subprocess.run(
        command("run", "--config", str(tmp_path)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 3
    assert "without a *.yaml file" in done.stderr
