"""What `sentinel-ledger fault list` tells: the catalogue, and what of it is held now."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from sentinel.reference.ledger.operate.faults.catalogue import FAULTS
from sentinel.reference.ledger.operate.faults.notes import Note, last_held_ns, note_file, read_note
from sentinel.reference.ledger.operate.faults.weights import WEIGHTS, weight_of
from sentinel.reference.ledger.operate.state import RunState

HELD: Final = "held"
STARTING: Final = "starting"
LEFT: Final = "left behind"


def listed(state: RunState | None = None) -> list[dict[str, object]]:
    """Every fault with what it does, how soon somebody has to know, what `up` must be started with, and what it should move.

    Of a run, each also has `held`: since when and by whom, or None. One whose holder was killed is `left behind`: the next
    command ends it.
    """
    return [
        {
            "fault": name,
            "summary": fault.summary,
            "weight": weight_of(name).value,
            "why": WEIGHTS[name].why,
            "needs": fault.needs,
            "expected": [asdict(signal) for signal in fault.expected],
            **({} if state is None else {"held": _held(state, name)}),
        }
        for name, fault in FAULTS.items()
    ]


def _held(state: RunState, name: str) -> dict[str, object] | None:
    path = note_file(state, name)
    note = read_note(path)
    if note is None:
        return None
    return {
        "state": _state_of(note),
        "pid": note.pid,
        "start_ns": note.start_ns,
        "holding_ns": note.holding_ns,
        "until_ns": note.until_ns,
        "last_held_ns": last_held_ns(path),
        "record_file": note.record_file,
        "parameters": note.parameters,
    }


def _state_of(note: Note) -> str:
    if not note.has_holder:
        return LEFT
    return STARTING if note.holding_ns is None else HELD
