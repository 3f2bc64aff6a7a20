"""Goal: whatever becomes of who holds a fault, it is undone once, its record gets its end, and nobody takes another process for its holder.

Method: faults made for the test, which break nothing but a file, held and left behind in a folder like a run's.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sentinel.reference.ledger.domain import LedgerError, UnavailableError, UnreadableError
from sentinel.reference.ledger.operate.faults import running, stopping
from sentinel.reference.ledger.operate.faults.fault import Fault, FaultConfig, Target, signals
from sentinel.reference.ledger.operate.faults.notes import (
    Note,
    alone,
    note_file,
    read_note,
    start_ticks,
    write_note,
)
from sentinel.reference.ledger.operate.state import RunState, write_state


class Broken:
    """Faults that break a list of words, in a run that is a folder."""

    def __init__(self, folder: Path) -> None:
        self.state = RunState(
            edge_url="",
            nats_url="",
            nats_monitor_url="",
            postgres_url_file="",
            burst_file=str(folder / "burst.json"),
            pids={"poster": os.getpid()},
        )
        self.state_file = folder / "state.json"
        write_state(self.state_file, self.state)
        self.record_file = folder / "truth.ndjson"
        self.broken: list[str] = []
        self.refuses_to_begin = False
        # What cannot be undone while this is broken.
        self.needs: dict[str, str] = {}
        self.attempts: list[str] = []
        self.faults = {name: self._fault() for name in ("first", "second")}

    def _fault(self) -> Fault:
        @asynccontextmanager
        async def hold(target: Target, config: FaultConfig) -> AsyncIterator[dict[str, object]]:
            del config
            if self.refuses_to_begin:
                message = "not here"
                raise LedgerError(message)
            target.note(word=target.held.fault)
            self.broken.append(target.held.fault)
            yield {"word": target.held.fault}

        async def undo(target: Target) -> None:
            name = target.held.fault
            self.attempts.append(name)
            if self.needs.get(name) in self.broken:
                message = "it does not answer"
                raise UnavailableError(message)
            assert target.notes["word"] == name
            self.broken.remove(name)

        moved = signals(("ledger-edge", "edge", "GET /", "traffic", "up"))
        return Fault(summary="A word is broken", expected=moved, hold=hold, undo=undo)

    def config(self, fault: str, *, seconds: float = 60) -> FaultConfig:
        """To hold it, and write that down."""
        return FaultConfig(
            fault=fault,
            state_file=self.state_file,
            seconds=seconds,
            record_file=self.record_file,
        )

    def left(self, fault: str, *, holding_ns: int | None = 2_000, pid: int = 2**22 + 1) -> None:
        """As a command leaves it that is killed while the fault holds."""
        self.broken.append(fault)
        note = Note(
            fault=fault,
            pid=pid,
            pid_start_ticks=1,
            start_ns=1_000,
            holding_ns=holding_ns,
            until_ns=9_000,
            record_file=str(self.record_file),
            undo={"word": fault},
        )
        write_note(note_file(self.state, fault), note)

    def note(self, fault: str) -> Note | None:
        """What stands about it."""
        return read_note(note_file(self.state, fault))

    def record(self) -> list[dict[str, Any]]:
        """What was written down."""
        if not self.record_file.exists():
            return []
        return [json.loads(line) for line in self.record_file.read_text().splitlines()]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broken:
    made = Broken(tmp_path)
    monkeypatch.setattr(running, "FAULTS", made.faults)
    return made


async def end_left(run: Broken) -> list[str]:
    return await running.end_left(run.state, run.faults)


async def test_a_fault_has_a_note_while_it_is_held_and_start_and_end_on_record(
    run: Broken,
) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(running.run_fault(run.config("first"), stop))
    while (note := run.note("first")) is None or note.holding_ns is None:
        await asyncio.sleep(0.01)
    assert note_file(run.state, "first").stat().st_mode & 0o777 == 0o600
    assert note.has_holder
    assert run.broken == ["first"]
    with pytest.raises(LedgerError, match="held already"):
        await running.run_fault(run.config("first"), stop)
    stop.set()
    await task
    assert run.note("first") is None
    assert run.broken == []
    start, end = run.record()
    assert (start["event"], end["event"]) == ("fault_start", "fault_end")
    assert start["start_ns"] == note.start_ns <= start["holding_ns"] < end["end_ns"]
    assert end["parameters"] == {"seconds": 60, "word": "first"}


async def test_a_fault_ends_when_its_run_does(run: Broken) -> None:
    task = asyncio.create_task(running.run_fault(run.config("first"), asyncio.Event()))
    while not run.record():
        await asyncio.sleep(0.01)
    run.state_file.unlink()
    await asyncio.wait_for(task, timeout=10)
    assert run.broken == []
    assert [one["event"] for one in run.record()] == ["fault_start", "fault_end"]


async def test_what_could_not_begin_leaves_neither_note_nor_record(run: Broken) -> None:
    run.refuses_to_begin = True
    with pytest.raises(LedgerError, match="not here"):
        await running.run_fault(run.config("first"), asyncio.Event())
    assert run.note("first") is None
    assert run.record() == []


async def test_what_could_not_be_undone_is_nobodys_and_the_next_command_undoes_it(
    run: Broken,
) -> None:
    run.broken.append("the server")
    run.needs["first"] = "the server"
    with pytest.raises(UnavailableError):
        await running.run_fault(run.config("first", seconds=0.01), asyncio.Event())
    note = run.note("first")
    assert note is not None
    assert not note.has_holder, "this process lives, and holds it no more"
    with pytest.raises(LedgerError, match="first was left behind and cannot be undone"):
        await end_left(run)
    run.broken.remove("the server")
    assert await end_left(run) == ["first"]
    assert run.broken == []
    assert [one["event"] for one in run.record()] == ["fault_start", "fault_end"]


async def test_the_record_of_a_killed_holder_gets_its_end_once(run: Broken) -> None:
    run.left("first")
    assert await end_left(run) == ["first"]
    assert await end_left(run) == []
    [end] = run.record()
    assert (end["event"], end["killed"], end["start_ns"]) == ("fault_end", True, 1_000)
    assert end["holding_ns"] == 2_000
    assert 0 < end["last_held_ns"] <= end["end_ns"]
    assert run.attempts == ["first"]


async def test_one_that_was_killed_before_all_of_it_held_has_an_end_too(run: Broken) -> None:
    run.left("first", holding_ns=None)
    assert await end_left(run) == ["first"]
    [end] = run.record()
    assert (end["killed"], end["holding_ns"]) == (True, None)


async def test_one_that_has_to_wait_for_another_is_undone_after_it(run: Broken) -> None:
    """A setting cannot be taken back from a server that another fault has stopped."""
    run.left("first")
    run.left("second")
    run.needs["first"] = "second"
    assert await end_left(run) == ["second", "first"]
    assert run.attempts == ["first", "second", "first"]
    assert run.broken == []


async def test_a_record_that_cannot_be_written_keeps_nothing_broken(run: Broken) -> None:
    run.left("first")
    run.record_file.mkdir()
    assert await end_left(run) == []
    assert run.broken == []
    assert run.note("first") is None


async def test_a_later_process_of_the_same_number_is_not_its_holder(run: Broken) -> None:
    """Nor is a zombie, whom nobody has asked for its exit code."""
    run.left("first", pid=os.getpid())
    note = run.note("first")
    assert note is not None
    assert not note.has_holder
    child = subprocess.Popen([sys.executable, "-c", ""])
    try:
        while start_ticks(child.pid):
            await asyncio.sleep(0.01)
        assert Path(f"/proc/{child.pid}").exists()
    finally:
        child.wait()
    assert await end_left(run) == ["first"]


async def test_a_stop_of_what_another_process_holds_waits_for_it(run: Broken) -> None:
    """The holder is told, and is not killed; what it has not ended in time is said."""
    code = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('told', flush=True)); print('up', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "up\n"
            run.left("first")
            note = run.note("first")
            assert note is not None
            held = {"pid": child.pid, "pid_start_ticks": start_ticks(child.pid)}
            target = Target(state=run.state, held=note)
            target.change(**held)
            with pytest.raises(
                LedgerError, match=rf"still held after 0.2 s: first \(process {child.pid}\)"
            ):
                await stopping.stop_faults(run.state_file, ["first", "second"], timeout_s=0.2)
            assert child.stdout.readline() == "told\n"
            assert run.broken == ["first"], "nobody undoes what somebody holds"
        finally:
            child.kill()
    told = await stopping.stop_faults(run.state_file, ["first", "second"])
    assert told == [
        {"event": "fault_stopped", "fault": "first", "start_ns": 1_000, "killed": True},
        {"event": "fault_not_held", "fault": "second"},
    ]
    assert run.broken == []


async def test_two_commands_undo_one_after_the_other(run: Broken) -> None:
    run.left("first")
    both = await asyncio.gather(end_left(run), end_left(run))
    assert sorted(both) == [[], ["first"]]
    assert run.attempts == ["first"]
    async with alone(run.state):
        waiting = asyncio.create_task(end_left(run))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    assert await waiting == []


async def test_a_run_whose_folder_is_gone_is_said_so(run: Broken, tmp_path: Path) -> None:
    gone = RunState(
        edge_url="",
        nats_url="",
        nats_monitor_url="",
        postgres_url_file="",
        burst_file=str(tmp_path / "gone" / "burst.json"),
        pids={},
    )
    write_state(run.state_file, gone)
    with pytest.raises(UnreadableError, match="is gone"):
        await running.run_fault(run.config("first"), asyncio.Event())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 1, "max_bytes": {}}'])
def test_what_is_no_note_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fault-x.json"
    assert read_note(path) is None
    path.write_text(text)
    assert read_note(path) is None
