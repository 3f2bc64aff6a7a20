"""Goal: one command shows a page and its resolve, and leaves nothing behind, also on Ctrl-C.

Method: the demo as a person runs it, in a process of its own; afterwards the process table is searched for
anything that carries the demo's folder or descends from it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

MARK = "SENTINEL_TEST_DEMO"


def start_demo(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("sentinel")), "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), MARK: str(tmp_path)},
    )


def left_behind(tmp_path: Path) -> list[str]:
    """Processes that inherited the demo's environment; each is given a moment to end."""
    deadline = time.monotonic() + 10
    while True:
        found = []
        for process in psutil.process_iter(["pid", "cmdline", "environ", "status"]):
            environment = process.info["environ"] or {}
            if (
                environment.get(MARK) == str(tmp_path)
                and process.info["status"] != psutil.STATUS_ZOMBIE
                and process.pid != os.getpid()
            ):
                found.append(" ".join(process.info["cmdline"] or []))
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def test_the_demo_pages_resolves_and_leaves_nothing(tmp_path: Path) -> None:
    demo = start_demo(tmp_path)
    output, _ = demo.communicate(timeout=200)
    assert demo.returncode == 0, output
    assert "PAGE" in output
    assert "RESOLVED" in output
    assert "simulat" in output.lower(), "the demo must say that its history is simulated"
    assert left_behind(tmp_path) == []
    assert [path for path in tmp_path.iterdir() if path.name.startswith("sentinel-demo-")] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    demo = start_demo(tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "The ledger answers" in line:
            break
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, output
    assert left_behind(tmp_path) == []


def test_a_killed_demo_takes_its_children_with_it(tmp_path: Path) -> None:
    demo = start_demo(tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "The ledger answers" in line:
            break
    demo.kill()
    demo.wait(10)
    demo.stdout.close()
    assert left_behind(tmp_path) == []
