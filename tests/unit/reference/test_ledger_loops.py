"""Goal: a process of the hot path does not stop to look at all that it has ever made.

Method: its loop run in a process of its own, which makes as many objects as a second of spans and is asked how often it looked.
"""

from __future__ import annotations

import subprocess
import sys

RUN = """
import asyncio, gc
from sentinel.reference.ledger.operate.loops import has_started, run

async def main():
    before = len(gc.get_objects())
    has_started()
    looked = gc.get_stats()[2]["collections"]
    kept = [[[number]] for number in range(50_000)]
    print(gc.get_freeze_count() > before // 2, gc.get_stats()[2]["collections"] - looked, len(kept))

run(main())
"""


def test_what_was_made_before_it_was_ready_is_not_looked_at_again() -> None:
    told = subprocess.run(
        [sys.executable, "-c", RUN], capture_output=True, text=True, check=True, timeout=60
    )
    frozen, looked, kept = told.stdout.split()
    assert (frozen, kept) == ("True", "50000")
    assert int(looked) == 0
