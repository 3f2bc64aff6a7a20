"""Goal: what was acknowledged is there after a kill, in its order; what was cut off is not, and nothing grows beyond its bound.

Method: parts are added to a folder, the folder is opened anew, files are cut and spoilt as a kill or a disk would.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.errors import StoreError, StoreFullError
from sentinel.storage.parts import PartFiles

STEP_NS = 10 * 10**9


def opened(folder: Path, *, bytes_max: int = 1 << 20) -> tuple[PartFiles, list[bytes]]:
    files = PartFiles(folder / "windows", bytes_max=bytes_max)
    return files, [part.body for part in files.open()]


def test_parts_are_found_again_in_the_order_they_came_whatever_their_window(
    tmp_path: Path,
) -> None:
    files, found = opened(tmp_path)
    assert found == []
    for number, start_ns in enumerate([3 * STEP_NS, STEP_NS, 2 * STEP_NS, STEP_NS]):
        files.add(start_ns, b"part %d" % number, received_ns=number)
    again, found = opened(tmp_path)
    assert found == [b"part 0", b"part 1", b"part 2", b"part 3"]
    again.add(STEP_NS, b"part 4", received_ns=4)
    assert opened(tmp_path)[1][-1] == b"part 4"


@pytest.mark.parametrize("kept_bytes", [1, 10, 30, 35])
def test_a_record_that_was_cut_off_is_taken_away_and_what_follows_is_whole(
    tmp_path: Path, kept_bytes: int
) -> None:
    files, _ = opened(tmp_path)
    files.add(STEP_NS, b"whole", received_ns=1)
    size = files.size_bytes
    files.add(STEP_NS, b"cut off in the middle", received_ns=2)
    (path,) = (tmp_path / "windows").iterdir()
    with path.open("r+b") as file:
        file.truncate(size + kept_bytes)
    again, found = opened(tmp_path)
    assert (found, again.damaged_count) == ([b"whole"], 1)
    again.add(STEP_NS, b"next", received_ns=3)
    assert opened(tmp_path)[1] == [b"whole", b"next"]


def test_a_spoilt_record_costs_what_is_behind_it_in_its_window_alone(tmp_path: Path) -> None:
    files, _ = opened(tmp_path)
    files.add(STEP_NS, b"spoilt", received_ns=1)
    files.add(2 * STEP_NS, b"well", received_ns=2)
    path = min((tmp_path / "windows").iterdir())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert opened(tmp_path)[1] == [b"well"]


def test_the_bound_holds_and_decided_windows_give_way(tmp_path: Path) -> None:
    files, _ = opened(tmp_path, bytes_max=3000)
    for number in range(1, 3):
        files.add(number * STEP_NS, bytes(1200), received_ns=number)
    with pytest.raises(StoreFullError):
        files.add(3 * STEP_NS, bytes(1200), received_ns=3)
    files.make_room(1300, before_ns=2 * STEP_NS)
    files.add(3 * STEP_NS, bytes(1200), received_ns=3)
    with pytest.raises(StoreFullError):
        files.add(4 * STEP_NS, bytes(1200), received_ns=4)
    assert len(opened(tmp_path)[1]) == 2
    files.forget_before(3 * STEP_NS)
    assert len(opened(tmp_path)[1]) == 1


def test_a_folder_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "windows").write_text("no folder")
    with pytest.raises(StoreError, match="cannot be used"):
        opened(tmp_path)
