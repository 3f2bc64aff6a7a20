"""What was read of a file together, what was changed on the way, and how long is waited for what."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.core.normalise.logs.joined import Record
from sentinel.core.normalise.logs.reader import LogsRead
from sentinel.receivers.log_files.positions import Position
from sentinel.runtime.receipt import Receipt


@dataclass(slots=True, kw_only=True)
class Batch:
    """Records that were read together and are handed on together.

    Attributes:
        before, after: the positions it lies between.
        records: what was read.
        read_ns: when.
        handed_count: how many of the records were handed on.
        read: what the next of them say, once they were looked at.
        receipt: which endpoints they are shipped to, and who took them; None before the first is handed on.
    """

    before: Position
    after: Position
    records: list[Record]
    read_ns: int
    handed_count: int = 0
    read: LogsRead | None = None
    receipt: Receipt | None = None


@dataclass(slots=True, kw_only=True)
class Counts:
    """What was given up or changed since the counts were taken."""

    cut_lines: int = 0
    cut_records: int = 0
    unfinished: int = 0
    bytes_read: int = 0


@dataclass(slots=True, kw_only=True)
class Timing:
    """How long is waited for what; see `LogFilesConfig`."""

    finished_after_s: float
    unfinished_after_s: float
    joined_after_s: float
