"""What the incident half of a decision remembers between windows, and how it is written down.

The bytes are the same for the same state, so that snapshots can be compared; floats are hexadecimal, so that
not a bit is lost. What can be worked out from the series of the next block (the layout) is not kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.incidents.drifting import Drifting
from sentinel.core.incidents.falls import Fall
from sentinel.core.incidents.grouping import OpenIncident
from sentinel.core.incidents.guards import GuardState, no_runs
from sentinel.core.incidents.hysteresis import Sighting
from sentinel.core.incidents.layout import Layout
from sentinel.core.incidents.stops import StopState
from sentinel.core.incidents.storm import Storm
from sentinel.core.model import (
    Drift,
    Exemplar,
    FirstMover,
    Incident,
    IncidentKind,
    IncidentState,
    LogLine,
    Member,
    SeriesKey,
    Severity,
    View,
)

_FORMAT = 3
_SERIES_RUNS = (
    "over_count",
    "over_calls",
    "over_first_ns",
)
_STOP_RUNS = tuple(entry.name for entry in fields(StopState) if entry.name != "week")
_SERVICE_RUNS = ("heard_count", "unheard_count", "late_count", "since_late_count")
_FLOATS = {"peak_score", "score", "value", "expected", "lower", "upper", "weight"}


def _no_series() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerState:
    """State between two windows; a fresh one is `TrackerState()`.

    Attributes:
        series: int64[S], the columns that `guards` is about.
        services: the rows that the service half of `guards` is about.
        guards: runs of windows.
        entries: open incidents, oldest first.
        pending: falls of traffic that are not believed yet.
        drifting: what fits said of levels that move over weeks.
        storm: the cap on pages.
        end_ns: end of the last window, 0 before the first.
        layout: of the last block; worked out again when it is None.
    """

    series: NDArray[np.int64] = field(default_factory=_no_series)
    services: tuple[str, ...] = ()
    guards: GuardState = field(default_factory=lambda: no_runs(0, 0))
    entries: tuple[OpenIncident, ...] = ()
    pending: tuple[Fall, ...] = ()
    drifting: Drifting = field(default_factory=Drifting)
    storm: Storm = field(default_factory=Storm)
    end_ns: int = 0
    layout: Layout | None = None

    def open_incidents(self) -> tuple[Incident, ...]:
        """The incidents that are open, oldest first, with every member."""
        return tuple(
            replace(entry.incident, members=tuple(entry.members.values()))
            for entry in self.entries
        )


def aligned(state: TrackerState, layout: Layout) -> TrackerState:
    """The state with its rows in the order of a layout; series and services it has not met start afresh."""
    guards = no_runs(len(layout.series), len(layout.services))
    rows = {
        name: _moved(getattr(state.guards, name), state.series, layout.series)
        for name in _SERIES_RUNS
    }
    stops = {
        name: _moved(getattr(state.guards.stops, name), state.series, layout.series)
        for name in _STOP_RUNS
    }
    old = {service: at for at, service in enumerate(state.services)}
    at_new = [at for at, service in enumerate(layout.services) if service in old]
    at_old = [old[layout.services[at]] for at in at_new]
    for name in _SERVICE_RUNS:
        row = getattr(guards, name).copy()
        row[at_new] = getattr(state.guards, name)[at_old]
        rows[name] = row
    return replace(
        state,
        series=layout.series,
        services=layout.services,
        guards=GuardState(
            **rows, stops=replace(guards.stops, **stops, week=state.guards.stops.week)
        ),
        layout=layout,
    )


def _moved(row: NDArray[Any], old: NDArray[np.int64], new: NDArray[np.int64]) -> NDArray[Any]:
    result = np.zeros((*row.shape[:-1], len(new)), dtype=row.dtype)
    if len(old):
        at = np.minimum(np.searchsorted(old, new), len(old) - 1)
        known = old[at] == new
        result[..., known] = row[..., at[known]]
    return result


def to_bytes(state: TrackerState) -> bytes:
    """The state as bytes that `from_bytes` reads."""
    guards = state.guards
    document = {
        "format": _FORMAT,
        "series": state.series.tolist(),
        "services": list(state.services),
        "guards": {
            name: _row_out(getattr(guards, name)) for name in (*_SERIES_RUNS, *_SERVICE_RUNS)
        },
        "stops": {name: _row_out(getattr(guards.stops, name)) for name in _STOP_RUNS},
        "week": guards.stops.week,
        "entries": [_entry_out(entry) for entry in state.entries],
        "pending": [_fall_out(fall) for fall in state.pending],
        "drifts": {
            "pending": [_drift_out(drift) for drift in state.drifting.pending],
            "told_ns": sorted(state.drifting.told_ns.items()),
        },
        "end_ns": state.end_ns,
        "storm": {
            "recent_ns": list(state.storm.recent_ns),
            "opened_ns": state.storm.opened_ns,
            "sequence": state.storm.sequence,
            "told_ns": state.storm.told_ns,
            "told": sorted(state.storm.told),
        },
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def from_bytes(payload: bytes) -> TrackerState:
    """The state that was written.

    Raises:
        ValueError: the bytes are not such a state, or of another format.
    """
    try:
        document = json.loads(payload)
        if document["format"] != _FORMAT:
            msg = f"incident state has format {document['format']}, expected {_FORMAT}"
            raise ValueError(msg)
        rows = {name: _row_in(row) for name, row in document["guards"].items()}
        stops = {name: _row_in(row) for name, row in document["stops"].items()}
        storm = document["storm"]
        return TrackerState(
            series=np.array(document["series"], dtype=np.int64),
            services=tuple(document["services"]),
            guards=GuardState(**rows, stops=StopState(**stops, week=document["week"])),
            entries=tuple(_entry_in(entry) for entry in document["entries"]),
            pending=tuple(_fall_in(fall) for fall in document["pending"]),
            drifting=_drifting_in(document.get("drifts")),
            storm=Storm(
                recent_ns=tuple(storm["recent_ns"]),
                opened_ns=storm["opened_ns"],
                sequence=storm["sequence"],
                told_ns=storm["told_ns"],
                told=frozenset(storm["told"]),
            ),
            end_ns=document["end_ns"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        msg = f"incident state is damaged: {error!r}"
        raise ValueError(msg) from error


def _row_out(row: NDArray[Any]) -> dict[str, Any]:
    """A row, or some; of those that are mostly the same only what differs."""
    flat = row.ravel()
    common = flat[0] if flat.size else row.dtype.type(0)
    place = np.flatnonzero((flat != common) & ~((flat != flat) & (common != common)))
    numbers = [common.item(), *flat[place].tolist()]
    if row.dtype.kind == "f":
        numbers = [float(number).hex() for number in numbers]
    return {
        "shape": list(row.shape),
        "common": numbers[0],
        "at": place.tolist(),
        "is": numbers[1:],
    }


def _row_in(plain: dict[str, Any]) -> NDArray[Any]:
    numbers: list[Any] = [plain["common"], *plain["is"]]
    if isinstance(plain["common"], str):
        numbers = [float.fromhex(text) for text in numbers]
    row = np.full(plain["shape"], numbers[0])
    row.ravel()[np.array(plain["at"], np.int64)] = numbers[1:]
    return row


def _entry_out(entry: OpenIncident) -> dict[str, Any]:
    incident = entry.incident
    mover = incident.first_mover
    return {
        "incident_id": incident.incident_id,
        "group": incident.group,
        "kind": incident.kind.value,
        "severity": incident.severity.value,
        "opened_ns": incident.opened_ns,
        "paged_ns": incident.paged_ns,
        "mover": None
        if mover is None
        else [
            mover.service,
            mover.stage,
            mover.route,
            mover.signal,
            mover.at_ns,
            mover.lead_s.hex(),
        ],
        "exemplars": [
            [item.trace_id, list(item.key), item.time_ns, item.duration_s.hex(), item.error]
            for item in incident.exemplars
        ],
        "log_lines": [
            [
                item.service,
                item.time_ns,
                item.severity,
                item.event,
                item.body,
                item.trace_id,
                item.template,
                item.is_new,
            ]
            for item in incident.log_lines
        ],
        "members": [_plain(member) for member in entry.members.values()],
        "active_until_ns": entry.active_until_ns,
        "sequence": entry.sequence,
        "last_page_ns": entry.last_page_ns,
        "paged_peak_score": float(entry.paged_peak_score).hex(),
        "paged_horizon_s": entry.paged_horizon_s,
        "paged_stages": sorted(entry.paged_stages),
        "paged_whys": sorted(entry.paged_whys),
        "next_reminder_ns": entry.next_reminder_ns,
        "reminder_gap_ns": entry.reminder_gap_ns,
    }


def _entry_in(document: dict[str, Any]) -> OpenIncident:
    mover = document["mover"]
    members = [Member(**_fields(member)) for member in document["members"]]
    incident = Incident(
        incident_id=document["incident_id"],
        group=document["group"],
        kind=IncidentKind(document["kind"]),
        severity=Severity(document["severity"]),
        state=IncidentState.OPEN,
        opened_ns=document["opened_ns"],
        paged_ns=document["paged_ns"],
        first_mover=None
        if mover is None
        else FirstMover(
            service=mover[0],
            stage=mover[1],
            route=mover[2],
            signal=mover[3],
            at_ns=mover[4],
            lead_s=float.fromhex(mover[5]),
        ),
        exemplars=tuple(
            Exemplar(
                trace_id=item[0],
                key=SeriesKey(*item[1]),
                time_ns=item[2],
                duration_s=float.fromhex(item[3]),
                error=item[4],
            )
            for item in document["exemplars"]
        ),
        log_lines=tuple(
            LogLine(
                service=item[0],
                time_ns=item[1],
                severity=item[2],
                event=item[3],
                body=item[4],
                trace_id=item[5],
                # What an earlier version wrote ends here.
                template=item[6] if len(item) > 6 else "",
                is_new=item[7] if len(item) > 7 else False,
            )
            for item in document["log_lines"]
        ),
    )
    return OpenIncident(
        incident=incident,
        members={member.series_id: member for member in members},
        active_until_ns=document["active_until_ns"],
        sequence=document["sequence"],
        last_page_ns=document["last_page_ns"],
        paged_peak_score=float.fromhex(document["paged_peak_score"]),
        # What an earlier version wrote does not say.
        paged_horizon_s=document.get("paged_horizon_s", 0),
        paged_stages=frozenset(document["paged_stages"]),
        paged_whys=frozenset(document["paged_whys"]),
        next_reminder_ns=document["next_reminder_ns"],
        reminder_gap_ns=document["reminder_gap_ns"],
    )


def _fall_out(fall: Fall) -> dict[str, Any]:
    return {
        "sighting": _plain(fall.sighting),
        "seen_count": fall.seen_count,
        "after_silence": fall.after_silence,
    }


def _fall_in(document: dict[str, Any]) -> Fall:
    return Fall(
        sighting=Sighting(**_fields(document["sighting"])),
        seen_count=document["seen_count"],
        after_silence=document["after_silence"],
    )


def _drift_out(drift: Drift) -> list[Any]:
    return [drift.series_id, *(float(level).hex() for level in (drift.before, *drift.weeks))]


def _drifting_in(document: dict[str, Any] | None) -> Drifting:
    # What an earlier version wrote knows of none.
    if document is None:
        return Drifting()
    pending = []
    for series_id, *levels in document["pending"]:
        before, *weeks = (float.fromhex(level) for level in levels)
        pending.append(Drift(series_id=series_id, before=before, weeks=tuple(weeks)))
    return Drifting(
        pending=tuple(pending),
        told_ns=dict(document["told_ns"]),
    )


def _plain(value: Member | Sighting) -> dict[str, Any]:
    """The fields of a flat value; floats, which JSON would round or refuse, as hexadecimal text."""
    plain: dict[str, Any] = {}
    for field_ in fields(value):
        content = getattr(value, field_.name)
        if field_.name in _FLOATS:
            content = float(content).hex()
        elif field_.name == "views":
            content = int(content)
        plain[field_.name] = list(content) if field_.name == "key" else content
    return plain


def _fields(plain: dict[str, Any]) -> dict[str, Any]:
    """The fields that `_plain` wrote."""
    content: dict[str, Any] = {
        name: float.fromhex(text) if name in _FLOATS else text for name, text in plain.items()
    }
    # What an earlier version wrote has no views.
    views = View(content.get("views", 0))
    if "lasting" in content:
        content["lasting"] = tuple((length_s, score) for length_s, score in content["lasting"])
    return {**content, "key": SeriesKey(*plain["key"]), "views": views}
