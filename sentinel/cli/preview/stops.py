"""What stood out in a preview and was not told, as a table for people, with the gates in words below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sentinel.cli.preview.clock import ShownClock
from sentinel.cli.preview.table import joined_cells, number_told, with_names
from sentinel.cli.wrapping import wrapped
from sentinel.core.incidents import GATE_WORDS
from sentinel.core.incidents.text import score_told
from sentinel.core.model import Gate
from sentinel.pipeline.replay.rows import ReplayedStop
from sentinel.runtime.printable import printable

_ROWS_MAX = 30
_TOLD = frozenset({Gate.INCIDENT_OPEN, Gate.TICKET})
"""Their incidents are among the messages."""
_HEAD = ("min", "score", "value", "needed", "stopped by")


def stops_table(
    stops: Sequence[ReplayedStop], *, columns: int | None, clock: ShownClock | None = None
) -> list[str]:
    """The strangest of them, how many each gate stopped, and what the gates mean.

    `columns` is the width to keep to, or None to cut no name; `clock` is the one that instants are shown by, or None for UTC.
    """
    clock = clock or ShownClock()
    untold = [stop for stop in stops if stop.gate not in _TOLD]
    if not untold:
        return ["", "nothing else stood out"]
    strangest = sorted(untold, key=lambda stop: (-_known(stop.score), stop.series, stop.start_s))
    shown = sorted(strangest[:_ROWS_MAX], key=lambda stop: (stop.series, stop.start_s))
    rows = [(clock.head, *_HEAD), *(_cells(stop, clock) for stop in shown)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "",
        f"stood out and was not told: {len(untold)}"
        + (f", the strangest {_ROWS_MAX}:" if len(untold) > _ROWS_MAX else ""),
    ]
    lines += with_names(
        [joined_cells(row, widths) for row in rows],
        [printable(stop.series) for stop in shown],
        columns,
    )
    counts = Counter(stop.gate for stop in untold)
    for gate in sorted(counts):
        told = f"{counts[gate]:>5}  {_name(gate)}: {GATE_WORDS[gate]}"
        lines += wrapped(told, columns, set_in=" " * 7)
    return lines


def _cells(stop: ReplayedStop, clock: ShownClock) -> tuple[str, ...]:
    return (
        clock.minute(stop.start_s),
        f"{(stop.end_s - stop.start_s) / 60:.0f}",
        _score(stop.score),
        number_told(stop.value, beside=stop.edge),
        number_told(stop.edge, beside=stop.value) if stop.gate <= Gate.FEW_CALLS else "-",
        _name(stop.gate),
    )


def _name(gate: Gate) -> str:
    return gate.name.lower().replace("_", " ")


def _score(score: float) -> str:
    # Rounded to one digit most of what was stopped would have the score that passes.
    return score_told(score) if score >= 1 else f"{int(score * 100) / 100:.2f}"


def _known(score: float) -> float:
    return score if score == score else 0.0
