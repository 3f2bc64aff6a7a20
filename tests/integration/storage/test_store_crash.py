"""What a store promises when its process or its disk ends at the wrong moment.

Method: another process works on the store and is killed with SIGKILL at random moments (the seed is fixed
and each acknowledged page is read from a pipe), or its disk is filled, or its files may not grow. What
it acknowledged must be there afterwards.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.errors import StoreLockedError
from sentinel.storage.sqlite import SqliteStore, StoreConfig, StoreReader
from tests.support.store_blocks import STEP_NS, block, rectangle
from tests.support.surroundings import make_surroundings

_ROOT = Path(__file__).parents[3]


def start(
    action: str, directory: Path, *args: str, prefix: tuple[str, ...] = ()
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # our own module
        [
            *prefix,
            sys.executable,
            "-m",
            "tests.support.store_process",
            action,
            str(directory),
            *args,
        ],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )


def read_line(process: subprocess.Popen[bytes], timeout_s: float = 60.0) -> bytes:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], timeout_s)
    assert ready, "the process said nothing"
    return os.read(process.stdout.fileno(), 65536)


def end(process: subprocess.Popen[bytes]) -> bytes:
    process.kill()
    out, _ = process.communicate(timeout=20)
    return out


def told(process: subprocess.Popen[bytes]) -> dict[str, object]:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    found: dict[str, object] = json.loads(out)
    return found


def kill_again_and_again(directory: Path, *, kill_count: int, seed: int) -> None:
    rng = random.Random(seed)
    acknowledged: list[int] = []
    first = 0
    for _ in range(kill_count):
        process = start("write", directory, str(first))
        try:
            said = read_line(process)
            time.sleep(rng.random() * 0.15)
        finally:
            said_last = end(process)
        acknowledged += [int(line) for line in (said + said_last).split()]
        store = SqliteStore(
            StoreConfig(directory=str(directory), reserve_bytes=0),  # type: ignore[arg-type]
            make_surroundings(),
        )
        store.open()
        pages = [entry.page.page_id for entry in store.entries(destination="am", limit=10**6)]
        lost = {f"inc-{at}/0" for at in acknowledged} - set(pages)
        cells = rectangle(list(store.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62)))
        trouble = store.trouble
        store.close()
        assert not lost, f"seed {seed}: lost {sorted(lost)[:5]} of {len(acknowledged)}"
        assert len(pages) == len(set(pages))
        assert trouble == ""
        ids = sorted({series_id for _, series_id in cells})
        for at in acknowledged[-5:]:
            assert rectangle([block(ids, at=at)]).items() <= cells.items()
        first = acknowledged[-1] + 1
    assert len(acknowledged) > kill_count


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_nothing_acknowledged_is_lost_to_a_kill(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path, kill_count=40, seed=20261122)


@pytest.mark.full
@pytest.mark.integration
@pytest.mark.timeout(1200)
def test_nothing_acknowledged_is_lost_to_many_kills(tmp_path: Path) -> None:
    for round_number in range(10):
        directory = tmp_path / str(round_number)
        kill_again_and_again(directory, kill_count=40, seed=round_number)
        shutil.rmtree(directory)


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    first = start("hold", tmp_path)
    try:
        assert read_line(first) == b"open\n"
        store = SqliteStore(StoreConfig(directory=str(tmp_path)), make_surroundings())
        with pytest.raises(StoreLockedError, match=str(tmp_path)):
            store.open()
        with StoreReader(tmp_path) as reader:
            assert reader.series() == []
    finally:
        end(first)
    store.open()
    store.close()


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_removing_files_beside_the_store_lets_no_second_process_in(tmp_path: Path) -> None:
    """The lock was on a file that looked like a leftover; with it removed, two sidecars wrote to one store."""
    first = start("hold", tmp_path)
    try:
        assert read_line(first) == b"open\n"
        for file in tmp_path.iterdir():
            if not file.name.startswith("sentinel.db"):
                file.unlink()
        store = SqliteStore(StoreConfig(directory=str(tmp_path)), make_surroundings())
        with pytest.raises(StoreLockedError, match="another process"):
            store.open()
        assert not [file for file in tmp_path.iterdir() if "lock" in file.name]
    finally:
        end(first)


def on_a_disk(place: Path, size: str) -> tuple[str, ...]:
    """What a command begins with so that `place`, its next word, is a disk of this size for it alone."""
    mount = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"')
    probe = subprocess.run(  # fixed words
        [*mount, str(place), "true"], capture_output=True, timeout=20, check=False
    )
    if probe.returncode != 0:
        pytest.skip("mounting a small disk needs root; the limit on file sizes is tried instead")
    return mount


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 768 KiB that outlives the processes on it: too small for any reserve."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=768k", "tmpfs", str(place))
    if subprocess.run(mount, capture_output=True, timeout=20, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        yield place
    finally:
        subprocess.run(("umount", "-l", str(place)), timeout=20, check=True)


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_without_a_reserve_pages_go_out_from_memory_and_the_health_says_so(
    small_disk: Path,
) -> None:
    """The health said "pages are kept" while they waited in memory, unsent, and a kill lost them.

    The first process is killed while it is so, the second is given room again.
    """
    store = small_disk / "store"
    process = start("page", store, "0")
    try:
        first = json.loads(read_line(process))
    finally:
        end(process)
    assert first["status"] == "failing"
    assert "no reserve is held" in first["sentence"]
    assert "kept in memory only, and a restart loses them" in first["sentence"]
    assert first["unrecorded"] >= first["waiting"] == 1
    assert first["taken"] == first["different"] == first["decided"] > 1

    process = start("page", store, "50000")
    try:
        second = json.loads(read_line(process))
        assert second["status"] == "failing"
        assert second["taken"] == second["different"] >= second["decided"]
        subprocess.run(("mount", "-o", "remount,size=8m", str(small_disk)), timeout=20, check=True)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        last = json.loads(read_line(process))
        process.communicate(timeout=20)
    finally:
        end(process)
    assert last["left"] == []
    assert last["status"] == "ok"
    # What the killed process had recorded may go out beside the new page, each once.
    assert last["taken"] == last["different"] > second["taken"]
    reopened = SqliteStore(StoreConfig(directory=str(store)), make_surroundings())
    reopened.open()
    assert reopened.trouble == ""
    reopened.close()


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_a_full_disk_drops_windows_and_keeps_pages(tmp_path: Path) -> None:
    """A disk of 4 MiB is filled by somebody else while incidents open."""
    process = start("fill", tmp_path / "store", prefix=(*on_a_disk(tmp_path, "4m"), str(tmp_path)))
    found = told(process)
    assert found["windows_before"] == 20
    assert found["pages_while_full"] == found["pages_reopened_full"] == 40
    windows, dropped = found["windows_while_full"], found["dropped"]
    assert isinstance(windows, int)
    assert isinstance(dropped, float)
    assert windows + dropped == 60
    assert dropped > 0
    assert "full" in str(found["trouble"])
    assert found["windows_after"] == windows + 10
    assert found["trouble_after"] == ""
    assert found["pages_after"] == 40
    assert found["windows_reopened"] == windows + 10


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_a_disk_that_fails_half_way_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    found = told(start("limit", tmp_path))
    assert "error" in found or "full" in found
    assert found["lost"] == []
    assert found["acknowledged"]
    assert found["trouble_after"] == ""
