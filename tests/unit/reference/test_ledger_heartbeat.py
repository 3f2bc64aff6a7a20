"""Goal: who cannot be asked shows that it is alive. Method: the file is taken away, and comes back while the loop turns."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.operate.heartbeat import HEARTBEAT_VARIABLE, start_heartbeat


async def test_the_file_is_there_at_once_and_again_and_again(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    start_heartbeat({HEARTBEAT_VARIABLE: str(file)}, every_s=0.01)
    for _ in range(3):
        assert file.exists()
        file.unlink()
        while not file.exists():
            await asyncio.sleep(0.005)


async def test_a_file_that_cannot_be_written_any_more_is_no_end(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    start_heartbeat({HEARTBEAT_VARIABLE: str(folder / "alive")}, every_s=0.01)
    (folder / "alive").unlink()
    folder.rmdir()
    await asyncio.sleep(0.05)
    folder.mkdir()
    while not (folder / "alive").exists():
        await asyncio.sleep(0.005)


async def test_nothing_is_written_unasked_and_what_cannot_be_is_said(tmp_path: Path) -> None:
    start_heartbeat({})
    start_heartbeat({HEARTBEAT_VARIABLE: ""})
    with pytest.raises(UsageError, match="LEDGER_HEARTBEAT_FILE: cannot write"):
        start_heartbeat({HEARTBEAT_VARIABLE: str(tmp_path / "none/alive")})
    assert list(tmp_path.iterdir()) == []
