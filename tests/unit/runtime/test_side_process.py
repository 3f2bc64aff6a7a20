"""Goal: a child that is asked gives its answer, and one that hangs, dies or babbles costs that answer alone.

Method: small children written out here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from sentinel.runtime.side_process import SideFault, SideProcess, SideProcessError

pytestmark = pytest.mark.timeout(60)

LIMIT_S = 20.0
ECHO = """
import os, sys
from sentinel.runtime.side_process import read_frame, write_frame
while (question := read_frame(sys.stdin.buffer)) is not None:
    if question == b"hang":
        import time; time.sleep(600)
    if question == b"die":
        sys.exit("the series is indigestible")
    if question == b"pid":
        question = str(os.getpid()).encode()
    write_frame(sys.stdout.buffer, question)
"""


def child(code: str) -> SideProcess:
    return SideProcess((sys.executable, "-I", "-c", code), environment={})


def fault_of(
    process: SideProcess, question: bytes, *, limit_s: float = LIMIT_S
) -> SideProcessError:
    with pytest.raises(SideProcessError) as caught:
        process.ask(question, limit_s=limit_s)
    assert process.pid is None
    return caught.value


def test_questions_are_answered_by_one_child_however_long_they_are() -> None:
    with child(ECHO) as process:
        first = process.ask(b"pid", limit_s=LIMIT_S)
        assert process.ask(b"", limit_s=LIMIT_S) == b""
        long = bytes(range(256)) * 20_000
        assert process.ask(long, limit_s=LIMIT_S) == long
        assert process.ask(b"pid", limit_s=LIMIT_S) == first == str(process.pid).encode()
    assert process.pid is None
    process.close()


def test_a_child_that_hangs_is_ended_and_the_next_question_starts_another() -> None:
    with child(ECHO) as process:
        first = process.ask(b"pid", limit_s=LIMIT_S)
        started_s = time.monotonic()
        assert fault_of(process, b"hang", limit_s=0.3).fault is SideFault.TIME_LIMIT
        assert time.monotonic() - started_s < 10
        assert process.ask(b"pid", limit_s=LIMIT_S) != first


def test_a_child_that_reads_nothing_is_ended_too() -> None:
    with child("import time; time.sleep(600)") as process:
        error = fault_of(process, bytes(1 << 20), limit_s=0.3)
        assert error.fault is SideFault.TIME_LIMIT


def test_a_child_that_dies_says_why() -> None:
    with child(ECHO) as process:
        error = fault_of(process, b"die")
        assert error.fault is SideFault.ENDED
        assert error.code == 1
        assert "the series is indigestible" in str(error)
        assert process.ask(b"again", limit_s=LIMIT_S) == b"again"
    with child("import os; os.kill(os.getpid(), 9)") as process:
        assert fault_of(process, b"x").code == -9


@pytest.mark.parametrize(
    "code",
    [
        "print('this is no frame at all, but it is long enough to have a length')",
        "import sys; sys.stdin.buffer.read(9); sys.stdout.buffer.write(bytes(8) + b'more')",
    ],
)
def test_nonsense_is_told_apart(code: str) -> None:
    with child(
        code + "\nimport time; sys = __import__('sys'); sys.stdout.flush(); time.sleep(60)"
    ) as process:
        assert fault_of(process, b"x").fault is SideFault.NONSENSE


def test_a_child_does_not_outlive_who_asked_it() -> None:
    """The fitting child is killed when it takes too long; statsmodels beside it must not stay."""
    asker = (
        "import sys, time\nfrom sentinel.runtime.side_process import SideProcess\n"
        f"process = SideProcess((sys.executable, '-I', '-c', {ECHO!r}), environment={{}})\n"
        "print(process.ask(b'pid', limit_s=20.0).decode(), flush=True)\ntime.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", asker], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert _runs(pid)
        process.kill()
    deadline_s = time.monotonic() + 20
    while _runs(pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_program_that_is_not_there() -> None:
    with SideProcess(("/nowhere/at/all",), environment={}) as process:
        assert fault_of(process, b"x").fault is SideFault.NOT_STARTED
