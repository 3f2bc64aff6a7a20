"""Text files line by line, plain or gzip, with a bound on every line, and numbers read strictly."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from sentinel.errors import InputTooLargeError, MalformedInputError

_LINE_BYTES_MAX = 64 << 10
_FAULTS_MAX = 10
_NS = 1_000_000_000
_FLOAT32_MAX = 3.4028234663852886e38
_AFTER_S = 7_258_118_400
"""The year 2200: nanoseconds are counted in 64 bits, which end in 2262, and windows reach beyond the last row."""

# float() and int() also take underscores, other scripts' digits and blanks; a file with those is wrong.
_INTEGER = re.compile(r"[0-9]{1,11}", re.ASCII)
_DECIMAL = re.compile(r"([0-9]{1,11})\.([0-9]*)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
# From 1e11 s (the year 5138) upwards a number is milliseconds or finer, not seconds.
_MANY_DIGITS = re.compile(r"[0-9]{12,}(?:\.[0-9]*)?", re.ASCII)


class Lines:
    """The lines of a UTF-8 file with their numbers, without line ends; `.gz` is decompressed as it is read.

    Attributes:
        number: lines that were given so far.
        offset: bytes that they take, decompressed.
    """

    def __init__(self, path: Path, *, number: int = 0, offset: int = 0) -> None:
        """Make it; with what another one of the same file said of itself it goes on from there."""
        self._path = path
        self.number = number
        self.offset = offset

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Read on.

        Raises:
            MalformedInputError: it is not UTF-8, or not gzip although its name says so.
            InputTooLargeError: a line has more than 64 KiB.
            OSError: it cannot be read.
        """
        path = self._path
        try:
            with _opened(path) as file:
                if self.offset:
                    file.seek(self.offset)
                while raw := file.readline(_LINE_BYTES_MAX + 1):
                    self.number += 1
                    self.offset += len(raw)
                    if len(raw) > _LINE_BYTES_MAX:
                        msg = f"{path}:{self.number}: line is too long"
                        raise InputTooLargeError(
                            msg, size_bytes=len(raw), limit_bytes=_LINE_BYTES_MAX
                        )
                    line = raw.decode("utf-8").rstrip("\r\n")
                    if self.number == 1:
                        line = line.removeprefix("\ufeff")
                    yield self.number, line
        except UnicodeDecodeError as error:
            msg = f"{path}:{self.number}: not UTF-8"
            raise MalformedInputError(msg) from error
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            msg = f"{path}:{self.number + 1}: not a whole gzip file: {error}"
            raise MalformedInputError(msg) from error


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a file from its beginning, as `Lines` gives them."""
    return iter(Lines(path))


def time_ns_of(text: str) -> int:
    """Unix seconds, whole or with a fraction, as nanoseconds.

    >>> time_ns_of("1700000000"), time_ns_of("1700000000.25")
    (1700000000000000000, 1700000000250000000)

    Raises:
        ValueError: the text is no such number; the message says what it looks like.
    """
    if _INTEGER.fullmatch(text):
        seconds, fraction = int(text), 0
    elif match := _DECIMAL.fullmatch(text):
        seconds, fraction = int(match[1]), int(match[2][:9].ljust(9, "0"))
    else:
        if _MANY_DIGITS.fullmatch(text):
            raise ValueError(_in_milliseconds(text))
        msg = f"timestamp {_shown(text)} is not a number of Unix seconds"
        raise ValueError(msg)
    if seconds >= _AFTER_S:
        msg = f"timestamp {_shown(text)} lies after the year 2199"
        raise ValueError(msg)
    return seconds * _NS + fraction


def number_of(text: str) -> float:
    """A finite number, or NaN for what is missing: an empty field or `nan` in any case.

    >>> number_of("1e3"), number_of("NaN")
    (1000.0, nan)

    Raises:
        ValueError: it is text, infinite, or too large to be stored.
    """
    if _NUMBER.fullmatch(text):
        number = float(text)
        if abs(number) > _FLOAT32_MAX:
            msg = f"value {_shown(text)} is out of range"
            raise ValueError(msg)
        return number
    if not text or text.lower() == "nan":
        return float("nan")
    msg = f"value {_shown(text)} is not a number"
    raise ValueError(msg)


class Faults:
    """The faults of one file: all are told together, a bounded number of them, each with its first line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, line_number: int, reason: object) -> None:
        """Note what is wrong with a line; the same with another line is only counted.

        Raises:
            MalformedInputError: that is enough; the rest of the file is not looked at.
        """
        first_and_count = self._lines.setdefault(str(reason), [line_number, 0])
        first_and_count[1] += 1
        if len(self._lines) >= _FAULTS_MAX:
            msg = f"{self._told()}\n{self._path}: there may be more"
            raise MalformedInputError(msg)

    def raise_any(self) -> None:
        """At the end of the file.

        Raises:
            MalformedInputError: there was a fault.
        """
        if self._lines:
            raise MalformedInputError(self._told())

    def _told(self) -> str:
        told = []
        for reason, (line_number, count) in self._lines.items():
            more = "" if count == 1 else f" (and in {count - 1} more line{'s' * (count > 2)})"
            told.append(f"{self._path}:{line_number}: {reason}{more}")
        return "\n".join(told)


def malformed(path: Path, line_number: int, reason: object) -> MalformedInputError:
    """What is wrong with a line, and where it is."""
    return MalformedInputError(f"{path}:{line_number}: {reason}")


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def _in_milliseconds(text: str) -> str:
    digits = len(text.partition(".")[0])
    unit = "milliseconds" if digits <= 13 else "microseconds" if digits <= 16 else "nanoseconds"
    return f"timestamp {_shown(text)} looks like {unit}; write Unix seconds"


def _shown(text: str) -> str:
    """The text for a message: short, and with nothing in it that a terminal would obey."""
    return ascii(text if len(text) <= 40 else text[:40] + "...")
