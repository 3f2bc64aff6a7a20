"""The messages of a store's preview as rows, and one-minute windows of a store as series to be replayed roughly."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from sentinel.core.incidents import factors_of, gate_words, primary
from sentinel.core.incidents.text import possible
from sentinel.core.model import (
    Page,
    PageReason,
    PageStatus,
    SeriesKey,
    Transition,
    TransitionKind,
    WindowBlock,
)
from sentinel.pipeline.preview import StorePreview, StoreView
from sentinel.pipeline.replay import ReplayedPage, ReplayedStop
from sentinel.pipeline.replay_grid import PlainSeries
from sentinel.pipeline.replay_stops import StopLog

_KINDS_OF = {
    PageReason.OPENED: (TransitionKind.OPENED, TransitionKind.JOINED),
    PageReason.WORSENED: (TransitionKind.WORSENED,),
    PageReason.REMINDER: (TransitionKind.REMINDED,),
}


def name_of(key: SeriesKey) -> str:
    """A series for people.

    >>> name_of(SeriesKey("pay", "edge", "POST /x", "errors"))
    'pay edge POST /x errors'
    """
    return " ".join(part for part in key if part)


def rows_of(found: StorePreview) -> list[ReplayedPage]:
    """The messages that would have gone out, in order of time; summaries of held pages and resolves left out."""
    changes: dict[str, list[Transition]] = {}
    resolved: dict[str, int] = {}
    for change in found.transitions:
        incident_id = change.incident.incident_id
        changes.setdefault(incident_id, []).append(change)
        if change.kind is TransitionKind.RESOLVED:
            resolved[incident_id] = change.at_ns
    rows: list[ReplayedPage] = []
    for page in found.pages:
        told = _of(page, changes.get(page.incident_id, []))
        if told is None:
            continue
        member = primary(told.incident)
        end_s = resolved.get(page.incident_id, found.end_ns) / 1e9
        if member is None:
            # Of a source, and not of what it measures.
            rows.append(
                ReplayedPage(
                    series=told.incident.group,
                    start_s=(told.at_ns - found.step_ns) / 1e9,
                    end_s=end_s,
                    score=math.nan,
                    direction=-1,
                    expected=math.nan,
                    value=math.nan,
                    severity=told.incident.severity,
                    reason=page.reason,
                    kind=told.incident.kind,
                )
            )
            continue
        rows.append(
            ReplayedPage(
                series=name_of(member.key),
                start_s=(told.at_ns - found.step_ns) / 1e9,
                end_s=end_s,
                score=member.peak_score,
                direction=member.direction,
                expected=possible(member.expected, member.key.signal),
                value=member.value,
                horizon_s=member.horizon_s,
                severity=told.incident.severity,
                reason=page.reason,
                kind=told.incident.kind,
                factors=factors_of(member, found.settings.incidents),
            )
        )
    return rows


def stops_of(found: StorePreview, log: StopLog) -> Iterator[ReplayedStop]:
    """What stood out and was not told, by series and time."""
    for run in log.close():
        key = found.keys[run.series_id]
        yield ReplayedStop(
            series=name_of(key),
            start_s=run.first_window * found.step_ns / 1e9,
            end_s=run.last_window * found.step_ns / 1e9,
            gate=run.gate,
            score=run.score,
            direction=run.direction,
            expected=run.expected,
            value=run.value,
            edge=run.edge,
            words=gate_words(run.gate, edge=run.edge, key=key),
        )


def coarse_series(
    view: StoreView, *, step_ns: int, start_ns: int, end_ns: int
) -> list[PlainSeries]:
    """The stored windows of one resolution as series, for a replay that does not know what live was judged by."""
    blocks = list(view.windows(step_ns=step_ns, start_ns=start_ns, end_ns=end_ns))
    keys = {row.series_id: row.key for row in view.series()}
    found: list[PlainSeries] = []
    for series_id, key in keys.items():
        parts = [part for block in blocks if (part := _column(block, series_id)) is not None]
        if not parts:
            continue
        time_ns, value, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        if len(time_ns) >= 2:
            found.append(
                PlainSeries(
                    name=name_of(key), time_ns=time_ns, value=value, weight=weight, key=key
                )
            )
    return found


def _column(
    block: WindowBlock, series_id: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    at = int(np.searchsorted(block.series, series_id))
    if at == len(block.series) or int(block.series[at]) != series_id:
        return None
    heard = block.heard[:, at]
    time_ns = block.start_ns + np.flatnonzero(heard) * block.step_ns
    return (
        time_ns,
        block.value[heard, at].astype(np.float64),
        np.maximum(block.weight[heard, at], 0).astype(np.float64),
    )


def _of(page: Page, changes: list[Transition]) -> Transition | None:
    """The change that the page tells of, taken out of `changes`; None for a resolve, or a summary of held pages."""
    if page.status is not PageStatus.FIRING:
        return None
    for at, change in enumerate(changes):
        if change.kind in _KINDS_OF.get(page.reason, ()):
            return changes.pop(at)
    return None
