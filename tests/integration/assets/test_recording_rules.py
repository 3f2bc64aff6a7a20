"""Goal: what rules are tested with can be recorded again. Method: one short scene, played, written and held against its rule as the long ones are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest
import yaml

from sentinel.reference.ledger.operate.folders import temporary_folder
from tests.support.rules import cases, ledger_scenes, recordings
from tests.support.rules.cases import subjects
from tests.support.rules.fires import firing

pytestmark = [pytest.mark.integration, pytest.mark.full, pytest.mark.timeout(400)]

ACT = ledger_scenes.Act(
    name="poison",
    faults=("poison",),
    quiet_s=60,
    seconds=30,
    after_s=50,
    rules=("ledger", "nats"),
)


async def test_a_fault_is_recorded_and_fires_what_it_should(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ledger_scenes.SCENES, "short", (ACT,))
    monkeypatch.setattr(ledger_scenes, "_SETTLE_S", 20)
    with temporary_folder() as folder:
        await ledger_scenes.play("short", folder / "short")
        raw = json.loads((folder / "short" / "raw.json").read_text())
        [span] = raw["faults"]
        assert span["faults"] == ["poison"]
        written = folder / "recordings"
        written.mkdir()
        (written / "short-poison.yaml").write_text(recordings.written_recording(raw, span))
        monkeypatch.setattr(cases, "RECORDINGS", written)
        found = {
            alert: minutes
            for subject in subjects()
            if subject.name in ACT.rules
            for alert, minutes in firing(subject, "short-poison").items()
        }
        recorded = yaml.safe_load((written / "short-poison.yaml").read_text())
    assert set(found) == {"LedgerDeadLettered", "NatsMessagesGivenUp"}
    assert min(found["LedgerDeadLettered"]) * 60 > recorded["fault_begins_s"]
    assert not _children_of(os.getpid(), folder)


def _children_of(pid: int, folder: Path) -> list[str]:
    return [
        " ".join(one.cmdline())
        for one in psutil.Process(pid).children(recursive=True)
        if str(folder) in " ".join(one.cmdline())
    ]
