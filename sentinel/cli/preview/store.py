"""`sentinel preview` over a store or a snapshot: what live decided, decided once more."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sentinel.app.config import load_config
from sentinel.app.deciding import decision_settings
from sentinel.cli.preview.blind import unjudged_said
from sentinel.cli.preview.calendar import calendar_of
from sentinel.cli.preview.clock import (
    ShownClock,
    clock_of_calendar,
    clock_of_pages,
    clock_of_zone,
)
from sentinel.cli.preview.source import END_NS, Span, span_of
from sentinel.core.decide import Decision, DecisionSettings
from sentinel.core.model import Kind, Reason, WindowBlock
from sentinel.core.scoring import Sensitivity
from sentinel.errors import StoreError
from sentinel.pipeline.blind_spots import BlindSpots
from sentinel.pipeline.models import BaselineConfig
from sentinel.pipeline.recording import read_state
from sentinel.pipeline.replay import Replayed, StorePreview, preview_store, replay
from sentinel.pipeline.replay.rows import summary_count
from sentinel.pipeline.replay.stops import StopLog
from sentinel.pipeline.replay.stored_pages import coarse_series, name_of, rows_of, stops_of
from sentinel.storage.sqlite.excerpt import check_excerpt, write_excerpt
from sentinel.storage.sqlite.reader import StoreReader

_MINUTE_NS = 60_000_000_000
_STOPS_MAX = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReplay:
    """A preview over a store.

    Attributes:
        replayed: its messages and what else is shown.
        days: how long each series is.
        said: sentences for the person who asked: why it may differ from live, what was written.
        clock: what a person reads its instants by.
    """

    replayed: Replayed
    days: dict[str, float]
    said: list[str]
    clock: ShownClock


def replay_of_store(args: argparse.Namespace) -> StoreReplay:
    """Replay what the options name.

    Raises:
        StoreError: the store cannot be read, or holds nothing to begin from.
        ConfigError, CalendarError: the configuration or the calendar is wrong.
        InputTooLargeError: there are too many windows.
    """
    place: Path = args.store or args.snapshot
    _check_target(args)
    if args.snapshot is not None:
        check_excerpt(args.snapshot)
    with StoreReader(place) as reader:
        shown = _coarse(args, reader) if args.coarse else _exact(args, reader)
        if args.save_snapshot is not None:
            shown.said.append(_saved(args, place, reader))
        if args.coarse and reader.damaged_count:
            shown.said.append(f"{reader.damaged_count} damaged pieces of the store were skipped")
    return shown


def _exact(args: argparse.Namespace, reader: StoreReader) -> StoreReplay:
    step_ns = _step_ns(reader)
    span = span_of(args, reader, step_ns=step_ns)
    spots, scored = BlindSpots(), Counter[int]()
    logs: list[StopLog] = []

    def note(block: WindowBlock, decision: Decision) -> None:
        if not logs:
            hold_ns = settings_now.incidents.hold_of(block.step_ns)
            logs.append(StopLog(hold_windows=hold_ns // block.step_ns, runs_max=_STOPS_MAX))
        logs[0].note(decision.verdicts)
        spots.note(decision.verdicts)
        counts = np.count_nonzero(decision.verdicts.reason == int(Reason.SCORED), axis=0)
        scored.update(dict(zip(block.series.tolist(), counts.tolist(), strict=True)))

    changed = _changed_settings(args, reader, span)
    settings_now = changed or DecisionSettings()
    found = preview_store(
        reader, from_ns=span.from_ns, to_ns=span.to_ns, on_decided=note, settings=changed
    )
    blind_spots = {name_of(found.keys[spot.series_id]): spot for spot in spots.spots()}
    return StoreReplay(
        replayed=Replayed(
            pages=rows_of(found),
            scored_count={name_of(found.keys[one]): count for one, count in scored.items()},
            stops=[stop for log in logs for stop in stops_of(found, log)],
            stops_dropped_count=sum(log.dropped_count for log in logs),
            blind_spots=blind_spots,
            summary_count=summary_count(found.pages, found.transitions),
        ),
        days=dict.fromkeys(
            (name_of(found.keys[one]) for one in scored), (found.end_ns - found.from_ns) / 86.4e12
        ),
        said=[
            _span_said(found),
            *(f"this may differ from live: {why}" for why in found.doubts),
            *unjudged_said(blind_spots),
        ],
        clock=_clock(args, found),
    )


def _coarse(args: argparse.Namespace, reader: StoreReader) -> StoreReplay:
    span = span_of(args, reader, step_ns=_MINUTE_NS)
    series = coarse_series(
        reader, step_ns=_MINUTE_NS, start_ns=span.from_ns or 0, end_ns=span.to_ns
    )
    settings = _configured(args, reader) or DecisionSettings()
    if args.sensitivity is not None:
        cut_scale = Sensitivity(args.sensitivity).cut_scale
        settings = replace(settings, scoring=replace(settings.scoring, cut_scale=cut_scale))
    calendar = calendar_of(args, series)
    baseline = BaselineConfig()
    if args.config is not None:
        baseline = load_config(args.config).config.baseline
    replayed = replay(
        series,
        kind=Kind.GAUGE,
        settings=settings,
        models=baseline.settings(),
        calendar=calendar,
        drift_ratio=baseline.drift_ratio,
    )
    days = {one.name: (int(one.time_ns[-1]) - int(one.time_ns[0])) / 86.4e12 for one in series}
    said = ["windows of a minute, from nothing learned on: close to what live decided, not equal"]
    if not series:
        said.append(
            "no window of a minute is stored in that span: a sidecar writes them, a backfill does not"
        )
    until_ns = max((int(one.time_ns[-1]) for one in series), default=0)
    clock = clock_of_calendar(calendar, until_ns=until_ns)
    return StoreReplay(replayed=replayed, days=days, said=said, clock=clock)


def _clock(args: argparse.Namespace, found: StorePreview) -> ShownClock:
    """That of the configuration's calendar, or of the pages that live sent."""
    if args.config is None:
        return clock_of_pages(found.settings.incidents, until_ns=found.end_ns)
    config = load_config(args.config).config
    zone = config.calendar.zone or config.zone
    return clock_of_zone(zone, from_ns=found.begun_ns, until_ns=found.end_ns)


def _changed_settings(
    args: argparse.Namespace, reader: StoreReader, span: Span
) -> DecisionSettings | None:
    """What to decide by instead of what live decided by; None for the same."""
    settings = _configured(args, reader)
    if args.sensitivity is None:
        return settings
    if settings is None:
        record = reader.state_before(span.from_ns or 0)
        settings = DecisionSettings() if record is None else read_state(record).settings
    cut_scale = Sensitivity(args.sensitivity).cut_scale
    return replace(settings, scoring=replace(settings.scoring, cut_scale=cut_scale))


def _configured(args: argparse.Namespace, reader: StoreReader) -> DecisionSettings | None:
    if args.config is None:
        return None
    newest_ns = max((end_ns for _, _, end_ns in reader.history_span()), default=0)
    return decision_settings(load_config(args.config).config, now_ns=newest_ns, asked_by="")


def _step_ns(reader: StoreReader) -> int:
    record = reader.state_before(END_NS)
    return 0 if record is None else read_state(record).state.detector.step_ns


def _check_target(args: argparse.Namespace) -> None:
    """Before anything is replayed."""
    if args.save_snapshot is None:
        return
    if args.snapshot is not None or args.coarse:
        msg = "--save-snapshot copies a store, not a snapshot or windows of a minute"
        raise StoreError(msg)
    if args.save_snapshot.exists():
        msg = f"{args.save_snapshot} is there already, and is not written over"
        raise StoreError(msg)


def _saved(args: argparse.Namespace, place: Path, reader: StoreReader) -> str:
    step_ns = _step_ns(reader)
    span = span_of(args, reader, step_ns=step_ns)
    record = reader.state_before(span.from_ns or 0)
    if record is None:
        msg = "there is no recorded state to begin a snapshot from"
        raise StoreError(msg)
    size = write_excerpt(
        place,
        args.save_snapshot,
        step_ns=step_ns,
        start_ns=record.at_ns,
        end_ns=span.to_ns,
        from_ns=span.from_ns,
    )
    return f"{args.save_snapshot} written, {size / 1e6:.1f} MB"


def _span_said(found: StorePreview) -> str:
    if found.end_ns <= found.from_ns:
        return "no window is stored in that span"
    minutes = (found.end_ns - found.from_ns) / 60e9
    equal = "equal to what live decided" if not found.doubts else "see below"
    return f"{minutes:.0f} min of windows of {found.step_ns / 1e9:g} s, {equal}"
