"""The process that fits: asked in JSON, answers with the bytes of a fit, and is ended when it takes too long or says too much."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from sentinel.errors import SentinelError

EXIT_NO_HISTORY = 4
_COMPLAINT_BYTES_MAX = 2_000
_CHUNK_BYTES = 1 << 20
_DRAIN_S = 5.0


class FitResult(StrEnum):
    """How a fit ended; fit to be a metric label."""

    OK = "ok"
    NO_HISTORY = "no_history"
    NOT_STARTED = "not_started"
    FAILED = "failed"
    TIMEOUT = "timeout"
    GARBAGE = "garbage"
    TOO_LARGE = "too_large"
    NOT_STORED = "not_stored"


class FitFailedError(SentinelError):
    """A fit that gave nothing; carries the result it is counted by."""

    def __init__(self, result: FitResult, message: str) -> None:
        self.result = result
        super().__init__(message)


class FitChild:
    """Runs one child at a time."""

    def __init__(self, command: Sequence[str], *, timeout_s: float, bytes_max: int) -> None:
        self._command = tuple(command)
        self._timeout_s = timeout_s
        self._bytes_max = bytes_max
        self._child: asyncio.subprocess.Process | None = None

    async def run(self, request: Mapping[str, Any]) -> bytearray | None:
        """The child's answer; None when there is no history to fit.

        Raises:
            FitFailedError: it did not start, failed, took too long or said too much.
        """
        try:
            self._child = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": os.environ.get("PATH", ""), "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise FitFailedError(
                FitResult.NOT_STARTED, f"the child cannot be started: {error}"
            ) from error
        try:
            answer, complaint = await asyncio.wait_for(
                self._converse(self._child, json.dumps(request).encode()), self._timeout_s
            )
            code = await self._child.wait()
        except TimeoutError as error:
            msg = f"the child took longer than {self._timeout_s:g} s and was ended"
            raise FitFailedError(FitResult.TIMEOUT, msg) from error
        finally:
            await self.end()
        if code == EXIT_NO_HISTORY:
            return None
        if code != 0:
            text = complaint.decode(errors="replace").strip()[-500:]
            raise FitFailedError(
                FitResult.FAILED, f"the child ended with {code}: {text or 'no word'}"
            )
        return answer

    async def _converse(
        self, child: asyncio.subprocess.Process, request: bytes
    ) -> tuple[bytearray, bytes]:
        if child.stdin is None or child.stdout is None or child.stderr is None:
            msg = "the child has no pipes"
            raise FitFailedError(FitResult.NOT_STARTED, msg)
        with contextlib.suppress(ConnectionError):
            child.stdin.write(request)
            await child.stdin.drain()
        child.stdin.close()
        answer, complaint = await asyncio.gather(
            self._read(child.stdout, self._bytes_max),
            _read_tail(child.stderr),
        )
        return answer, complaint

    async def _read(self, stream: asyncio.StreamReader, limit_bytes: int) -> bytearray:
        parts = bytearray()
        while part := await stream.read(_CHUNK_BYTES):
            parts += part
            if len(parts) > limit_bytes:
                msg = f"the child's answer is larger than {limit_bytes} bytes"
                raise FitFailedError(FitResult.TOO_LARGE, msg)
        # As it is: the fit of 10,000 series is 25 MB, and a copy as bytes would be as many again.
        return parts

    async def end(self) -> None:
        """End the child, if one runs; idempotent."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        # Pipes that are not read to their end would stay open.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(_drain(child), _DRAIN_S)
        await child.wait()


async def _read_tail(stream: asyncio.StreamReader) -> bytes:
    """The end of what the child complained, however much that was."""
    tail = b""
    while part := await stream.read(_CHUNK_BYTES):
        tail = (tail + part)[-_COMPLAINT_BYTES_MAX:]
    return tail


async def _drain(child: asyncio.subprocess.Process) -> None:
    for stream in (child.stdout, child.stderr):
        while stream is not None and await stream.read(_CHUNK_BYTES):
            pass
