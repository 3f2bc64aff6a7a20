"""What is remembered between two blocks, and every number that decides."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.incidents import IncidentSettings, TrackerState
from sentinel.core.incidents import from_bytes as tracker_from_bytes
from sentinel.core.incidents import set_back as put_tracker_back
from sentinel.core.incidents import to_bytes as tracker_to_bytes
from sentinel.core.model import (
    Drift,
)
from sentinel.core.scoring import (
    DetectorState,
    Grid,
    ScoringSettings,
    copy_rows,
    follow_clock,
    new_state,
    select_rows,
    state_from_bytes,
)
from sentinel.core.scoring import set_back as put_detector_back

_LENGTHS = struct.Struct("<4sQQQQ")
_MAGIC = b"SNTD"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSettings:
    """Every number that decides."""

    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    incidents: IncidentSettings = field(default_factory=IncidentSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionState:
    """All that is remembered between two blocks.

    `decide` consumes it: the detector's columns are changed in place, so only the state that came out may
    be used again. A caller that must be able to step back keeps `to_bytes()`.

    Attributes:
        detector: what was learned about each series of the last block.
        parked: what was learned about others; they take it with them when they come back.
        tracker: open incidents and guards.
        frozen: int64[...], ids of the series whose level stands still, ascending.
    """

    detector: DetectorState
    parked: DetectorState
    tracker: TrackerState
    frozen: NDArray[np.int64]

    def ready(self) -> NDArray[np.int64]:
        """Ids of the series whose spread is known, ascending; the others may be primed from history."""
        return np.union1d(
            self.detector.series[self.detector.ready()], self.parked.series[self.parked.ready()]
        )

    def primed(self, rows: DetectorState, *, settings: ScoringSettings) -> DecisionState:
        """The state with `rows` in the place of what is not ready yet; this one is used up.

        Raises:
            ValueError: the rows are on another grid.
        """
        if rows.step_ns != self.detector.step_ns:
            msg = f"rows for windows of {rows.step_ns} ns cannot serve {self.detector.step_ns} ns"
            raise ValueError(msg)
        if not rows.series_count and not self.parked.series_count:
            return self
        rows = replace(rows)
        follow_clock(rows, self.detector.clock, hour=self.detector.hour)
        copy_rows(rows, self.detector, only=~self.detector.ready())
        known = np.union1d(self.parked.series, rows.series)
        others = np.setdiff1d(known, self.detector.series, assume_unique=True)
        parked = new_state(others, step_ns=rows.step_ns, base_cut=rows.grid.base_cut(settings))
        parked.clock = rows.clock
        copy_rows(rows, parked)
        mine = select_rows(self.parked, self.parked.ready(), base_cut=0.0)
        copy_rows(mine, parked)
        return DecisionState(
            detector=self.detector, parked=parked, tracker=self.tracker, frozen=self.frozen
        )

    def hearing(self, drifts: Sequence[Drift]) -> DecisionState:
        """The state whose next window tells of what a fit said has drifted; this one is used up."""
        if not drifts:
            return self
        drifting = replace(self.tracker.drifting, pending=tuple(drifts))
        return replace(self, tracker=replace(self.tracker, drifting=drifting))

    def set_back(self, at_ns: int) -> DecisionState:
        """The state for windows from `at_ns` on, time having been ahead until now; this one is used up."""
        put_detector_back(self.detector, at_ns)
        return DecisionState(
            detector=self.detector,
            parked=self.parked,
            tracker=put_tracker_back(self.tracker, at_ns),
            frozen=self.frozen,
        )

    def to_bytes(self) -> bytes:
        """The state as bytes that `from_bytes` reads; the same state gives the same bytes."""
        # Joined once: the columns of 10,000 series are 17 MB, and every copy on the way would be resident.
        parts: tuple[list[bytes | memoryview], ...] = (
            self.detector.pieces(),
            self.parked.pieces(),
            [tracker_to_bytes(self.tracker)],
            [self.frozen.astype("<i8").tobytes()],
        )
        lengths = (sum(len(piece) for piece in part) for part in parts)
        pieces = (piece for part in parts for piece in part)
        return b"".join((_LENGTHS.pack(_MAGIC, *lengths), *pieces))

    @classmethod
    def from_bytes(cls, data: bytes | bytearray) -> DecisionState:
        """A state from bytes; ValueError when they are damaged or of another format."""
        if len(data) < _LENGTHS.size or not data.startswith(_MAGIC):
            msg = "these bytes are no decision state"
            raise ValueError(msg)
        _, *lengths = _LENGTHS.unpack_from(data)
        parts: list[memoryview] = []
        whole = memoryview(data)
        at = _LENGTHS.size
        for length in lengths:
            parts.append(whole[at : at + length])
            at += length
        if at != len(data) or lengths[-1] % 8:
            msg = "the decision state is cut short"
            raise ValueError(msg)
        return cls(
            detector=state_from_bytes(parts[0]),
            parked=state_from_bytes(parts[1]),
            tracker=tracker_from_bytes(bytes(parts[2])),
            frozen=np.frombuffer(parts[3], dtype="<i8").astype(np.int64),
        )


def new_decision_state(*, step_ns: int, settings: DecisionSettings) -> DecisionState:
    """A state that knows no series; they join with the first block that holds them."""
    none = np.zeros(0, np.int64)
    base_cut = Grid(step_ns=step_ns).base_cut(settings.scoring)
    return DecisionState(
        detector=new_state(none, step_ns=step_ns, base_cut=base_cut),
        parked=new_state(none, step_ns=step_ns, base_cut=base_cut),
        tracker=TrackerState(),
        frozen=none,
    )
