"""Goal: an injected sidecar runs whatever became of its ConfigMap, says so, and takes it when it is right.

Method: `sentinel run --or-defaults` as a process of its own on a folder that is empty, broken, and then right.
"""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.servers import wait_until
from tests.support.sidecar_process import command, environment

pytestmark = pytest.mark.integration


@contextmanager
def standing_in(
    folder: Path, *arguments: str, **more: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path, Path]]:
    """An injected sidecar's process, the file that appears when it is ready, and its log; ended at the end."""
    ready, log = folder / "ready", folder / "log"
    ports = ("RECEIVERS__OTLP_HTTP__LISTEN", "RECEIVERS__OTLP_GRPC__LISTEN", "WEB__LISTEN")
    given = {f"SENTINEL_{name}__PORT": "0" for name in ports}
    given |= {"SENTINEL_STORE__DIRECTORY": str(folder / "store"), **more}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command("run", *arguments, "--or-defaults", "--ready-file", str(ready)),
            env={**environment(), **given},
            cwd=folder,
            stdout=output,
            stderr=output,
        )
    try:
        yield process, ready, log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


def test_without_a_configuration_it_runs_and_takes_one_when_it_comes(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    with standing_in(tmp_path, "--config", str(folder), SENTINEL_ROLE="collect") as running:
        process, ready, log = running
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


@pytest.mark.parametrize(
    ("role", "more", "words"),
    [
        ("both", {"SENTINEL_REPLICAS": "2"}, "there are 2 replicas: each would page"),
        ("score", {"SENTINEL_REPLICA_NAME": "sentinel-scorer-1"}, "scale back to one"),
    ],
)
def test_one_replica_of_several_does_not_start(
    role: str, more: dict[str, str], words: str, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    done = subprocess.run(
        command("run"),
        env={
            **environment(),
            "SENTINEL_ROLE": role,
            "SENTINEL_STORE__DIRECTORY": str(store),
            **more,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not store.exists()


@pytest.mark.parametrize("arguments", [("--config", "config"), ()])
def test_an_injected_one_of_several_holds_up_nothing_and_pages_nobody(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    """Refusing to start, it would take its pod out of service; going on, it would page for its share."""
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "sentinel.yaml").write_text(
        "senders: {webhooks: [{name: hook, url: 'http://127.0.0.1:1/'}]}\n"
    )
    more = {
        "SENTINEL_ROLE": "both",
        "SENTINEL_REPLICA_NAME": "pay-1",
        "SENTINEL_SENDERS__ALERTMANAGER__URLS": "['http://127.0.0.1:1']",
    }
    with standing_in(tmp_path, *arguments, **more) as (process, ready, log):
        wait_until(lambda: ready.exists() or process.poll() is not None, what="the sidecar")
        assert process.poll() is None, log.read_text()
        told = log.read_text()
        assert "the defaults hold until it is right" in told
        assert "pay-1 is not the only replica" in told
        assert "destinations=none" in told
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
