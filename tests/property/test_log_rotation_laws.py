"""Goal: no line of a log file is lost or handed on twice, whatever rotation, truncation, restarts and crashes come together.

Method: random runs of a writer, a rotating tool and a reader over real files in a folder. The writer numbers its lines. What
is handed on is named by the record's id; a batch that is made again after a crash has the same ids, so what was handed on is a
set of ids. Each line that was written must be under exactly one of them.

What `copytruncate` itself loses (lines written between its copy and its truncation) is left out of what is expected, and so
are lines of a file that was deleted while nobody had it open.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.normalise.logs.settings import Multiline
from sentinel.receivers.log_files import LogFilesConfig, LogSourceConfig
from sentinel.receivers.log_files.config import StartAt
from sentinel.receivers.log_files.reading import Reading
from sentinel.runtime.settings import ByteSize, Duration

ACTIONS = st.sampled_from(
    [
        "write", "write", "write", "write_much", "write_half", "look", "read", "read", "read_and_crash", "crash", "stop",
        "rename", "rename", "rename_twice", "copytruncate", "copytruncate", "compress", "delete", "wait",
    ]
)  # fmt: skip


class _Run:
    """A folder with a log, and the program that follows it."""

    def __init__(self, folder: Path, *, pattern: str, multiline: Multiline) -> None:
        self.folder = folder / "logs"
        self.folder.mkdir()
        self.log = self.folder / "app.log"
        self.log.touch()
        self.config = LogFilesConfig(
            sources=(
                LogSourceConfig(
                    name="app",
                    paths=(f"{self.folder}/{pattern}",),
                    multiline=multiline,
                    start=StartAt.BEGINNING,
                ),
            ),
            chunk_max=ByteSize(4096),
            unfinished_after=Duration(10_000.0),
        )
        self.state = str(folder / "state")
        self.now_s = 100.0
        self.written = 0
        self.lost: set[int] = set()
        self.half = ""
        self.names = 0
        self.handed: dict[str, bytes] = {}
        self.twice: list[str] = []
        self.reading = self.begin()

    def begin(self) -> Reading:
        reading = Reading(self.config, self.state)
        assert reading.open() == ""
        reading.look(now_s=self.now_s, now_ns=self.now_ns)
        reading.save(self.now_ns)
        return reading

    @property
    def now_ns(self) -> int:
        return time.time_ns()

    # The writer.

    def line(self) -> str:
        self.written += 1
        return f"line {self.written:06d} of the log, and {'x' * (self.written * 37 % 90)}\n"

    def write(self, count: int = 2) -> None:
        text = self.half + "".join(self.line() for _ in range(count))
        self.half = ""
        with self.log.open("a") as file:
            file.write(text)

    def write_much(self) -> None:
        self.write(120)

    def write_half(self) -> None:
        if not self.half:
            whole = self.line()
            with self.log.open("a") as file:
                file.write(whole[:9])
            self.half = whole[9:]

    # The rotating tool; the writer ends its line first, because it is told to open another file between two lines.

    def end_line(self) -> None:
        if self.half:
            with self.log.open("a") as file:
                file.write(self.half)
            self.half = ""

    def rename(self) -> None:
        self.end_line()
        self.names += 1
        self.log.rename(self.folder / f"app.log.{self.names}")
        self.log.touch()

    def rename_twice(self) -> None:
        self.rename()
        self.write()
        self.rename()

    def copytruncate(self) -> None:
        self.end_line()
        self.names += 1
        shutil.copyfile(self.log, self.folder / f"app.log.{self.names}")
        if self.names % 2:
            before = self.written
            self.write(1)
            self.lost |= set(range(before + 1, self.written + 1))
        with self.log.open("r+") as file:
            file.truncate(0)

    def compress(self) -> None:
        old = [each for each in self.folder.glob("app.log.*") if each.suffix != ".gz"]
        if old:
            chosen = max(old, key=lambda path: path.stat().st_mtime_ns)
            packed = chosen.with_name(chosen.name + ".gz")
            with gzip.open(packed, "wb") as file:
                file.write(chosen.read_bytes())
            chosen.unlink()

    def delete(self) -> None:
        """Only what was read: of what is gone nobody can read the rest after a restart."""
        self.settle()
        for each in self.folder.glob("app.log.*"):
            each.unlink()

    # The reader.

    def look(self) -> None:
        self.now_s += 0.5
        self.reading.look(now_s=self.now_s, now_ns=self.now_ns)

    def read(self, *, crash: bool = False) -> None:
        self.now_s += 0.05
        due = self.reading.due(self.now_s)
        if not due:
            self.reading.save(self.now_ns)
            return
        self.reading.take(due, now_s=self.now_s, now_ns=self.now_ns)
        if self.reading.is_startled:
            self.reading.look(now_s=self.now_s, now_ns=self.now_ns)
        for number, file in enumerate(due):
            if file.batch is not None:
                for record in file.batch.records:
                    uid = f"{self.reading.uid_of(file)}-{record.start}"
                    assert self.handed.get(uid, record.text) == record.text
                    self.handed[uid] = record.text
                if crash and number % 2 == 0:
                    break
                file.handed_on()
            if file.is_done:
                self.reading.end(file)
        if crash:
            self.crash()

    def read_and_crash(self) -> None:
        self.read(crash=True)

    def crash(self) -> None:
        """What is not on the disk is gone."""
        self.reading.close()
        self.reading = self.begin()

    def stop(self) -> None:
        self.reading.save(self.now_ns)
        self.crash()

    def wait(self) -> None:
        self.now_s += 15.0

    def settle(self) -> None:
        for _ in range(60):
            self.look()
            for _ in range(40):
                due = self.reading.due(self.now_s)
                if not due:
                    break
                self.read()
            else:
                continue
            if not self.reading.due(self.now_s + 1.0) and not self.reading.is_startled:
                break
            self.now_s += 1.0

    def check(self) -> None:
        self.end_line()
        self.now_s += 1.0
        self.settle()
        for _ in range(4):
            self.now_s += 40.0
            self.settle()
        seen: dict[int, int] = {}
        for text in self.handed.values():
            for line in text.decode().splitlines():
                number = int(line.split()[1])
                seen[number] = seen.get(number, 0) + 1
        doubled = sorted(number for number, count in seen.items() if count > 1)
        missing = sorted(set(range(1, self.written + 1)) - set(seen) - self.lost)
        assert (missing, doubled) == ([], [])


def run_of(actions: list[str], *, pattern: str, multiline: Multiline) -> None:
    folder = Path(tempfile.mkdtemp(prefix="sentinel-rotation-"))
    run = _Run(folder, pattern=pattern, multiline=multiline)
    try:
        for action in actions:
            getattr(run, action)()
        run.check()
    finally:
        run.reading.close()
        shutil.rmtree(folder)


@settings(max_examples=40, deadline=None)
@given(
    actions=st.lists(ACTIONS, max_size=25),
    pattern=st.sampled_from(["app.log", "app.log*", "*.log"]),
    multiline=st.sampled_from([Multiline.NONE, Multiline.INDENT]),
)
def test_every_line_is_handed_on_once(
    actions: list[str], pattern: str, multiline: Multiline
) -> None:
    run_of(actions, pattern=pattern, multiline=multiline)


def test_rotations_between_two_looks() -> None:
    """The file between was made and renamed before anybody looked."""
    run_of(
        ["write", "look", "read", "rename_twice", "write", "rename_twice", "look", "read"],
        pattern="app.log",
        multiline=Multiline.NONE,
    )


def test_a_file_compressed_while_nobody_reads() -> None:
    run_of(
        ["write", "read", "write_much", "rename", "compress", "write", "crash", "read"],
        pattern="app.log",
        multiline=Multiline.NONE,
    )


def test_a_short_line_under_way_is_taken_up_again() -> None:
    """The batch that a crash cut off was held against 64 bytes before its end, of which a restart had read 40: the file began anew."""
    run_of(
        ["write", "write", "write", "write", "delete", "crash"],
        pattern="app.log",
        multiline=Multiline.INDENT,
    )


def test_environment_is_left_as_it_was() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    run_of(
        ["write", "read", "rename", "write", "crash"], pattern="app.log", multiline=Multiline.NONE
    )
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
