"""A child that answers one question at a time, and is ended when it does not: for work that may hang, crash or eat memory.

Questions and answers are bytes behind their length, over the child's standard input and output. What goes wrong costs
that one answer; the next question starts another child.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import IO, Self

from sentinel.errors import SentinelError

_LENGTH = struct.Struct("<Q")
_ANSWER_BYTES_MAX = 64 << 20
_PIECE_BYTES = 1 << 16
_LAST_WORDS_BYTES = 500
_END_S = 2.0


class SideFault(StrEnum):
    """Why there is no answer; fit to be a metric label."""

    NOT_STARTED = "not_started"
    TIME_LIMIT = "time_limit"
    ENDED = "ended"
    NONSENSE = "nonsense"


class SideProcessError(SentinelError):
    """The child gave no answer.

    Attributes:
        fault: why.
        code: the exit code of a child that ended by itself, negative for a signal.
    """

    def __init__(self, fault: SideFault, message: str, *, code: int | None = None) -> None:
        self.fault = fault
        self.code = code
        super().__init__(message)


class SideProcess:
    """Starts the child at the first question, and again after a fault."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str]) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)
        self._child: subprocess.Popen[bytes] | None = None
        self._words: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Of the child that runs, if one does."""
        return None if self._child is None else self._child.pid

    def ask(self, question: bytes, *, limit_s: float) -> bytes:
        """The child's answer, its start included in the limit.

        Raises:
            SideProcessError: it did not start, ended, took too long or answered nonsense; it does not run any more.
        """
        deadline_s = time.monotonic() + limit_s
        try:
            child = self._started()
            try:
                return _exchanged(child, question, deadline_s=deadline_s)
            except TimeoutError as error:
                msg = f"it took longer than {limit_s:g} s and was ended"
                raise SideProcessError(SideFault.TIME_LIMIT, msg) from error
            except (EOFError, BrokenPipeError) as error:
                code = _code_of(child)
                msg = f"it ended with {code}: {self._last_words() or 'no word'}"
                raise SideProcessError(SideFault.ENDED, msg, code=code) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the child, if one runs; idempotent."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        words, self._words = self._words, None
        if words is not None:
            words.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            # A file and not a pipe: nobody reads it while the child works, and a full pipe would stop the child.
            self._words = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the child
            try:
                self._child = subprocess.Popen(  # noqa: S603  # a command of our own
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._words,
                    env=self._environment,
                )
            except OSError as error:
                msg = f"it cannot be started: {error}"
                raise SideProcessError(SideFault.NOT_STARTED, msg) from error
            for pipe in (self._child.stdin, self._child.stdout):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
        return self._child

    def _last_words(self) -> str:
        if self._words is None:
            return ""
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, size - _LAST_WORDS_BYTES))
        return self._words.read().decode(errors="replace").strip()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next question, for the child's side; None when there will be none."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    return stream.read(length)


def write_frame(stream: IO[bytes], answer: bytes) -> None:
    """Answer, from the child's side."""
    stream.write(_LENGTH.pack(len(answer)))
    stream.write(answer)
    stream.flush()


def _exchanged(child: subprocess.Popen[bytes], question: bytes, *, deadline_s: float) -> bytes:
    assert child.stdin is not None
    assert child.stdout is not None
    unsent = memoryview(_LENGTH.pack(len(question)) + question)
    answer = bytearray()
    wanted = _LENGTH.size
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        selector.register(child.stdin, selectors.EVENT_WRITE)
        while len(answer) < wanted:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            for key, _ in selector.select(left_s):
                if key.fileobj is child.stdin:
                    unsent = unsent[os.write(key.fd, unsent[:_PIECE_BYTES]) :]
                    if not unsent:
                        selector.unregister(child.stdin)
                    continue
                piece = os.read(key.fd, _PIECE_BYTES)
                if not piece:
                    raise EOFError
                answer += piece
            if wanted == _LENGTH.size <= len(answer):
                wanted += _LENGTH.unpack_from(answer)[0]
                if wanted > _ANSWER_BYTES_MAX:
                    msg = f"it wants to answer with {wanted} bytes"
                    raise SideProcessError(SideFault.NONSENSE, msg)
    if len(answer) > wanted or unsent:
        msg = "it answered more than it was asked"
        raise SideProcessError(SideFault.NONSENSE, msg)
    return bytes(answer[_LENGTH.size :])


def _code_of(child: subprocess.Popen[bytes]) -> int | None:
    """The code of a child that let go of its pipes; None when it lives on without them."""
    try:
        return child.wait(_END_S)
    except subprocess.TimeoutExpired:
        return None
