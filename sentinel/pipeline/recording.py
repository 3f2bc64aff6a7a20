"""What a live process keeps of itself, so that the windows it stored can be replayed to the same bits.

Windows, incidents and events are stored anyway. Besides those a replay needs a state to begin from, the expectation that
was in effect at each window, and the settings. A state is recorded once a day; of each fit the part that can have been in
effect, two hours of it at a time, because the next one replaces it within the hour and whole fits would be the
largest thing in the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sentinel.core.baseline import Profile
from sentinel.core.decide import DecisionSettings, DecisionState
from sentinel.core.model import Drift, Exemplar, FirstMover, Incident, LogLine, SeriesKey
from sentinel.core.scoring import DetectorState, state_from_bytes
from sentinel.core.stats.packing import Packed, pack_arrays, unpack_arrays
from sentinel.errors import StoreError
from sentinel.pipeline.deciding import StoreThread
from sentinel.pipeline.drift_fit import FoundDrifts, drifts_in
from sentinel.pipeline.fit import Fit
from sentinel.pipeline.plain_settings import plain_settings, settings_of_plain
from sentinel.ports import Snapshot

STATE_EVERY_NS = 86_400_000_000_000
FIT_PART_NS = 2 * 3_600_000_000_000

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedState:
    """A state to begin a replay from.

    Attributes:
        at_ns: start of the first window that it decides.
        fit_version: of the fit in effect before it, 0 for none.
        state: what was learned.
        settings: what it was decided by.
    """

    at_ns: int
    fit_version: int
    state: DecisionState
    settings: DecisionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFit:
    """What is judged by from `at_ns` on.

    Attributes:
        at_ns: start of the first window.
        until_ns: end of the last window that it can judge.
        version: of the fit.
        profile: a part of it.
        rows: what it learned of series that were not ready; None where a state has it already.
        drifts: what it said of levels that moved over weeks; none where a state has heard it already.
    """

    at_ns: int
    until_ns: int
    version: int
    profile: Profile
    rows: DetectorState | None
    drifts: tuple[Drift, ...] = ()


class Recorder:
    """Writes the records of one live process; what cannot be written is the store's to count, and costs no window."""

    def __init__(self, store: StoreThread) -> None:
        self._store = store
        self._newest_ns = 0
        self._part_ns = (0, 0)
        self._is_due = False
        self._is_known = False

    async def before(
        self, at_ns: int, state: DecisionState, fit: Fit | None, settings: DecisionSettings
    ) -> None:
        """Before a window: record the part of the fit that judges it, and before the first one where windows begin."""
        if fit is not None and not self._is_covered(at_ns, at_ns + state.detector.step_ns):
            await self.fit(replace(fit, rows=None, drifts=()), at_ns)
        if self._is_known:
            return
        self._is_known = True
        self._newest_ns = await self._store.run(self._store.sync.newest_record_ns)
        if self._newest_ns == 0:
            await self.state(Snapshot(at_ns=at_ns, version=0, payload=state.to_bytes()), settings)

    async def state(self, snapshot: Snapshot, settings: DecisionSettings) -> None:
        """Record a state that was saved, if it is a day since the last, or the last is of a clock that was put back."""
        age_ns = snapshot.at_ns - self._newest_ns
        if self._newest_ns and not self._is_due and 0 <= age_ns < STATE_EVERY_NS:
            return
        payload = pack_arrays(
            {"state": np.frombuffer(snapshot.payload, np.int8)},
            {"format": _FORMAT, "settings": json.dumps(plain_settings(settings))},
        )
        await self._write(replace(snapshot, payload=payload), is_fit=False)
        self._newest_ns = snapshot.at_ns
        self._is_due = False

    def set_back(self) -> None:
        """The clock was put back: the next state is recorded, so that what follows can be replayed from there."""
        self._is_due = True

    async def fit(self, fit: Fit, at_ns: int) -> None:
        """Record what is judged by from `at_ns` on; `fit` still has its rows and drifts where a state has yet to take them."""
        until_ns = at_ns + FIT_PART_NS
        self._part_ns = (at_ns, until_ns)
        arrays: dict[str, Packed] = {
            "profile": _bytes(fit.profile.part(at_ns, until_ns).to_bytes()),
            **FoundDrifts(told=fit.drifts).arrays(),
        }
        if fit.rows is not None and fit.rows.series_count:
            # In pieces: of 10,000 series they are 17 MB, and as bytes of their own they were there twice.
            arrays["rows"] = fit.rows.pieces()
        payload = pack_arrays(arrays, {"format": _FORMAT, "until_ns": until_ns})
        await self._write(Snapshot(at_ns=at_ns, version=fit.version, payload=payload), is_fit=True)

    def _is_covered(self, at_ns: int, end_ns: int) -> bool:
        """Whether the last part judges the window too: not where the clock jumped, or no fit came, or it was put back."""
        begun_ns, until_ns = self._part_ns
        return begun_ns <= at_ns and end_ns <= until_ns

    async def _write(self, record: Snapshot, *, is_fit: bool) -> None:
        write = self._store.sync.record_fit if is_fit else self._store.sync.record_state
        try:
            await self._store.run(write, record)
        except StoreError:
            # The store has counted and logged why; a preview of this time begins later.
            return


def read_state(record: Snapshot) -> RecordedState:
    """A recorded state; ValueError when its bytes are damaged or of another format."""
    arrays, facts = _unpacked(record)
    return RecordedState(
        at_ns=record.at_ns,
        fit_version=record.version,
        state=DecisionState.from_bytes(arrays["state"].tobytes()),
        settings=settings_of_plain(json.loads(str(facts["settings"]))),
    )


def read_fit(record: Snapshot) -> RecordedFit:
    """A recorded part of a fit; ValueError when its bytes are damaged or of another format."""
    arrays, facts = _unpacked(record)
    rows = arrays.get("rows")
    return RecordedFit(
        at_ns=record.at_ns,
        until_ns=int(facts["until_ns"]),
        version=record.version,
        profile=Profile.from_bytes(arrays["profile"].tobytes()),
        rows=None if rows is None else state_from_bytes(rows.tobytes()),
        drifts=drifts_in(arrays),
    )


class Evidence:
    """What was put on pages, noted when live and given back in a replay: it does not follow from windows."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], _Attached] = {}
        self._missing: set[tuple[str, int]] = set()

    @property
    def missing_count(self) -> int:
        """Of how many pages it was asked, and nothing was noted."""
        return len(self._missing)

    def know(self, note: Mapping[str, Any]) -> None:
        """Take a note of what was put on a page, as `noted` made it.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        mover = note["mover"]
        self._known[str(note["incident"]), int(note["at_ns"])] = _Attached(
            first_mover=None if mover is None else FirstMover(**mover),
            exemplars=tuple(
                Exemplar(**{**one, "key": SeriesKey(*one["key"])}) for one in note["exemplars"]
            ),
            log_lines=tuple(LogLine(**one) for one in note["log_lines"]),
        )

    @staticmethod
    def noted(incident: Incident, at_ns: int) -> dict[str, Any]:
        """The facts of a note on what an incident carries at `at_ns`."""
        mover = incident.first_mover
        return {
            "incident": incident.incident_id,
            "at_ns": at_ns,
            "mover": None if mover is None else asdict(mover),
            "exemplars": [asdict(one) for one in incident.exemplars],
            "log_lines": [asdict(one) for one in incident.log_lines],
        }

    def attach(
        self,
        incident: Incident,
        open_incidents: Sequence[Incident],
        /,
        *,
        at_ns: int,
        step_ns: int,
    ) -> Incident:
        """The incident with what its page carried then; as `Attach`."""
        del open_incidents, step_ns
        place = (incident.incident_id, at_ns)
        known = self._known.get(place)
        if known is None:
            self._missing.add(place)
            return incident
        return replace(
            incident,
            first_mover=known.first_mover,
            exemplars=known.exemplars,
            log_lines=known.log_lines,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attached:
    first_mover: FirstMover | None
    exemplars: tuple[Exemplar, ...]
    log_lines: tuple[LogLine, ...]


def _bytes(data: bytes) -> np.ndarray[Any, np.dtype[np.int8]]:
    return np.frombuffer(data, np.int8)


def _unpacked(record: Snapshot) -> tuple[dict[str, Any], dict[str, int | float | str]]:
    arrays, facts = unpack_arrays(record.payload)
    if facts.get("format") != _FORMAT:
        msg = f"a record of format {facts.get('format')} cannot be read"
        raise ValueError(msg)
    return arrays, facts
