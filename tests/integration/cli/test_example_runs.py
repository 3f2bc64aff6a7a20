"""Goal: the committed example starts a real sidecar as it stands, and a file that is wrong or absent does not.

Method: `python -m sentinel run` as a child process over deploy/example.yaml. Ports and store alone are overridden by
variables, so that a test never takes an address or a folder of the machine it runs on.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sentinel.app.config import load_config

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

EXAMPLE = Path(__file__).parents[3] / "deploy" / "example.yaml"


def environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "OPENBLAS_NUM_THREADS": "1",
        "SENTINEL_RECEIVERS__OTLP_HTTP__LISTEN__PORT": "0",
        "SENTINEL_RECEIVERS__OTLP_GRPC__LISTEN__PORT": "0",
        "SENTINEL_WEB__LISTEN__PORT": "0",
        "SENTINEL_STORE__DIRECTORY": str(folder / "store"),
    }


def sentinel(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sentinel", *arguments],
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_example_becomes_ready_and_drains(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "sentinel",
            "run",
            "--config",
            str(EXAMPLE),
            "--ready-file",
            str(ready),
        ],
        env=environment(tmp_path),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not ready.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        addresses = json.loads(ready.read_text())
        answer = sentinel("check", "ready", "--url", addresses["web_url"], folder=tmp_path)
        # It is live, and has no destination yet: that is less than it should be, and is said in the first line.
        first, second, *_ = answer.stdout.splitlines()
        assert answer.returncode == 0
        assert first == "Ready, with less than it should: 1 part degraded."
        assert second.startswith("pipeline.deliver: degraded: No destination is configured")
        assert "storage.sqlite: ok" in answer.stdout
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait(timeout=10)
    assert all(line.isprintable() for line in stderr.splitlines())
    assert "Configuration warning" in stderr
    assert "nobody is paged" in stderr


def test_check_and_run_refuse_the_same_faults(tmp_path: Path) -> None:
    """What `check config` accepts is what starts: both say the same of a wrong file."""
    file = tmp_path / "sentinel.yaml"
    file.write_text("series: {windw: 10s}\nweb: {listen: {address: 192.0.2.1}}\n")
    checked = sentinel("check", "config", str(file), folder=tmp_path)
    run = sentinel("run", "--config", str(file), folder=tmp_path)
    assert (checked.returncode, run.returncode) == (1, 1)
    faults = checked.stdout.splitlines()[:-1]
    assert len(faults) == 2
    assert faults[0] in run.stderr
    assert faults[1] in run.stderr
    assert not (tmp_path / "store").exists()


def test_an_absent_file_exits_3(tmp_path: Path) -> None:
    for command in (("check", "config"), ("config", "show"), ("run", "--config")):
        assert sentinel(*command, str(tmp_path / "absent.yaml"), folder=tmp_path).returncode == 3


def test_the_overrides_of_this_test_are_all_that_differs(tmp_path: Path) -> None:
    loaded = load_config(EXAMPLE, environment=environment(tmp_path))
    overridden = [path for path, origin in loaded.origins.items() if origin.variable]
    assert len(overridden) == 4
