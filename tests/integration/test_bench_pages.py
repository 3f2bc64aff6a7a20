"""Goal: `make bench-pages` breaks a real ledger, says who paged when, goes on where it ended, and leaves nothing behind.

Method: the command with two faults, once each; then once more, when nothing is left to do; then broken off. The process table is
searched for whatever carries the mark of a run.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.full, pytest.mark.timeout(1500)]

MARK = "SENTINEL_TEST_BENCH_PAGES"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that PostgreSQL's user may pass through, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="sentinel-test-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def bench(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "benchmarks/bench_pages.py", "--folder", str(folder / "results")),
            *("--opening", "20", "--quiet", "20", "--learn-windows", "4", *arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), MARK: str(folder)},
    )


def left_behind(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder) and process.status() != "zombie":
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_two_faults_are_held_and_told_of(open_folder: Path) -> None:
    arguments = ("--faults", "lock,errors", "--times", "1")
    process = bench(open_folder, *arguments)
    try:
        told, _ = process.communicate(timeout=1200)
    finally:
        process.kill()
    assert left_behind(open_folder) == [], told
    results = open_folder / "results/results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    held = {line["fault"]: line for line in lines if line["kind"] == "fault"}
    assert held.keys() == {"lock", "errors"}, told
    for line in held.values():
        assert line["sides"]["sentinel"]["page_s"] is not None, told
        assert line["sides"]["static"]["page_s"] is not None, told
        assert line["sides"]["sentinel"]["notices"] > 0, told
    assert sum(line["kind"] == "quiet" for line in lines) == 3
    summary = json.loads((open_folder / "results/summary.json").read_text())
    assert summary["faults"].keys() == held.keys()
    assert summary["quiet_s"] >= 60
    # Nothing is left of it, so that nothing is started; without the word for it, what is there is kept.
    again = bench(open_folder, *arguments)
    assert "--resume" in again.communicate(timeout=120)[0]
    assert again.returncode == 1


def test_a_run_that_is_broken_off_leaves_nothing_behind(open_folder: Path) -> None:
    process = bench(open_folder, "--faults", "lock")
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "measuring" in line:
                break
        time.sleep(5)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert left_behind(open_folder) == []
    assert not list(open_folder.glob("sentinel-pages-*")), told


def test_a_fault_that_there_is_not_is_named(open_folder: Path) -> None:
    process = bench(open_folder, "--faults", "lock,earthquake")
    told, _ = process.communicate(timeout=120)
    assert "no such fault: earthquake" in told
    assert process.returncode == 1
    assert left_behind(open_folder) == []
