"""The work of a fit, done in a child process: stored history in, profile and primed state out.

Besides the profile, series that cannot be judged yet are primed: the scorer runs over their history of
5-minute windows as it would have run then, and what it learned is converted to live windows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import (
    BIN_NS,
    LAG_DAYS,
    Calendar,
    Model,
    Profile,
    SlowBounds,
    SpecialDays,
    at_present_level,
    fit_fourier_or_profile,
    fit_on_wall_clock,
    fit_profile,
    joined,
    quarantined,
    selected,
    wall_clock_start,
)
from sentinel.core.decide import DecisionState
from sentinel.core.model import (
    SHARE_KINDS,
    AdoptedLevels,
    Drift,
    Incident,
    SeriesKey,
    WindowBlock,
)
from sentinel.core.scoring import (
    DetectorState,
    Grid,
    ScoringSettings,
    adopted_levels,
    advance,
    borrowed_rows,
    copy_rows,
    demands_of,
    follow_clock,
    gathered,
    learn,
    look_far,
    new_state,
    score,
    span,
    state_from_bytes,
    take_far,
)
from sentinel.core.stats.packing import pack_arrays, unpack_arrays
from sentinel.pipeline.drift_fit import DRIFT_RATIO, DriftSearch, drifts_in
from sentinel.pipeline.models import Foretell, Models, ModelSettings
from sentinel.pipeline.seasons import stored_special_days
from sentinel.pipeline.slow_fit import HistogramReader, fit_slow_bounds
from sentinel.ports import SeriesRow, Snapshot

DAY_NS = 86_400_000_000_000
PRIME_DAYS = 14
"""How much history a series is primed with; the scales remember as many days."""
HISTORY_DAYS = LAG_DAYS[-1] + PRIME_DAYS
"""What a fit reads."""

_TILE_SERIES = 400
_READ_SERIES = 800
"""80 MB of six weeks, values and calls. Stored chunks hold all series, so each reading unpacks all of them; two are held."""
_FORMAT = 1
FIT_INCIDENTS_MAX = 10_000
"""The newest; older ones are hardly within the weeks that a fit looks back."""

_ENOUGH_CALLS = 1e6
"""A stored window of 5 minutes was made of windows that counted; it is not judged by its calls again.

Shares of calls are, because of how many calls they are says how far they spread; where that is not known they count as many.
"""


class HistoryReader(Protocol):
    """What of a store is read to learn from its windows."""

    def series(self) -> list[SeriesRow]:
        """Every registered series, by id."""
        ...

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """Stored windows, in time order."""
        ...

    def incidents(self, *, limit: int) -> list[Incident]:
        """Newest first."""
        ...

    def states(self, *, limit: int = 2) -> list[Snapshot]:
        """The newest states, newest first."""
        ...

    def fits(self, *, limit: int = 2) -> list[Snapshot]:
        """The newest fits, newest first."""
        ...


class FitReader(HistoryReader, HistogramReader, Protocol):
    """What of a store a fit reads."""


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


def fit_from_snapshot(snapshot: Snapshot) -> Fit:
    """A fit from its stored bytes; ValueError when they are damaged or of another format."""
    parts, facts = unpack_arrays(snapshot.payload)
    if facts.get("format") != _FORMAT or not {"profile", "rows"} <= set(parts):
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


def fit_payload(
    reader: FitReader,
    *,
    now_ns: int,
    version: int,
    step_ns: int,
    settings: ScoringSettings,
    models: ModelSettings | None = None,
    foretell: Foretell | None = None,
    calendar: Calendar | None = None,
    drift_ratio: float = DRIFT_RATIO,
) -> bytes | None:
    """Fit every series that has history, and prime those that are not ready; None without any history.

    Args:
        reader: the store.
        now_ns: up to where the past is known.
        version: number of the fit.
        step_ns: width of the live windows.
        settings: what live windows are scored by; what is primed is learned by the same.
        models: which series are expected by another model than the profile.
        foretell: asks statsmodels; None where it is not installed, or not needed.
        calendar: the wall clock that seasons follow, and days that are not like others; None for UTC without any.
        drift_ratio: how many times the level of four weeks ago is a drift; 0 looks for none.
    """
    rows_of = reader.series()
    keys = {row.series_id: row.key for row in rows_of}
    ids = np.array(list(keys), np.int64)
    settings_of_models = models or ModelSettings()
    calendar = calendar or Calendar()
    special = stored_special_days(reader, ids, calendar=calendar, now_ns=now_ns)
    state = newest_state(reader)
    ready = np.zeros(0, np.int64)
    if state is not None and state.detector.step_ns == step_ns:
        ready = state.ready()
    levels = None if state is None else adopted_levels(state.detector, state.parked)
    # Without a state nobody knows of adopted levels, and none is to be put on what was learnt with them.
    levels_ns = now_ns if state is None else state.detector.next_ns
    del state
    chosen = models_at(
        settings_of_models,
        keys,
        now_ns=now_ns,
        calendar=calendar,
        levels=levels,
        kept=_kept(reader, calendar) if settings_of_models.has(Model.MSTL) else None,
        foretell=foretell,
    )
    profiles: list[Profile] = []
    rows: list[DetectorState] = []
    incidents = reader.incidents(limit=FIT_INCIDENTS_MAX)
    search = DriftSearch(incidents, keys, ratio=drift_ratio, settings=settings, calendar=calendar)
    for history in _histories(reader, ids, now_ns=now_ns):
        profile, left_out = fit_seasons(
            history,
            incidents,
            keys,
            now_ns=now_ns,
            version=version,
            special=special,
            models=chosen,
            levels=levels,
        )
        profiles.append(_known(profile))
        search.look(history, left_out)
        unready = ~np.isin(history.series, ready)
        curved = chosen.chosen(history.series, Model.FOURIER)
        for wanted, fit in (
            (unready & ~curved, fit_profile),
            (unready & curved, fit_fourier_or_profile),
        ):
            if wanted.any():
                seasonal = partial(fit_on_wall_clock, special=special, fit=fit)
                learned = learned_from(
                    history.select(wanted),
                    settings=settings,
                    fit=seasonal,
                    keys=keys,
                    left_out=None if left_out is None else left_out[:, wanted],
                )
                rows.append(borrowed_rows(learned, step_ns=step_ns, settings=settings))
    if not profiles or not sum(len(profile.series) for profile in profiles):
        return None
    primed = _joined_rows(rows, step_ns=step_ns)
    parts: dict[str, NDArray[np.generic]] = {
        "profile": np.frombuffer(
            replace(joined(profiles), levels_ns=levels_ns).to_bytes(), np.int8
        ),
        "rows": np.frombuffer(primed.to_bytes(), np.int8),
    }
    if (said := chosen.kept_bytes()) is not None:
        parts["mstl"] = np.frombuffer(said, np.int8)
    told = json.dumps({"used": chosen.used, "fallbacks": chosen.fallbacks})
    facts: dict[str, int | float | str] = {
        "format": _FORMAT,
        "models": told,
        "calendar": calendar.digest,
    }
    drifts = search.found()
    parts |= drifts.arrays()
    facts["drifts_dropped"] = drifts.dropped_count
    slow = fit_slow_bounds(
        reader,
        rows_of,
        incidents,
        now_ns=now_ns,
        calendar=calendar,
        kept=_kept_bounds(reader, calendar),
    )
    if slow is not None:
        facts["slow_start_ns"] = slow.start_ns
        parts |= {"slow_series": slow.series, "slow_bucket": slow.bucket.astype(np.int32)}
    return pack_arrays(parts, facts)


def models_at(
    settings: ModelSettings,
    keys: Mapping[int, SeriesKey],
    *,
    now_ns: int,
    calendar: Calendar,
    kept: memoryview | None = None,
    foretell: Foretell | None = None,
    levels: AdoptedLevels | None = None,
) -> Models:
    """The models of a fit at `now_ns`: they are asked on the wall clock. The other arguments are those of `Models`."""
    local_ns = wall_clock_start(now_ns, BIN_NS, calendar) + now_ns % BIN_NS
    return Models(
        settings,
        keys,
        now_ns=local_ns,
        kept=kept,
        foretell=foretell,
        changed_ns=None if levels is None else levels.changed_ns(local_ns - now_ns),
    )


def fit_seasons(
    history: WindowBlock,
    incidents: Sequence[Incident],
    keys: Mapping[int, SeriesKey],
    *,
    now_ns: int,
    version: int,
    special: SpecialDays,
    models: Models,
    levels: AdoptedLevels | None = None,
) -> tuple[Profile, NDArray[np.bool_] | None]:
    """What a fit at `now_ns` expects of some series, and which windows of their history it left out; see `quarantined`.

    Args:
        history: windows of the past.
        incidents: as they were known at `now_ns`.
        keys: names by series id.
        now_ns: up to where the past is known.
        version: number of the fit.
        special: the wall clock and its special days.
        models: which series are expected by what, from `models_at`.
        levels: what was adopted until `now_ns`; None for nothing.
    """
    left_out = quarantined(incidents, history, keys, at_ns=now_ns)
    history, left_out = at_present_level(history, left_out, levels, at_ns=now_ns)
    profile = fit_on_wall_clock(
        history,
        at_ns=now_ns,
        version=version,
        special=special,
        fit=models.fit,
        left_out=left_out,
    )
    return profile, left_out


def learned_from(
    history: WindowBlock,
    *,
    settings: ScoringSettings,
    fit: Callable[..., Profile] = fit_profile,
    keys: Mapping[int, SeriesKey] | None = None,
    left_out: NDArray[np.bool_] | None = None,
) -> DetectorState:
    """What the scorer knows after a history, its profile refitted each day from what came before.

    Without `keys` the settings of single series are not looked at.
    """
    base_cut = Grid(step_ns=history.step_ns).base_cut(settings)
    state = new_state(history.series, step_ns=history.step_ns, base_cut=base_cut)
    rules = settings.series_rules if keys else ()
    state.demands = demands_of(None, state.series, keys or {}, rules)
    at = max(0, history.window_count - PRIME_DAYS * DAY_NS // history.step_ns)
    calm = np.zeros(history.series_count, np.bool_)
    profile = None
    whole = gathered(state, history.windows(at, history.window_count), settings=settings)
    first = at
    while at < history.window_count:
        rest = whole.block.windows(at - first, whole.block.window_count)
        if (
            profile is None
            or rest.start_ns // DAY_NS > (rest.start_ns - history.step_ns) // DAY_NS
        ):
            profile = fit(
                history,
                at_ns=rest.start_ns,
                version=0,
                horizon_ns=DAY_NS + history.step_ns,
                left_out=left_out,
            )
            follow_clock(state, profile.clock, hour=state.hour)
        advance(state, rest, settings=settings)
        count = span(state, rest)
        piece = whole.windows(at - first, at - first + count)
        foreseen = profile.expectation(piece.block)
        raw = history.windows(at, at + count)
        far = look_far(state, raw, foreseen, frozen=calm, settings=settings)
        scored = score(
            state,
            piece.block,
            foreseen,
            frozen=calm,
            settings=settings,
            standing=piece.standing,
        )
        learn(
            state,
            scored,
            window_count=count,
            open_incident=calm,
            settings=settings,
        )
        take_far(state, far)
        at += count
    return state


def _kept_bounds(reader: HistoryReader, calendar: Calendar) -> SlowBounds | None:
    """What counted as slow at the fit before; None when it cannot be read, or under another calendar."""
    for snapshot in reader.fits(limit=1):
        try:
            parts, facts = unpack_arrays(snapshot.payload)
        except ValueError:
            return None
        return _slow_of(parts, facts) if facts.get("calendar") == calendar.digest else None
    return None


def _kept(reader: HistoryReader, calendar: Calendar) -> memoryview | None:
    """What MSTL said at the fits before; None when nothing, when it cannot be read, or under another calendar."""
    for snapshot in reader.fits(limit=1):
        try:
            parts, facts = unpack_arrays(snapshot.payload)
        except ValueError:
            break
        if "mstl" in parts and facts.get("calendar", Calendar().digest) == calendar.digest:
            return parts["mstl"].data.cast("B")
    return None


def newest_state(reader: HistoryReader) -> DecisionState | None:
    """The newest stored state; None where there is none that can be read."""
    for snapshot in reader.states(limit=1):
        try:
            return DecisionState.from_bytes(snapshot.payload)
        except ValueError:
            break
    return None


def _histories(
    reader: HistoryReader, ids: NDArray[np.int64], *, now_ns: int
) -> Iterator[WindowBlock]:
    """The history of all series, some hundred at a time. The next ones are read while these are worked on: half of a fit is reading."""
    groups = [ids[first : first + _READ_SERIES] for first in range(0, len(ids), _READ_SERIES)]
    with ThreadPoolExecutor(1) as pool:

        def begun(at: int) -> Future[WindowBlock | None] | None:
            if at >= len(groups):
                return None
            return pool.submit(read_history, reader, groups[at], now_ns=now_ns)

        reading = begun(0)
        for at in range(len(groups)):
            assert reading is not None
            history = reading.result()
            reading = begun(at + 1)
            if history is None:
                continue
            for first in range(0, history.series_count, _TILE_SERIES):
                yield history.columns(first, min(first + _TILE_SERIES, history.series_count))


def read_history(
    reader: HistoryReader, ids: NDArray[np.int64], *, now_ns: int, days: int = HISTORY_DAYS
) -> WindowBlock | None:
    """The last days, six weeks of them, of 5-minute windows of some series on one unbroken grid; None when empty."""
    end_ns = now_ns - now_ns % BIN_NS
    start_ns = end_ns - days * DAY_NS
    value: NDArray[np.float32] | None = None
    weight = np.zeros(0, np.float32)
    kind = np.zeros(len(ids), np.int8)
    first_ns = end_ns
    for block in reader.windows(
        step_ns=BIN_NS, start_ns=start_ns, end_ns=end_ns, series=ids.tolist()
    ):
        if value is None:
            first_ns = block.start_ns
            value = np.full(((end_ns - first_ns) // BIN_NS, len(ids)), np.nan, np.float32)
            weight = np.full(value.shape, _ENOUGH_CALLS, np.float32)
        row = (block.start_ns - first_ns) // BIN_NS
        place = np.searchsorted(ids, block.series)
        value[row : row + block.window_count, place] = block.value
        ratios = np.flatnonzero(np.isin(block.kind, SHARE_KINDS) & (block.weight > 0).any(axis=0))
        calls = block.weight[:, ratios]
        weight[row : row + block.window_count, place[ratios]] = np.where(
            calls > 0, calls, np.float32(_ENOUGH_CALLS)
        )
        kind[place] = block.kind
    if value is None:
        return None
    return WindowBlock(
        start_ns=first_ns,
        step_ns=BIN_NS,
        series=ids,
        kind=kind,
        value=value,
        weight=weight,
        heard=np.broadcast_to(np.True_, value.shape),
    )


def _known(profile: Profile) -> Profile:
    """The profile without series of which nothing is known."""
    return selected(profile, np.asarray(np.isfinite(profile.grid).any(axis=0)))


def _joined_rows(parts: Sequence[DetectorState], *, step_ns: int) -> DetectorState:
    series = np.concatenate([np.zeros(0, np.int64), *(part.series for part in parts)])
    joined = new_state(series, step_ns=step_ns, base_cut=0.0)
    if parts:
        # All follow the calendar's.
        joined.clock = parts[0].clock
    for part in parts:
        copy_rows(part, joined)
    return joined
