"""Goal: a line is done with when it is safe, not when it was passed on; and no folder keeps the program from its files.

Method: the component on real files, with a tap that has no room or is slow to queue what it was given; a kill is a copy
of the store's folder taken in between, which is all that the next process would find.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

import sentinel.receivers.log_files.following as following_module
from sentinel.receivers.log_files import LogFilesConfig, LogSourceConfig
from sentinel.receivers.log_files.config import StartAt
from sentinel.receivers.log_files.discovery import Listing, discover
from sentinel.receivers.log_files.reading import Reading
from sentinel.receivers.log_files.walking import PatternWalk
from sentinel.runtime.component import HealthStatus
from sentinel.runtime.otlp_reply import OtlpSignal
from tests.support.log_files import ListTap, following, uid_of

pytestmark = pytest.mark.integration


class SlowTap(ListTap):
    """Has room, and what it was offered queued, when the test says so."""

    def __init__(self, *, is_roomy: bool, is_queued: bool) -> None:
        super().__init__()
        self.is_roomy = is_roomy
        self.is_queued = asyncio.Event()
        if is_queued:
            self.is_queued.set()

    def has_room(self, signal: OtlpSignal, size_bytes: int) -> bool:
        """As the test says."""
        assert (signal, size_bytes > 0) == (OtlpSignal.LOGS, True)
        return self.is_roomy

    async def queued(self) -> bool:
        """When the test says so."""
        await self.is_queued.wait()
        return True


async def test_a_kill_before_lines_are_queued_brings_them_again(tmp_path: Path) -> None:
    """Lines were noted as handed on while they lay in the memory of `forward`, and a kill -9 in that moment lost them."""
    log, state, left = tmp_path / "app.log", tmp_path / "state", tmp_path / "left"
    log.write_text("".join(f"line {number:03d}\n" for number in range(200)))
    source = LogSourceConfig(name="app", paths=(str(log),), start=StartAt.BEGINNING)
    tap = SlowTap(is_roomy=True, is_queued=False)
    async with following(source, state=state, tap=tap) as killed:
        await killed.sees(lambda: len(tap.texts()) == 200, "all lines to be passed on")
        await asyncio.sleep(0.1)  # time in which they would be noted as done with
        shutil.copytree(state, left)
        tap.is_queued.set()
        with log.open("a") as file:
            file.write("line 200\n")
        await killed.sees(lambda: "line 200" in tap.texts(), "the line after them")
    first = {uid_of(record): record.body.string_value for record in tap.records()}
    async with following(source, state=left) as after:
        await after.sees(lambda: len(after.tap.texts()) >= 201, "the lines again")
        again = {uid_of(record): record.body.string_value for record in after.tap.records()}
    assert again == first
    async with following(source, state=state) as stopped:
        # An orderly stop had everything queued: nothing comes twice.
        await asyncio.sleep(0.2)
        assert stopped.tap.texts() == []


async def test_what_finds_no_room_waits_in_its_file(tmp_path: Path) -> None:
    """Lines that came faster than `forward` could queue them were dropped, though their file would have kept them."""
    log = tmp_path / "app.log"
    log.write_text("".join(f"line {number:03d}\n" for number in range(200)))
    source = LogSourceConfig(name="app", paths=(str(log),), start=StartAt.BEGINNING)
    tap = SlowTap(is_roomy=False, is_queued=True)
    async with following(source, state=tmp_path / "state", tap=tap) as followed:
        await followed.sees(
            lambda: followed.component.health().status is HealthStatus.DEGRADED, "the wait"
        )
        assert (tap.texts(), followed.sink.sample_count) == ([], 0)
        tap.is_roomy = True
        await followed.sees(lambda: len(tap.texts()) >= 200, "all lines")
        assert tap.texts() == [f"line {number:03d}" for number in range(200)]


def test_links_in_circles_are_entered_once(tmp_path: Path) -> None:
    """Two links to their own folder below a `**` were 2**40 ways through it: the start never came to an end."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for name in ("one", "two", "three"):
        (deep / name).symlink_to(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "other")
    (deep / "app.log").write_text("x\n")
    (tmp_path / "other" / "app.log").write_text("y\n")
    (tmp_path / "top.log").write_text("z\n")

    def found(pattern: str) -> list[str]:
        source = LogSourceConfig(name="app", paths=(f"{tmp_path}{pattern}",))
        return [one.path.removeprefix(str(tmp_path)) for one in discover((source,), ()).matched]

    assert found("/**/*.nothing") == []
    assert found("/**/*.log") == ["/a/b/app.log", "/other/app.log", "/top.log"]
    assert found("/**") == ["/a/b/app.log", "/other/app.log", "/top.log"]
    assert found("/**/b/**/*.log") == [
        "/a/b/app.log",
        "/a/b/one/other/app.log",
        "/a/b/one/top.log",
    ]
    assert found("/*/*.log") == ["/link/app.log"]


def test_more_folders_than_are_looked_through_are_told_of(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02d}").mkdir()
        (tmp_path / f"{number:02d}" / "app.log").write_text("x\n")
    walk = PatternWalk(f"{tmp_path}/**/*.log", folders_max=11)
    assert (len(list(walk.paths())), walk.is_cut) == (10, True)
    whole = PatternWalk(f"{tmp_path}/**/*.log")
    assert (len(list(whole.paths())), whole.is_cut) == (20, False)


def test_a_file_that_is_renamed_while_it_is_looked_at_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation that shifted all names between listing and opening made one file's row lead to its neighbour.

    Neither was what it seemed: the neighbour was followed, the file itself was passed over, and 800 lines were lost when it
    happened in the first look after a kill -9.
    """
    log = tmp_path / "app.log"
    source = LogSourceConfig(name="app", paths=(str(log),), start=StartAt.BEGINNING)

    def looked(now_s: float) -> None:
        reading.look(now_s=now_s, now_ns=time.time_ns())
        for file in reading.due(now_s):
            reading.take([file], now_s=now_s, now_ns=time.time_ns())
            if file.batch is not None:
                texts.extend(record.text for record in file.batch.records)
                file.handed_on()
        reading.save(time.time_ns())

    texts: list[bytes] = []
    config = LogFilesConfig(sources=(source,))
    log.write_text("one\n")
    reading = Reading(config, str(tmp_path / "state"))
    reading.open()
    looked(1.0)
    reading.close()
    # Nobody looks, and the log is rotated twice.
    for text in ("two", "three"):
        time.sleep(0.05)
        for number in (2, 1):
            if (old := tmp_path / f"app.log.{number}").exists():
                old.rename(tmp_path / f"app.log.{number + 1}")
        log.rename(tmp_path / "app.log.1")
        log.write_text(f"{text}\n")

    def rotating_discover(*arguments: Any, **named: Any) -> Listing:
        found = discover(*arguments, **named)
        if found.beside and not (tmp_path / "app.log.3").exists():
            for number in (2, 1):
                (tmp_path / f"app.log.{number}").rename(tmp_path / f"app.log.{number + 1}")
            log.rename(tmp_path / "app.log.1")
            log.write_text("four\n")
        return found

    monkeypatch.setattr(following_module, "discover", rotating_discover)
    reading = Reading(config, str(tmp_path / "state"))
    reading.open()
    for number in range(4):
        looked(10.0 + number)
    reading.close()
    assert sorted(texts) == [b"four", b"one", b"three", b"two"]


def test_the_newest_files_win_where_not_all_find_room_and_the_others_are_counted(
    tmp_path: Path,
) -> None:
    """Of more than 10,000 files the first that the kernel listed were taken, and one was said to be left out."""
    for number in range(300):
        path = tmp_path / f"{number:03d}.log"
        path.write_text(f"line {number}\n")
        os.utime(path, ns=(10**18 + (number * 7) % 300, 10**18 + (number * 7) % 300))
    newest = {number for number in range(300) if (number * 7) % 300 >= 280}
    source = LogSourceConfig(name="app", paths=(f"{tmp_path}/*.log",), start=StartAt.BEGINNING)
    reading = Reading(LogFilesConfig(sources=(source,), files_max=20), str(tmp_path / "state"))
    reading.open()
    for turn in range(2):
        reading.look(now_s=1.0 + turn, now_ns=2 * 10**18)
        followed = {int(Path(file.path).stem) for file in reading.files}
        assert followed == newest
        assert reading.following.refused["limit"] == 280
    assert reading.look_cost_s > 0
    reading.close()


def test_a_known_file_that_finds_no_room_goes_on_where_it_was_when_it_finds_some(
    tmp_path: Path,
) -> None:
    """With `files_max` lowered, what was known of a file was forgotten at the first look, and later all of it came again."""
    source = LogSourceConfig(name="app", paths=(f"{tmp_path}/*.log",), start=StartAt.BEGINNING)

    def read(reading: Reading, now_s: float) -> list[bytes]:
        reading.look(now_s=now_s, now_ns=time.time_ns())
        texts: list[bytes] = []
        for file in reading.due(now_s):
            reading.take([file], now_s=now_s, now_ns=time.time_ns())
            if file.batch is not None:
                texts += [record.text for record in file.batch.records]
                file.handed_on()
        reading.save(time.time_ns())
        return texts

    for name in ("a", "b"):
        (tmp_path / f"{name}.log").write_text(f"{name} 1\n")
    reading = Reading(LogFilesConfig(sources=(source,)), str(tmp_path / "state"))
    reading.open()
    assert sorted(read(reading, 1.0)) == [b"a 1", b"b 1"]
    reading.close()
    with (tmp_path / "b.log").open("a") as log:
        log.write("b 2\n")
    reading = Reading(LogFilesConfig(sources=(source,), files_max=1), str(tmp_path / "state"))
    reading.open()
    texts = read(reading, 2.0) + read(reading, 3.0)
    assert reading.following.refused["limit"] == 1
    (kept,) = reading.files
    (tmp_path / Path(kept.path).name).unlink()
    for now_s in (4.0, 40.0, 80.0, 81.0):
        texts += read(reading, now_s)
        for file in list(reading.files):
            if file.is_done and file.batch is None:
                reading.end(file)
    reading.close()
    assert texts == [b"b 2"]


async def test_a_link_to_itself_is_told_as_what_it_is(tmp_path: Path) -> None:
    """It was said to be a file that may not be read, and to want a group."""
    (tmp_path / "self.log").symlink_to(tmp_path / "self.log")
    (tmp_path / "app.log").write_text("x\n")
    source = LogSourceConfig(name="app", paths=(f"{tmp_path}/*.log",))
    async with following(source, state=tmp_path / "state") as followed:
        health = followed.component.health()
        assert health.status is HealthStatus.DEGRADED
        assert "lead to themselves: 1" in health.sentence
        (reach,) = await followed.component.reach()
        assert reach.sentence.endswith("self.log is a link that leads to itself")


async def test_looking_for_files_rests_by_what_it_costs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 files were listed twice a second, at half a core."""
    (tmp_path / "app.log").write_text("x\n")
    source = LogSourceConfig(name="app", paths=(f"{tmp_path}/*.log",), start=StartAt.BEGINNING)
    look, looks = Reading.look, []

    def costly_look(self: Reading, **named: Any) -> None:
        look(self, **named)
        self.look_cost_s = 100.0
        looks.append(named)

    monkeypatch.setattr(Reading, "look", costly_look)
    async with following(source, state=tmp_path / "state") as followed:
        await followed.sees(lambda: followed.tap.texts() == ["x"], "the line")
        await asyncio.sleep(0.5)  # ten looks, where they cost nothing
        assert len(looks) == 1
