"""Goal: what a killed process left in the temporary folder goes with the next of its kind, and nothing else does.

Method: a real process takes a folder and is killed; folders beside it are of a living process, of another kind, or
nobody's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sentinel.pipeline.backfill import Backfill
from sentinel.runtime.own_folder import OwnFolder

HOLD = """
import sys, time
from sentinel.pipeline.backfill import Backfill
run = Backfill(now_ns=0, keep_ns=1)
print("taken", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def names(base: Path) -> list[str]:
    return sorted(one.name for one in base.iterdir())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_killed_backfill_left_the_next_one_removes(base: Path, how: signal.Signals) -> None:
    """Killed, it left its rows in the temporary folder for ever: 13 bytes for each."""
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, env={**os.environ}
    )
    assert held.stdout is not None
    with held.stdout:
        assert held.stdout.readline() == b"taken\n"
        left = names(base)
        assert len(left) == 1
        with Backfill(now_ns=0, keep_ns=1):
            assert set(left) < set(names(base)), "a living process keeps its folder"
        held.send_signal(how)
        held.wait(10)
    assert names(base) == left
    with Backfill(now_ns=0, keep_ns=1):
        assert left[0] not in names(base)
    assert names(base) == []


def test_other_kinds_nobodys_and_links_stay(base: Path) -> None:
    OwnFolder("sentinel-other-").remove()
    (base / "sentinel-one-nobodys").mkdir()
    target = base / "elsewhere"
    target.mkdir()
    (target / "in-use").touch()
    (base / "sentinel-one-link").symlink_to(target)
    other = OwnFolder("sentinel-other-")
    kept = OwnFolder("sentinel-one-")
    kept.keep()
    before = names(base)
    OwnFolder("sentinel-one-").remove()
    assert names(base) == before
    assert (target / "in-use").exists()
    other.remove()


def test_it_is_for_this_user_alone() -> None:
    folder = OwnFolder("sentinel-one-")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.remove()
