"""Goal: the queue on disk gives back what it took, in order, once, whatever happens to its files.

Method: a model (a list) beside the real queue through generated histories of appends, reads, ends and kills; then damage: each
file cut at every byte and turned at every byte, after which the queue opens, gives only records that were written, in
order, and all of them whose bytes are whole.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.runtime.disk_queue.queue import ASIDE_FILES_MAX, DiskQueue
from sentinel.runtime.disk_queue.records import HEADER_BYTES, MAGIC, Record
from sentinel.runtime.otlp_reply import OtlpEncoding

BYTES_MAX = 1 << 20


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here loses power, and bringing each byte to the disk is what takes the time."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)


def record(number: int, *, size: int = 20) -> Record:
    """Told apart by its number; its body holds what looks like a header."""
    body = f"{number}:".encode() + MAGIC
    return Record(
        encoding=OtlpEncoding.JSON if number % 5 == 0 else OtlpEncoding.PROTOBUF,
        item_count=number,
        body=body.ljust(size, b"."),
    )


def opened(folder: Path, *, bytes_max: int = BYTES_MAX) -> DiskQueue:
    queue = DiskQueue(folder, bytes_max=bytes_max, free_bytes_min=0)
    queue.open()
    return queue


def marked(number: int, *, size: int = 20) -> Record:
    """As `record`, and as far as the file `number % 3` was read."""
    return replace(record(number, size=size), marks={bytes((number % 3,)) * 16: number})


def drained(queue: DiskQueue) -> list[int]:
    found: list[int] = []
    while records := queue.peek(bytes_max=1000):
        found.extend(one.item_count for one in records)
        queue.ack()
    return found


STEP = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 6000)),
    st.tuples(st.just("take"), st.integers(1, 20_000)),
    st.tuples(st.just("peek"), st.integers(1, 20_000)),
    st.tuples(st.sampled_from(["end", "kill"]), st.just(0)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_it_is_a_list_through_ends_and_kills(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    folder = tmp_path / "queue"
    shutil.rmtree(folder, ignore_errors=True)
    queue = opened(folder)
    model: list[Record] = []
    number = 0
    for what, size in steps:
        if what == "append":
            number += 1
            assert queue.append(record(number, size=size))
            model.append(record(number, size=size))
        elif what in ("take", "peek"):
            records = queue.peek(bytes_max=size)
            assert records == model[: len(records)]
            assert bool(records) == bool(model)
            assert len({one.encoding for one in records}) <= 1
            if what == "take":
                queue.ack()
                del model[: len(records)]
        elif what == "end":
            queue.close()
            queue = opened(folder)
        else:
            # A killed process closes nothing: what it wrote is in the files all the same.
            queue = opened(folder)
        assert queue.item_count == sum(one.item_count for one in model)
    assert drained(queue) == [one.item_count for one in model]
    assert queue.take_losses().damaged_events == 0
    queue.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=30), reads=st.integers(0, 5))
def test_its_bound_drops_the_oldest_and_counts_them(
    tmp_path: Path, sizes: list[int], reads: int
) -> None:
    folder = tmp_path / "queue"
    shutil.rmtree(folder, ignore_errors=True)
    bytes_max = 128 << 10
    queue = opened(folder, bytes_max=bytes_max)
    held: set[int] = set()
    for number, size in enumerate(sizes, 1):
        assert queue.append(record(number, size=size))
        assert sum(path.stat().st_size for path in folder.glob("*.queue")) <= bytes_max
        if number == reads:
            # Being sent: it is not lost, and not counted as lost, when its file is dropped meanwhile.
            held = {one.item_count for one in queue.peek(bytes_max=1)}
    if held:
        queue.ack()
    left = drained(queue)
    everything = list(range(1, len(sizes) + 1))
    assert left == everything[len(everything) - len(left) :] or set(left) | held >= set(
        everything[-len(left) :]
    )
    gone = set(everything) - set(left) - held
    assert queue.take_losses().full_items == sum(gone)
    assert queue.item_count == 0
    queue.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(STEP, max_size=40), bytes_max=st.sampled_from([BYTES_MAX, 128 << 10]))
def test_what_was_taken_is_known_through_ends_and_kills(
    tmp_path: Path, steps: list[tuple[str, int]], bytes_max: int
) -> None:
    """Sent, dropped or waiting: what the queue took once it knows by its mark, and nothing that it did not take."""
    folder = tmp_path / "queue"
    shutil.rmtree(folder, ignore_errors=True)
    queue = opened(folder, bytes_max=bytes_max)
    taken: dict[bytes, int] = {}
    number = 0
    for what, size in steps:
        if what == "append":
            number += 1
            one = marked(number, size=7 * size)
            assert queue.append(one)
            taken.update(one.marks)
            assert sum(path.stat().st_size for path in folder.glob("*.queue")) <= bytes_max
        elif what in ("take", "peek"):
            assert all(one.body for one in queue.peek(bytes_max=size))
            if what == "take":
                queue.note_delivered()
                queue.ack()
        elif what == "end":
            queue.close()
            queue = opened(folder, bytes_max=bytes_max)
        else:
            queue = opened(folder, bytes_max=bytes_max)
        for origin, count in taken.items():
            assert queue.marks.has({origin: count})
            assert not queue.marks.has({origin: count + 1})
        assert not queue.marks.has({b"x" * 16: 1})
    drained(queue)
    assert queue.take_losses().damaged_events == 0
    queue.close()


def test_a_record_that_was_cut_off_is_not_known_and_those_before_it_are(tmp_path: Path) -> None:
    """Cut at every byte: a mark is there with its record or not at all."""
    whole = tmp_path / "whole"
    queue = opened(whole)
    ends = []
    for number in (3, 6, 9):
        assert queue.append(marked(number))
        ends.append(queue.size_bytes)
    queue.close()
    (path,) = whole.glob("*.queue")
    data = path.read_bytes()
    for at in range(len(data)):
        folder = tmp_path / "cut"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        (folder / path.name).write_bytes(data[:at])
        queue = opened(folder)
        known = [number for number in (3, 6, 9) if queue.marks.has({bytes(16): number})]
        assert known == [number for number, end in zip((3, 6, 9), ends, strict=True) if end <= at]
        assert drained(queue) == known
        queue.close()


def test_what_was_answered_for_is_not_sent_again_though_the_queue_had_no_turn(
    tmp_path: Path,
) -> None:
    """Between the answer and the turn of the queue's thread a kill made a whole request come twice."""
    folder = tmp_path / "queue"
    queue = opened(folder)
    for number in range(1, 6):
        assert queue.append(record(number))
    assert len(queue.peek(bytes_max=50)) == 2
    queue.note_delivered()
    assert drained(opened(folder)) == [3, 4, 5]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Two files: three records that a first process left, and three of a second."""
    folder = tmp_path / "written"
    for numbers in ((1, 2, 3), (4, 5, 6)):
        queue = opened(folder)
        for number in numbers:
            assert queue.append(record(number))
        queue.close()
    assert len(list(folder.glob("*.queue"))) == 2
    return folder


def _damaged(written: Path, tmp_path: Path, name: str, data: bytes) -> list[int]:
    folder = tmp_path / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(written, folder)
    (folder / name).write_bytes(data)
    queue = opened(folder)
    found = drained(queue)
    assert found == sorted(found)
    assert queue.item_count == 0
    # It goes on being a queue.
    assert queue.append(record(7))
    assert drained(queue) == [7]
    queue.close()
    again = opened(folder)
    assert drained(again) == []
    again.close()
    return found


def test_a_file_cut_at_every_byte_loses_what_was_cut(written: Path, tmp_path: Path) -> None:
    size = record(1).size_bytes
    for number, path in enumerate(sorted(written.glob("*.queue"))):
        whole = path.read_bytes()
        mine, others = (([1, 2, 3], [4, 5, 6]), ([4, 5, 6], [1, 2, 3]))[number]
        for at in range(len(whole)):
            found = _damaged(written, tmp_path, path.name, whole[:at])
            assert found == sorted(others + mine[: at // size]), at


def test_a_file_turned_at_every_byte_loses_the_record_there(written: Path, tmp_path: Path) -> None:
    size = record(1).size_bytes
    for number, path in enumerate(sorted(written.glob("*.queue"))):
        whole = path.read_bytes()
        mine = ([1, 2, 3], [4, 5, 6])[number]
        for at in range(len(whole)):
            turned = whole[:at] + bytes((whole[at] ^ 0xFF,)) + whole[at + 1 :]
            found = _damaged(written, tmp_path, path.name, turned)
            assert found == [one for one in range(1, 7) if one != mine[at // size]], at


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=400), cursor=st.binary(max_size=30))
def test_any_bytes_open(tmp_path: Path, data: bytes, cursor: bytes) -> None:
    folder = tmp_path / "any"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "0000000000000001.queue").write_bytes(data)
    (folder / "0000000000000002.queue").write_bytes(data[::-1])
    (folder / "cursor").write_bytes(cursor)
    (folder / "zzzzzzzzzzzzzzzz.queue").write_bytes(data)
    queue = opened(folder)
    assert drained(queue) == []
    assert queue.append(record(1))
    assert drained(queue) == [1]
    queue.close()


def test_a_cursor_that_cannot_be_read_sends_again_rather_than_not(written: Path) -> None:
    queue = opened(written)
    queue.peek(bytes_max=1)
    queue.ack()
    queue.close()
    whole = (written / "cursor").read_bytes()
    for at in range(len(whole)):
        (written / "cursor").write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        queue = opened(written)
        records = queue.peek(bytes_max=1)
        queue.close()
        assert records[0].item_count == 1
    (written / "cursor").write_bytes(whole)
    queue = opened(written)
    assert drained(queue) == [2, 3, 4, 5, 6]
    queue.close()


def test_a_damaged_file_is_set_aside_and_only_the_newest_few(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    for turn in range(ASIDE_FILES_MAX + 3):
        queue = opened(folder)
        assert queue.append(record(1))
        assert queue.append(record(2))
        queue.close()
        path = max(folder.glob("*.queue"))
        whole = bytearray(path.read_bytes())
        whole[HEADER_BYTES + 3] ^= 1
        path.write_bytes(bytes(whole))
        queue = opened(folder)
        assert drained(queue) == [2], turn
        losses = queue.take_losses()
        assert (losses.damaged_items, losses.damaged_events) == (1, 1)
        queue.close()
    assert len(list((folder / "aside").iterdir())) == ASIDE_FILES_MAX
    assert not list(folder.glob("*.queue"))


def test_its_files_are_for_their_owner_alone(written: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in written.iterdir())


def test_nothing_is_written_when_too_little_is_free(tmp_path: Path) -> None:
    queue = DiskQueue(tmp_path / "queue", bytes_max=BYTES_MAX, free_bytes_min=1 << 60)
    queue.open()
    assert not queue.append(record(1))
    assert drained(queue) == []
    assert not opened(tmp_path / "small").append(record(1, size=BYTES_MAX))


def test_a_sync_that_fails_ends_the_file_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After EIO the kernel may have dropped the pages: a later sync that succeeds proves nothing of them."""
    queue = opened(tmp_path / "queue")
    assert queue.append(record(1))
    fds = queue.to_sync()
    assert len(fds) == 2  # the file, and the folder that names it
    for fd in fds:
        os.close(fd)
    assert queue.to_sync() == []
    queue.note_unsynced()
    assert queue.append(record(2))
    assert len(list((tmp_path / "queue").glob("*.queue"))) == 2
    assert drained(queue) == [1, 2]

    def fails(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fails)
    queue.close()
    assert queue.take_losses().disk_errors == 3  # the one that was noted, the file and its folder
