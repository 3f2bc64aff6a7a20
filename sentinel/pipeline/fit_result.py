"""What a fit found, as its child hands it on and as the next fit finds it stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import Calendar, Profile, SlowBounds
from sentinel.core.decide import DecisionState
from sentinel.core.model import Drift
from sentinel.core.scoring import DetectorState, ScoringSettings, state_from_bytes
from sentinel.core.stats.packing import pack_arrays, unpack_arrays
from sentinel.pipeline.drift_fit import FoundDrifts, drifts_in
from sentinel.pipeline.fit_history import HistoryReader
from sentinel.ports import Snapshot

FIT_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a fit found, in effect from a window boundary on.

    Attributes:
        version: counts the fits of a store.
        at_ns: start of the first window that is judged by it.
        profile: what is expected.
        rows: what was learned of series that were not ready when the fit was made; None once it was handed
            on, because it may be as large as the profile.
        used: how many series are expected by each model.
        fallbacks: how many of them keep the profile instead of their model, by reason.
        calendar: digest of the calendar it was made with.
        slow: what counts as slow; None where no histogram says so.
        drifts: series whose level has moved over weeks; none once they were handed on.
        drifts_dropped: how many of them there were more than are told.
        in_file: whether the profile lies in a file, and looks into no bytes that hold the rows too.
    """

    version: int
    at_ns: int
    profile: Profile
    rows: DetectorState | None
    used: Mapping[str, int] = field(default_factory=dict)
    fallbacks: Mapping[str, int] = field(default_factory=dict)
    calendar: str = ""
    slow: SlowBounds | None = None
    drifts: tuple[Drift, ...] = ()
    drifts_dropped: int = 0
    in_file: bool = False

    def primed_state(self, state: DecisionState, *, settings: ScoringSettings) -> DecisionState:
        """The state with what the fit learned of series that are not ready, and what it says of drifts; `state` is used up."""
        state = state.hearing(self.drifts)
        return state if self.rows is None else state.primed(self.rows, settings=settings)

    def without_rows(self) -> Fit:
        """The fit as it is kept after a state was primed with it.

        Its profile looks into the bytes it was read from. Where many of these are rows it is copied out of them;
        a refit of series that are all ready holds next to none, and is held once.
        """
        if self.rows is None:
            return replace(self, drifts=()) if self.drifts else self
        if self.in_file:
            return replace(self, rows=None, drifts=())
        has_many_rows = self.rows.series_count > len(self.profile.series) // 8
        profile = self.profile.copied() if has_many_rows else self.profile
        return replace(self, profile=profile, rows=None, drifts=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a fit found, before it is told when it takes effect.

    Attributes:
        profile, rows, used, fallbacks, calendar, slow: as in `Fit`.
        drifts: series whose level has moved over weeks, and how many more there were.
        decompositions: what MSTL said, for the fits of the next day; None when nothing.
    """

    profile: Profile
    rows: DetectorState
    used: Mapping[str, int]
    fallbacks: Mapping[str, int]
    calendar: str
    slow: SlowBounds | None
    drifts: FoundDrifts
    decompositions: bytes | None = None

    def payload(self) -> bytes:
        """As it is stored, and as `fit_from_snapshot` reads it."""
        parts: dict[str, NDArray[np.generic]] = {
            "profile": np.frombuffer(self.profile.to_bytes(), np.int8),
            "rows": np.frombuffer(self.rows.to_bytes(), np.int8),
            **self.drifts.arrays(),
        }
        facts: dict[str, int | float | str] = {
            "format": FIT_FORMAT,
            "models": json.dumps({"used": self.used, "fallbacks": self.fallbacks}),
            "calendar": self.calendar,
            "drifts_dropped": self.drifts.dropped_count,
        }
        if self.decompositions is not None:
            parts["mstl"] = np.frombuffer(self.decompositions, np.int8)
        if self.slow is not None:
            facts["slow_start_ns"] = self.slow.start_ns
            parts["slow_series"] = self.slow.series
            parts["slow_bucket"] = self.slow.bucket.astype(np.int32)
        return pack_arrays(parts, facts)

    def fit(self, *, version: int, at_ns: int) -> Fit:
        """The same as `payload` read back."""
        return Fit(
            version=version,
            at_ns=at_ns,
            profile=self.profile,
            rows=self.rows,
            used=self.used,
            fallbacks=self.fallbacks,
            calendar=self.calendar,
            slow=self.slow,
            drifts=self.drifts.told,
            drifts_dropped=self.drifts.dropped_count,
        )


def fit_from_snapshot(snapshot: Snapshot) -> Fit:
    """A fit from its stored bytes; ValueError when they are damaged or of another format."""
    parts, facts = unpack_arrays(snapshot.payload)
    if facts.get("format") != FIT_FORMAT or not {"profile", "rows"} <= set(parts):
        msg = f"a fit of format {facts.get('format')} cannot be read"
        raise ValueError(msg)
    told = json.loads(str(facts.get("models", "{}")))
    return Fit(
        version=snapshot.version,
        at_ns=snapshot.at_ns,
        profile=Profile.from_bytes(parts["profile"].data.cast("B")),
        rows=state_from_bytes(parts["rows"].data.cast("B"), read_only=True),
        used=told.get("used", {}),
        fallbacks=told.get("fallbacks", {}),
        calendar=str(facts.get("calendar", "")),
        slow=_slow_of(parts, facts),
        drifts=drifts_in(parts),
        drifts_dropped=int(facts.get("drifts_dropped", 0)),
    )


def _slow_of(
    parts: Mapping[str, NDArray[np.generic]], facts: Mapping[str, int | float | str]
) -> SlowBounds | None:
    if "slow_series" not in parts:
        return None
    return SlowBounds(
        start_ns=int(facts["slow_start_ns"]),
        series=parts["slow_series"].astype(np.int64),
        bucket=parts["slow_bucket"].astype(np.uint16),
    )


def kept_bounds(reader: HistoryReader, calendar: Calendar) -> SlowBounds | None:
    """What counted as slow at the fit before; None when it cannot be read, or under another calendar."""
    for snapshot in reader.fits(limit=1):
        try:
            parts, facts = unpack_arrays(snapshot.payload)
        except ValueError:
            return None
        return _slow_of(parts, facts) if facts.get("calendar") == calendar.digest else None
    return None


def kept_decompositions(reader: HistoryReader, calendar: Calendar) -> memoryview | None:
    """What MSTL said at the fits before; None when nothing, when it cannot be read, or under another calendar."""
    for snapshot in reader.fits(limit=1):
        try:
            parts, facts = unpack_arrays(snapshot.payload)
        except ValueError:
            break
        if "mstl" in parts and facts.get("calendar", Calendar().digest) == calendar.digest:
            return parts["mstl"].data.cast("B")
    return None
