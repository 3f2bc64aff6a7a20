"""Goal: memory is read where the system tells it, and a limit only where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.runtime.resident import group_limit_bytes, resident_bytes


def test_this_process_has_some_memory() -> None:
    assert 2**20 < resident_bytes() < 2**40


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("268435456\n", 2**28),
        ("max\n", 0),
        ("9223372036854771712\n", 0),  # version 1 without a limit
        ("0\n", 0),
        ("nonsense", 0),
        ("", 0),
    ],
)
def test_the_limit_of_a_container(tmp_path: Path, text: str, limit: int) -> None:
    path = tmp_path / "memory.max"
    path.write_text(text)
    assert group_limit_bytes((path,)) == limit


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert group_limit_bytes((tmp_path / "absent",)) == 0


def test_the_first_file_that_tells_counts(tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.write_text("1048576")
    assert group_limit_bytes((tmp_path / "absent", second)) == 2**20
