"""Goal: files of the log are known by their names, and a hole in an archive is found before a recovery stumbles over it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain.wal import (
    gaps,
    is_segment,
    is_wal_file,
    needed_from,
    wal_key,
)


@pytest.mark.parametrize(
    ("name", "is_file", "is_whole"),
    [
        ("000000010000000000000001", True, True),
        ("00000002.history", True, False),
        ("000000010000000000000001.partial", True, False),
        ("000000010000000000000001.00000028.backup", True, False),
        ("000000010000000000000001.done", False, False),
        ("000000010000000000000001.part", False, False),
        ("../000000010000000000000001", False, False),
        ("00000001000000000000000g", False, False),
        ("", False, False),
    ],
)
def test_names(name: str, is_file: bool, is_whole: bool) -> None:  # noqa: FBT001 - a table
    assert is_wal_file(name) == is_file
    assert is_segment(name) == is_whole


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def test_a_recovery_needs_what_comes_after_its_backup_began_and_every_history() -> None:
    names = [segment(1), segment(2), segment(3), segment(3, 2), segment(1, 2), "00000002.history"]
    assert needed_from(names, segment(2)) == [
        *(segment(2), segment(3), segment(3, 2)),
        "00000002.history",
    ]


@given(first=st.integers(0, 1000), count=st.integers(3, 600), hole=st.integers(1, 598))
def test_a_hole_is_found_wherever_it_is(first: int, count: int, hole: int) -> None:
    names = [segment(number) for number in range(first, first + count)]
    assert gaps(names) == []
    if hole < count - 1:
        missing = names.pop(hole)
        assert gaps([*names, segment(5, 2), "00000002.history"]) == [missing]


def test_a_timeline_has_a_folder_of_its_own() -> None:
    assert wal_key(segment(1, 3)) == "wal/00000003/000000030000000000000001"
    assert wal_key("00000003.history") == "wal/00000003/00000003.history"
