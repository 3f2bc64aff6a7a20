"""Exported audits as files: lines of JSON, the first of which says what the rest is.

`{"audit": …}` is the first line, `{"entry": …}` an entry, `{"checkpoint": …}` a signed note,
`{"consistency": …}` the proof that a checkpoint is the beginning of the extract's, and `{"end": …}` the
last line, without which a file was cut off.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from sentinel.reference.ledger.domain import LedgerError, UnreadableError
from sentinel.reference.ledger.domain.audit.check import Record
from sentinel.reference.ledger.domain.audit.note import (
    MalformedNoteError,
    SignedCheckpoint,
    parse_checkpoint,
)

FORMAT_VERSION: Final = 1
LINE_BYTES_MAX: Final = 4 * 1024 * 1024
# Of checkpoints in a file, all of which are held against the tree.
CHECKPOINTS_COUNT_MAX: Final = 1_000_000


class MalformedArchiveError(LedgerError):
    """A file that is no exported audit, or not all of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What an exported audit says it is.

    Attributes:
        origin: the log's name.
        extract: whether it holds some entries with a proof each, and not the log from its beginning.
        tenant: of an extract, whose entries alone.
        first: of an extract, the place of its first entry.
        end: of an extract, the place after its last.
        from_us: of an extract, the times that were asked for, Unix microseconds.
        to_us: the same.
        part: of an extract in parts, this one's number from 1.
        following: the number of the next part; None for the last.
    """

    origin: str
    extract: bool = False
    tenant: str | None = None
    first: int = 0
    end: int = 0
    from_us: int | None = None
    to_us: int | None = None
    part: int | None = None
    following: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryLine:
    """An entry and the proof it came with."""

    record: Record
    proof: tuple[bytes, ...] | None


@dataclass(slots=True)
class Beside:
    """What a file holds beside entries."""

    checkpoints: list[SignedCheckpoint] = field(default_factory=list)
    proofs: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    broken_notes: list[str] = field(default_factory=list)


class Sink(Protocol):
    """Where an exported audit goes: a file, or what has bounds of its own."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""


def head_line(head: Head) -> bytes:
    """Return the first line, of what is known at the end alone: a part's range."""
    said: dict[str, object] = {
        "version": FORMAT_VERSION,
        "origin": head.origin,
        "extract": head.extract,
        "tenant": head.tenant,
        "first": head.first,
        "end": head.end,
        "from_us": head.from_us,
        "to_us": head.to_us,
    }
    if head.part is not None:
        said |= {"part": head.part, "next": head.following}
    return _line({"audit": said})


class Writer:
    """Writes an exported audit; without a head, all but its first line."""

    def __init__(self, out: Sink, head: Head | None = None) -> None:
        self._out = out
        self.entries_count = 0
        self.checkpoints_count = 0
        self.bytes_count = 0
        if head is not None:
            self._write(head_line(head))

    def entry(self, record: Record, proof: Sequence[bytes] | None = None) -> None:
        """Write an entry; its bytes are a text of JSON and stand there as such."""
        said: dict[str, object] = {
            "place": record.place,
            "leaf": record.leaf.decode("utf-8", "backslashreplace"),
            "signature": _text(record.signature),
        }
        if proof is not None:
            said["proof"] = [_text(one) for one in proof]
        self._line({"entry": said})
        self.entries_count += 1

    def checkpoint(self, note: str) -> None:
        """Write a checkpoint."""
        self._line({"checkpoint": note})
        self.checkpoints_count += 1

    def consistency(self, size: int, proof: Sequence[bytes]) -> None:
        """Write the proof that the checkpoint of this size is the beginning of the extract's."""
        self._line({"consistency": {"size": size, "proof": [_text(one) for one in proof]}})

    def end(self) -> None:
        """Write the last line."""
        self._line({"end": {"entries": self.entries_count, "checkpoints": self.checkpoints_count}})

    def _line(self, document: dict[str, object]) -> None:
        self._write(_line(document))

    def _write(self, line: bytes) -> None:
        self._out.write(line)
        self.bytes_count += len(line)


def read_head(path: Path) -> Head:
    """Return what the file says it is.

    Raises:
        UnreadableError: it cannot be read.
        MalformedArchiveError: it is no exported audit, or of another version.
    """
    for _, kind, said in _lines(path):
        if kind != "audit" or not isinstance(said, dict):
            break
        if said.get("version") != FORMAT_VERSION:
            message = f"{path} is of version {said.get('version')!r}; this reads {FORMAT_VERSION}"
            raise MalformedArchiveError(message)
        return _head(path, said)
    message = f"{path} is no exported audit"
    raise MalformedArchiveError(message)


def read_beside(path: Path) -> Beside:
    """Return the checkpoints and proofs of a file, and see that it is all there.

    Raises:
        UnreadableError: it cannot be read.
        MalformedArchiveError: a line is none of an exported audit, or the last is not there.
    """
    beside = Beside()
    ended = False
    for number, kind, said in _lines(path):
        if ended:
            message = f"{path}, line {number}: there is something after the end"
            raise MalformedArchiveError(message)
        if kind == "checkpoint":
            _note(path, number, said, beside)
        elif kind == "consistency":
            try:
                beside.proofs[int(said["size"])] = _hashes(said["proof"])
            except (TypeError, KeyError, ValueError) as error:
                raise _malformed(path, number) from error
        elif kind == "end":
            ended = True
        elif kind not in ("audit", "entry"):
            raise _malformed(path, number)
    if not ended:
        message = f"{path} has no end: it was cut off"
        raise MalformedArchiveError(message)
    return beside


def read_entries(path: Path) -> Iterator[EntryLine]:
    """Yield the file's entries in their order.

    Raises:
        UnreadableError: it cannot be read.
        MalformedArchiveError: a line is no entry.
    """
    for number, kind, said in _lines(path):
        if kind != "entry":
            continue
        try:
            place = said["place"]
            if type(place) is not int or place < 0:
                raise _malformed(path, number)
            proof = said.get("proof")
            line = EntryLine(
                record=Record(
                    place=place,
                    leaf=said["leaf"].encode(),
                    signature=_bytes(said["signature"]),
                ),
                proof=None if proof is None else _hashes(proof),
            )
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise _malformed(path, number) from error
        yield line


def read_notes(path: Path) -> list[SignedCheckpoint]:
    """Return checkpoints that are kept in a file: signed notes one after another, or lines of an export.

    Raises:
        UnreadableError: it cannot be read.
        MalformedNoteError: something in it is no checkpoint.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise UnreadableError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path} holds no checkpoint"
        raise MalformedNoteError(message) from error
    if text.startswith("{"):
        return read_beside(path).checkpoints
    notes: list[str] = []
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        # A note's text begins after the signatures of the one before.
        if lines and lines[-1].startswith("— ") and not line.startswith("— "):
            notes.append("".join(lines))
            lines = []
        if lines or line.strip():
            lines.append(line)
    notes.append("".join(lines))
    return [parse_checkpoint(note) for note in notes]


def _lines(path: Path) -> Iterator[tuple[int, str, Any]]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                if len(line) > LINE_BYTES_MAX:
                    message = f"{path}, line {number} is longer than {LINE_BYTES_MAX} bytes"
                    raise MalformedArchiveError(message)
                try:
                    document = orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise _malformed(path, number) from error
                if not isinstance(document, dict) or len(document) != 1:
                    raise _malformed(path, number)
                ((kind, said),) = document.items()
                yield number, kind, said
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise UnreadableError(message) from error


def _line(document: dict[str, object]) -> bytes:
    return orjson.dumps(document) + b"\n"


def _head(path: Path, said: dict[str, Any]) -> Head:
    numbers = [said.get(name) for name in ("first", "end")]
    times = [said.get(name) for name in ("from_us", "to_us")]
    parts = [said.get(name) for name in ("part", "next")]
    if (
        not isinstance(said.get("origin"), str)
        or not isinstance(said.get("extract"), bool)
        or not isinstance(said.get("tenant"), str | None)
        or not all(type(one) is int and one >= 0 for one in numbers)
        or not all(one is None or type(one) is int for one in times)
        or not all(one is None or (type(one) is int and one >= 1) for one in parts)
    ):
        raise _malformed(path, 1)
    return Head(
        origin=said["origin"],
        extract=said["extract"],
        tenant=said.get("tenant"),
        first=said["first"],
        end=said["end"],
        from_us=said.get("from_us"),
        to_us=said.get("to_us"),
        part=said.get("part"),
        following=said.get("next"),
    )


def _note(path: Path, number: int, said: Any, beside: Beside) -> None:
    if not isinstance(said, str) or len(beside.checkpoints) >= CHECKPOINTS_COUNT_MAX:
        raise _malformed(path, number)
    try:
        beside.checkpoints.append(parse_checkpoint(said))
    except MalformedNoteError as error:
        # Somebody's work, to be told of beside all else that is found.
        beside.broken_notes.append(f"line {number}: {error}")


def _malformed(path: Path, number: int) -> MalformedArchiveError:
    return MalformedArchiveError(f"{path}, line {number} is none of an exported audit")


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _bytes(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        message = "no base64"
        raise ValueError(message) from error


def _hashes(values: Any) -> tuple[bytes, ...]:
    if not isinstance(values, list) or len(values) > 64:
        message = "no list of hashes"
        raise ValueError(message)
    return tuple(_bytes(one) for one in values)
