"""What was read of files, kept in the store's folder, so that a run that was killed goes on where it was.

The rows lie in a file for each chunk of the store, which only grow; a note beside them says how long each was when the reader was where
the note says, and what it needs to go on. The note is replaced at once, after what it is about is on the disk: what is in the files beyond it
is cut off by the next run.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sentinel.core.model import SeriesKey
from sentinel.errors import StoreLockedError

_FOLDER = "backfill"
_NOTE = "note.json"
_ROWS = "rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadNote:
    """How far the reading of files got.

    Attributes:
        source: digest of what is read, and how.
        now_ns: the present of the run that began; what is too new or too old goes by it.
        file: position of the file that is read, the number of files when all are.
        mark: where in it, for its reader; None for its beginning.
        keys: the series by the number that rows have.
        sizes: bytes of each chunk's rows.
        skipped: rows left out, by reason.
    """

    source: str
    now_ns: int
    file: int = 0
    mark: Mapping[str, Any] | None = None
    keys: tuple[SeriesKey, ...] = ()
    sizes: Mapping[int, int] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> str:
        """For `_note_of`."""
        return json.dumps(
            {
                "source": self.source,
                "now_ns": self.now_ns,
                "file": self.file,
                "mark": self.mark,
                "keys": self.keys,
                "sizes": {str(chunk): size for chunk, size in self.sizes.items()},
                "skipped": self.skipped,
            }
        )


class ReadCheckpoint:
    """The folder of one run; made when there is something to keep.

    Attributes:
        note: what an earlier run of the same source left, or None.
    """

    def __init__(self, store: Path, source: str) -> None:
        """Look for what an earlier run left in the store's folder; what is of another source goes.

        Raises:
            StoreLockedError: another backfill is reading into it.
        """
        self._store = store
        self._path = store / _FOLDER
        self._lock = -1
        self.note: ReadNote | None = None
        if self._path.exists():
            self._take()
            self.note = _note_of(self._path / _NOTE)
            if self.note is None or self.note.source != source or not self._cut(self.note):
                self.forget()
                self.note = None

    def rows_folder(self) -> Path:
        """Where rows are kept; made when it is missing."""
        if self._lock < 0:
            self._store.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.mkdir(mode=0o700, exist_ok=True)
            self._take()
        folder = self._path / _ROWS
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def write(self, note: ReadNote) -> None:
        """Replace the note; the rows it is about are on the disk before."""
        for file in (self._path / _ROWS).iterdir():
            _to_disk(file)
        fresh = self._path / f"{_NOTE}.new"
        fresh.write_text(note.to_json(), encoding="utf-8")
        _to_disk(fresh)
        fresh.replace(self._path / _NOTE)
        self.note = note

    def close(self) -> None:
        """Leave what there is to the next run; idempotent."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def forget(self) -> None:
        """Remove all of it, and a store's folder that has nothing else; idempotent."""
        if self._lock < 0:
            return
        # The note first: a run that finds rows without one begins anew.
        (self._path / _NOTE).unlink(missing_ok=True)
        shutil.rmtree(self._path, ignore_errors=True)
        self.close()
        if self._store.exists() and not any(self._store.iterdir()):
            self._store.rmdir()

    def _take(self) -> None:
        self._lock = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            msg = f"another backfill reads into {self._store}"
            raise StoreLockedError(msg) from error

    def _cut(self, note: ReadNote) -> bool:
        """Cut the rows to what the note knows; whether all of that is there."""
        folder = self._path / _ROWS
        for chunk, size in note.sizes.items():
            file = folder / str(chunk)
            if not file.exists() or file.stat().st_size < size:
                return False
        for file in folder.iterdir() if folder.exists() else ():
            known = note.sizes.get(int(file.name)) if file.name.isdigit() else None
            if known is None:
                file.unlink()
            elif file.stat().st_size > known:
                os.truncate(file, known)
        return True


def _note_of(path: Path) -> ReadNote | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return ReadNote(
            source=str(document["source"]),
            now_ns=int(document["now_ns"]),
            file=int(document["file"]),
            mark=document["mark"],
            keys=tuple(SeriesKey(*key) for key in document["keys"]),
            sizes={int(chunk): int(size) for chunk, size in document["sizes"].items()},
            skipped={str(reason): int(count) for reason, count in document["skipped"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
