"""Goal: one command shows a page and its resolve, and leaves nothing behind, also on Ctrl-C.

Method: the demo as a person runs it, in a process of its own; afterwards the process table is searched for
anything that carries the demo's folder or descends from it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

MARK = "SENTINEL_TEST_DEMO"

StartDemo = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start_demo() -> Iterator[StartDemo]:
    """Start demos as a person would; those that a failed test left running are ended with it."""
    with contextlib.ExitStack() as stack:

        def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
            demo = stack.enter_context(_demo(folder, *arguments))
            stack.callback(demo.kill)
            return demo

        yield start


def _demo(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("sentinel")), "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), MARK: str(tmp_path)},
    )


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that PostgreSQL's user may pass through, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="sentinel-test-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def left_behind(tmp_path: Path) -> list[str]:
    """Processes that inherited the demo's environment; each is given a moment to end."""
    deadline = time.monotonic() + 30
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


def in_ms(number: str, unit: str) -> float:
    return float(number) * {"ms": 1.0, "s": 1000.0}[unit]


def evidence_is_unusual(page: str) -> bool:
    """Whether the page's trace failed, took a second and more, or longer than the band of its headline allows."""
    trace = re.search(r"Trace: [0-9a-f]{32} \((failed|slow), ([\d.]+) (ms|s),", page)
    if trace is None:
        return False
    band = re.search(r"is slow.*?\(band up to ([\d.]+) (ms|s)\)", page)
    took_ms = in_ms(trace[2], trace[3])
    return trace[1] == "failed" or took_ms > (in_ms(band[1], band[2]) if band else 1000.0)


def test_the_demo_pages_resolves_stays_up_and_leaves_nothing(
    tmp_path: Path, start_demo: StartDemo
) -> None:
    demo = start_demo(tmp_path, "--keep")
    assert demo.stdout is not None
    output = ""
    for line in demo.stdout:
        output += line
        if "Ctrl-C stops everything" in line:
            break
    status_url = re.search(r"Sidecar's API: +(\S+)", output)
    assert status_url, output
    with urllib.request.urlopen(status_url.group(1), timeout=5) as reply:
        assert reply.status == 200
    demo.send_signal(signal.SIGINT)
    output += demo.communicate(timeout=60)[0]
    assert demo.returncode == 0, output
    assert "simulat" in output.lower(), "the demo must say that its history is simulated"
    pages = [
        " ".join(re.findall(r"│ *(.*)", each.split("└", 1)[0]))
        for each in output.split("PAGE")[1:]
    ]
    # On a machine that is busy with other work, calls can be slow, and page, before the lock is there.
    trace_of_lock = r"Trace: [0-9a-f]{32} \((failed|slow), [\d.]+ s,"
    page = next((each for each in pages if re.search(trace_of_lock, each)), pages[0])
    assert re.search(r"(is slow|calls fail).*: [\d.]+ (s|ms|%), expected [\d.]+ .*band", page), (
        page
    )
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", page), page
    assert re.search(r"Moved first: ledger-\w+ database|No clear first mover", page), page
    # The trace is one of the calls that were held up, by the lock or before it, not an ordinary one.
    assert evidence_is_unusual(page), page
    assert re.search(r"Log: \[ERROR\] ledger-\w+ (?:\(new\) )?[\w.]+: ", page), page
    assert re.search(r"Next: sentinel incidents [0-9a-f]+ --url http://127", page), page
    assert "RESOLVED" in output
    assert "back to normal" in output
    assert left_behind(tmp_path) == []
    assert [path for path in tmp_path.iterdir() if path.name.startswith("sentinel-demo-")] == []


def wait_for(demo: subprocess.Popen[str], words: str) -> None:
    assert demo.stdout is not None
    for line in demo.stdout:
        if words in line:
            return
    raise AssertionError(f"the demo never said {words!r}")


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("Starting the sidecar", signal.SIGINT),
        ("The ledger answers", signal.SIGTERM),
        ("Restarting the sidecar", signal.SIGINT),
        pytest.param("Breaking it", signal.SIGINT, marks=pytest.mark.full),
        pytest.param("Lifting the fault", signal.SIGTERM, marks=pytest.mark.full),
    ],
)
def test_an_interrupted_demo_stops_everything_and_leaves_no_file(
    open_folder: Path, start_demo: StartDemo, moment: str, number: signal.Signals
) -> None:
    """A second Ctrl-C used to break the stopping off; the ledger's folder and the backfill's were left behind."""
    demo = start_demo(open_folder)
    wait_for(demo, moment)
    demo.send_signal(number)
    wait_for(demo, "Stopping everything")
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, output
    assert left_behind(open_folder) == []
    assert list(open_folder.iterdir()) == []


def test_a_killed_demo_takes_its_children_with_it_and_the_next_its_files(
    open_folder: Path, start_demo: StartDemo
) -> None:
    demo = start_demo(open_folder)
    wait_for(demo, "The ledger answers")
    demo.kill()
    demo.wait(10)
    assert demo.stdout is not None
    demo.stdout.close()
    assert left_behind(open_folder) == []
    [left] = open_folder.iterdir()
    following = start_demo(open_folder)
    wait_for(following, "Starting the sidecar")
    assert left not in open_folder.iterdir()
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=60)
    assert list(open_folder.iterdir()) == []


def test_a_part_that_dies_ends_the_demo_at_once_and_is_named(
    open_folder: Path, start_demo: StartDemo
) -> None:
    """The demo once went on without its ledger until a wait ran out, and said that no page had come."""
    demo = start_demo(open_folder)
    wait_for(demo, "Load: ")
    [ledger] = [
        process for process in psutil.Process(demo.pid).children() if "up" in process.cmdline()
    ]
    ledger.kill()
    output, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1, output
    assert "ledger ended with code -9" in output
    assert left_behind(open_folder) == []
    [kept] = open_folder.iterdir()
    assert str(kept) in output
    assert (kept / "sidecar.log").exists()


def test_a_reader_that_goes_away_ends_the_demo_and_leaves_nothing(
    open_folder: Path, start_demo: StartDemo
) -> None:
    """`sentinel demo | head` raised while it stopped: nothing was stopped by name, and its folder stayed."""
    demo = start_demo(open_folder)
    wait_for(demo, "Starting the sidecar")
    assert demo.stdout is not None
    demo.stdout.close()
    demo.wait(60)
    assert left_behind(open_folder) == []
    assert list(open_folder.iterdir()) == []
