"""Read-only JSON for people's tools: the latest verdicts, incidents, and how the process is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from sentinel.core.incidents import IncidentSettings, factors_of, page_of, primary
from sentinel.core.model import Incident, Kind, Member, PageReason, Reason
from sentinel.ports import Clock
from sentinel.runtime.http.server import Handler
from sentinel.web.health import describe_health, iso_time
from sentinel.web.metrics import latency_quantiles, verdict_columns
from sentinel.web.replies import QueryError, json_reply, read_count, read_query, render_error
from sentinel.web.sources import IncidentSource, LatestVerdicts, StatusSource, VerdictSource

LIMIT_MAX = 10_000
_SERIES_DEFAULT = 1000
_INCIDENTS_DEFAULT = 100
_INCIDENTS_MAX = 1000
_SLICE_ROWS = 500
_IN_UTC = IncidentSettings()
_Quantiles = Mapping[str, NDArray[np.float32]]
_KEY_FILTERS = ("service", "stage", "route", "signal")


class ApiPages:
    """`/api/v1/series`, `/api/v1/incidents` and `/api/v1/status`."""

    def __init__(
        self,
        *,
        verdicts: VerdictSource,
        incidents: IncidentSource,
        status: StatusSource,
        clock: Clock,
    ) -> None:
        self._verdicts = verdicts
        self._incidents = incidents
        self._status = status
        self._clock = clock

    @property
    def handlers(self) -> dict[str, Handler]:
        """Handler by path."""
        return {
            "/api/v1/series": _answering_bad_queries(self._series),
            "/api/v1/incidents": _answering_bad_queries(self._list_incidents),
            "/api/v1/status": _answering_bad_queries(self._show_status),
        }

    async def _series(self, request: web.BaseRequest) -> web.Response:
        query = read_query(request, {"limit", *_KEY_FILTERS})
        limit = read_count(query, "limit", default=_SERIES_DEFAULT, largest=LIMIT_MAX)
        latest = self._verdicts.latest_verdicts()
        if latest is None:
            return json_reply({"window": None, "total": 0, "series": []})
        positions = _matching(latest, query)
        score = latest.verdicts.score[0][positions]
        quantiles = {f"p{q * 100:g}": column for q, column in latency_quantiles(latest).items()}
        strangest = np.argsort(-np.where(np.isnan(score), -np.inf, score), kind="stable")[:limit]
        rows: list[dict[str, object]] = []
        for start in range(0, len(strangest), _SLICE_ROWS):
            chosen = positions[strangest[start : start + _SLICE_ROWS]]
            rows += _series_rows(latest, quantiles, chosen.tolist())
            await asyncio.sleep(0)
        window = {"start": iso_time(latest.block.start_ns), "end": iso_time(latest.block.end_ns)}
        return json_reply({"window": window, "total": len(positions), "series": rows})

    async def _list_incidents(self, request: web.BaseRequest) -> web.Response:
        query = read_query(request, {"limit", "state"})
        limit = read_count(query, "limit", default=_INCIDENTS_DEFAULT, largest=_INCIDENTS_MAX)
        state = query.get("state", "all")
        if state not in {"all", "open"}:
            msg = "parameter state must be all or open"
            raise QueryError(msg)
        incidents = await self._incidents.incidents(limit=limit, open_only=state == "open")
        return json_reply(
            {
                "mode": self._status.status().mode,
                "incidents": [describe_incident(incident) for incident in incidents],
            }
        )

    async def _show_status(self, request: web.BaseRequest) -> web.Response:
        read_query(request, frozenset())
        status = self._status.status()
        return json_reply(
            {
                "version": status.version,
                "mode": status.mode,
                "role": status.role,
                "started": iso_time(status.started_ns),
                "uptime_s": round((self._clock.now_ns() - status.started_ns) / 1e9, 3),
                "ready": status.ready,
                "waiting_for": list(status.waiting_for),
                "watermark": None
                if status.watermark_ns is None
                else iso_time(status.watermark_ns),
                "fit_version": status.fit_version,
                "overload": {
                    "shed": list(status.shed),
                    "since": None
                    if status.shed_since_ns is None
                    else iso_time(status.shed_since_ns),
                    "pressure_of": status.pressure[0],
                    "pressure": round(status.pressure[1], 3),
                },
                "components": {
                    name: describe_health(health, detailed=True)
                    for name, health in sorted(status.components.items())
                },
            }
        )


def _answering_bad_queries(
    handle: Callable[[web.BaseRequest], Awaitable[web.Response]],
) -> Handler:
    @wraps(handle)
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handle(request)
        except QueryError as error:
            return render_error(request, 400, str(error))

    return answer


def _matching(
    latest: LatestVerdicts, query: dict[str, str]
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    wanted = [(index, query[name]) for index, name in enumerate(_KEY_FILTERS) if name in query]
    if not wanted:
        return np.arange(len(latest.keys))
    return np.array(
        [
            position
            for position, key in enumerate(latest.keys)
            if all(key[index] == value for index, value in wanted)
        ],
        dtype=np.intp,
    )


def _series_rows(
    latest: LatestVerdicts, quantiles: _Quantiles, positions: list[int]
) -> list[dict[str, object]]:
    names = ("value", "expected", "lower", "upper", "score")
    columns = [column[positions].tolist() for column in verdict_columns(latest)]
    rows: list[dict[str, object]] = []
    for row, position in enumerate(positions):
        key = latest.keys[position]
        numbers = {name: _finite(column[row]) for name, column in zip(names, columns, strict=True)}
        rows.append(
            {
                **key._asdict(),
                "kind": Kind(int(latest.block.kind[position])).name.lower(),
                **numbers,
                "weight": _finite(float(latest.verdicts.weight[0, position])),
                "heard": bool(latest.block.heard[0, position]),
                "direction": int(latest.verdicts.direction[0, position]),
                "reason": Reason(int(latest.verdicts.reason[0, position])).name.lower(),
                **_durations(quantiles, position),
            }
        )
    return rows


def _durations(quantiles: _Quantiles, position: int) -> dict[str, dict[str, float]]:
    """Quantiles of the durations of the window's calls in seconds, where they are known."""
    known = {
        name: value
        for name, column in quantiles.items()
        if (value := _finite(float(column[position]))) is not None
    }
    return {"durations_s": known} if known else {}


def describe_incident(incident: Incident) -> dict[str, object]:
    """An incident as JSON, all that is known of it."""
    mover, first = incident.first_mover, primary(incident)
    return {
        "id": incident.incident_id,
        "group": incident.group,
        "kind": incident.kind.value,
        "severity": incident.severity.value,
        "state": incident.state.value,
        "opened": iso_time(incident.opened_ns),
        "paged": iso_time(incident.paged_ns),
        "resolution": None if incident.resolved_ns is None else incident.resolution.value,
        "level": incident.settled,
        "accepted": None
        if incident.accepted_ns is None
        else {"at": iso_time(incident.accepted_ns), "by": incident.accepted_by},
        "resolved": None if incident.resolved_ns is None else iso_time(incident.resolved_ns),
        **words_of(incident),
        # Which of the members the page speaks of first: not always the strangest.
        "primary": None if first is None else _member(first),
        "members": [_member(member) for member in incident.members],
        "first_mover": None
        if mover is None
        else {
            "service": mover.service,
            "stage": mover.stage,
            "route": mover.route,
            "signal": mover.signal,
            "at": iso_time(mover.at_ns),
            "lead_s": mover.lead_s,
        },
        "traces": [exemplar.trace_id for exemplar in incident.exemplars],
        "log_lines": [
            {
                "service": line.service,
                "time": iso_time(line.time_ns),
                "severity": line.severity,
                "event": line.event,
                "body": line.body,
                "trace_id": line.trace_id,
                "new": line.is_new,
            }
            for line in incident.log_lines
        ],
    }


def words_of(incident: Incident) -> dict[str, str]:
    """What a page says of it as it is now, so that whoever looks it up reads the same words; times in UTC."""
    page = page_of(
        incident,
        reason=PageReason.OPENED if incident.resolved_ns is None else PageReason.RESOLVED,
        sequence=0,
        member_count=len(incident.members),
        settings=_IN_UTC,
    )
    return {name: page.annotations.get(name, "") for name in ("summary", "description")}


def _member(member: Member) -> dict[str, object]:
    return {
        **member.key._asdict(),
        "direction": member.direction,
        "first": iso_time(member.first_ns),
        "last": iso_time(member.last_ns),
        "peak_score": _finite(member.peak_score),
        "value": _finite(member.value),
        "horizon_s": member.horizon_s,
        "expected": _finite(member.expected),
        "lower": _finite(member.lower),
        "upper": _finite(member.upper),
        "why": member.why,
        "beside": member.beside,
        "factors": factors_of(member, _IN_UTC),
    }


def _finite(number: float) -> float | None:
    # JSON has neither NaN nor infinity; what is unknown is null.
    return number if math.isfinite(number) else None
