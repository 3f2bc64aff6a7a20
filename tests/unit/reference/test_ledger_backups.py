"""Goal: what is removed of an archive is never what a point that must be restorable needs, whatever became of later backups.

Method: archives by chance, and each point of the time that is kept restored as the drill chooses, before and after.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain.backups import Backup, restorable, unneeded
from sentinel.reference.ledger.domain.wal import between, gaps, needed_from, place

DAY_S = 86_400.0


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def backup(day: int, *, first: int | None = None, segments: int = 1) -> Backup:
    """One of a day; ten segments a day are written."""
    number = 10 * day if first is None else first
    return Backup(
        name=f"2026{day:04}T000000Z-{segment(number)}",
        begun_s=day * DAY_S,
        ended_s=day * DAY_S + 60,
        first_segment=segment(number),
        last_segment=segment(number + segments),
    )


def keys_of(backups: list[Backup], segments: list[int]) -> list[str]:
    files = [
        f"base/{one.name}/{file}" for one in backups for file in ("base.tar.gz", "backup.json")
    ]
    return [*files, *(f"wal/00000001/{segment(number)}" for number in segments)]


def test_the_segments_between_two() -> None:
    assert between(segment(255), segment(257)) == [segment(255), segment(256), segment(257)]
    assert between(segment(3), segment(3)) == [segment(3)]
    assert between(segment(3), segment(2)) == [segment(3)]
    assert between(segment(3), segment(9, timeline=2)) == [segment(3)]
    assert place(segment(70_000, timeline=7)) == 70_000


def test_a_backup_without_its_part_of_the_log_is_none_to_come_back_from() -> None:
    one, two = backup(1), backup(2)
    assert restorable([one, two], [segment(10), segment(11), segment(20)]) == [one]
    # Older descriptions do not say where it ended.
    old = replace(two, last_segment="")
    assert restorable([one, old], [segment(20)]) == [old]


def test_what_is_kept_begins_with_the_newest_backup_from_before() -> None:
    backups = [backup(day) for day in range(1, 6)]
    keys = keys_of(backups, list(range(10, 60)))
    assert unneeded(backups, keys, before_s=0.0) == []
    gone = unneeded(backups, keys, before_s=3.5 * DAY_S)
    assert gone == sorted(keys_of(backups[:2], list(range(10, 30))))


def test_the_last_good_one_stays_at_any_age() -> None:
    """A rule by age removed it after 35 days, and nothing was left to restore from."""
    only = backup(1)
    keys = keys_of([only], list(range(10, 4000)))
    assert unneeded([only], keys, before_s=400 * DAY_S) == []
    # A newer one whose log is not archived is no reason to let go of it.
    newer = backup(300)
    keys = keys_of([only, newer], list(range(10, 2900)))
    assert unneeded([only, newer], keys, before_s=400 * DAY_S) == []


def test_what_never_became_a_backup_goes_and_histories_stay() -> None:
    backups = [backup(1), backup(5)]
    half = "base/20260003T000000Z-x/base.tar.gz"
    upload = "base/20260006T000000Z-y/base.tar.gz"
    label = f"wal/00000001/{segment(10)}.00000028.backup"
    keys = [
        *keys_of(backups, list(range(10, 60))),
        *(half, upload, label, "wal/00000002/00000002.history", "wal/notes"),
    ]
    gone = unneeded(backups, keys, before_s=6 * DAY_S)
    assert {half, label} <= set(gone)
    assert not {upload, "wal/00000002/00000002.history", "wal/notes"} & set(gone)


@given(
    days=st.lists(st.integers(1, 40), unique=True, max_size=12).map(sorted),
    missing=st.sets(st.integers(0, 420), max_size=5),
    before=st.integers(0, 45),
)
def test_every_point_that_could_be_restored_still_can(
    days: list[int], missing: set[int], before: int
) -> None:
    backups = [backup(day) for day in days]
    keys = keys_of(backups, [n for n in range(420) if n not in missing])
    left = sorted(set(keys) - set(unneeded(backups, keys, before_s=before * DAY_S)))
    kept = [one for one in backups if f"base/{one.name}/backup.json" in left]
    for point in range(before, 42):
        was, still = restored(backups, keys, point), restored(kept, left, point)
        assert still == was, point


def restored(backups: list[Backup], keys: list[str], day: int) -> str | None:
    """The backup by which noon of a day can be come to, if any: its log has no gap up to there."""
    names = [key.rpartition("/")[2] for key in keys if key.startswith("wal/")]
    for one in reversed([b for b in backups if b.ended_s <= (day + 0.5) * DAY_S]):
        needed = [name for name in needed_from(names, one.first_segment) if place(name) <= 10 * day + 5]  # fmt: skip
        last = segment(10 * day + 5)
        if needed and {one.first_segment, last} <= set(needed) and not gaps(needed):
            return one.name
    return None
