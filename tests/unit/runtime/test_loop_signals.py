"""Goal: a signal ends the loop's wait, whichever thread the kernel gives it to and whenever it comes.

Method: a process whose main thread waits in its loop, and a thread of it that takes the signal itself. For the main thread that is
the same as a signal that comes between its last instruction and its wait.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import asyncio, signal, sys, threading, time
from sentinel.runtime.loop import run_to_end

# Ignored in what a shell runs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
number = signal.Signals[sys.argv[1]]
if number is not signal.SIGINT:
    def hear(_number, _frame):
        signal.getsignal(signal.SIGINT)(signal.SIGINT, None)
    signal.signal(number, hear)

def take():
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), number)

async def wait():
    threading.Thread(target=take).start()
    await asyncio.sleep(600)

try:
    run_to_end(wait())
except KeyboardInterrupt:
    sys.exit(7)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_another_thread_takes_is_heard_at_once(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, name], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 7, done.stderr
