"""The work of a fit, done in a child process: stored history in, profile and primed state out.

Besides the profile, series that cannot be judged yet are primed: the scorer runs over their history of
5-minute windows as it would have run then, and what it learned is converted to live windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import (
    BIN_NS,
    Calendar,
    Model,
    Profile,
    Refits,
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
from sentinel.core.model import (
    SHARE_KINDS,
    AdoptedLevels,
    Incident,
    SeriesKey,
    WindowBlock,
)
from sentinel.core.scoring import (
    DetectorState,
    Grid,
    ScoringSettings,
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
    take_far,
)
from sentinel.pipeline.drift_fit import DRIFT_RATIO, DriftSearch
from sentinel.pipeline.fit_history import (
    DAY_NS,
    FIT_INCIDENTS_MAX,
    PRIME_DAYS,
    FitReader,
    Learned,
    histories,
    learned_of,
    newest_state,
)
from sentinel.pipeline.fit_result import Fitted, kept_bounds, kept_decompositions
from sentinel.pipeline.latest import held_against, usable_at
from sentinel.pipeline.models import Foretell, Models, ModelSettings
from sentinel.pipeline.seasons import stored_special_days
from sentinel.pipeline.slow_fit import fit_slow_bounds


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
    latest: WindowBlock | None = None,
) -> bytes | None:
    """What `fitted` finds from the newest stored state on, as bytes that are stored; None without any history."""
    state = newest_state(reader)
    found = fitted(
        reader,
        now_ns=now_ns,
        version=version,
        step_ns=step_ns,
        learned=None if state is None else learned_of(state),
        settings=settings,
        models=models,
        foretell=foretell,
        calendar=calendar,
        drift_ratio=drift_ratio,
        latest=latest,
    )
    return None if found is None else found.payload()


def fitted(
    reader: FitReader,
    *,
    now_ns: int,
    version: int,
    step_ns: int,
    learned: Learned | None,
    settings: ScoringSettings,
    models: ModelSettings | None = None,
    foretell: Foretell | None = None,
    calendar: Calendar | None = None,
    drift_ratio: float = DRIFT_RATIO,
    special: SpecialDays | None = None,
    latest: WindowBlock | None = None,
) -> Fitted | None:
    """Fit every series that has history, and prime those that are not ready; None without any history.

    Args:
        reader: the store.
        now_ns: up to where the past is known.
        version: number of the fit.
        step_ns: width of the live windows.
        learned: what is known of the newest stored state; None where there is none.
        settings: what live windows are scored by; what is primed is learned by the same.
        models: which series are expected by another model than the profile.
        foretell: asks statsmodels; None where it is not installed, or not needed.
        calendar: the wall clock that seasons follow, and days that are not like others; None for UTC without any.
        drift_ratio: how many times the level of four weeks ago is a drift; 0 looks for none.
        special: what days of the calendar differ by, where it was read on this local day already.
        latest: the last windows of the past that are as wide as live ones, where they are known; see `usable_at`.
    """
    latest = usable_at(latest, now_ns=now_ns, step_ns=step_ns)
    rows_of = reader.series()
    keys = {row.series_id: row.key for row in rows_of}
    ids = np.array(list(keys), np.int64)
    settings_of_models = models or ModelSettings()
    calendar = calendar or Calendar()
    if special is None:
        special = stored_special_days(reader, ids, calendar=calendar, now_ns=now_ns)
    ready = np.zeros(0, np.int64)
    if learned is not None and learned.step_ns == step_ns:
        ready = learned.ready
    levels = None if learned is None else learned.levels
    # Without a state nobody knows of adopted levels, and none is to be put on what was learnt with them.
    levels_ns = now_ns if learned is None else learned.until_ns
    chosen = models_at(
        settings_of_models,
        keys,
        now_ns=now_ns,
        calendar=calendar,
        levels=levels,
        kept=kept_decompositions(reader, calendar) if settings_of_models.has(Model.MSTL) else None,
        foretell=foretell,
    )
    profiles: list[Profile] = []
    rows: list[DetectorState] = []
    incidents = reader.incidents(limit=FIT_INCIDENTS_MAX)
    search = DriftSearch(incidents, keys, ratio=drift_ratio, settings=settings, calendar=calendar)
    for history in histories(reader, ids, now_ns=now_ns):
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
        if unready.any():
            unready[unready] = may_be_ready(_wanted(history, unready))
        curved = chosen.chosen(history.series, Model.FOURIER)
        for wanted, fit in (
            (unready & ~curved, Refits(special)),
            (
                unready & curved,
                partial(fit_on_wall_clock, special=special, fit=fit_fourier_or_profile),
            ),
        ):
            if wanted.any():
                of_wanted = _wanted(history, wanted)
                out_of_wanted = None if left_out is None else left_out[:, wanted]
                primed = learned_from(
                    of_wanted, settings=settings, fit=fit, keys=keys, left_out=out_of_wanted
                )
                borrowed = borrowed_rows(primed, step_ns=step_ns, settings=settings)
                if latest is not None and borrowed.series_count:
                    borrowed = held_against(
                        borrowed,
                        latest,
                        profile=fit(
                            of_wanted,
                            at_ns=latest.start_ns,
                            version=0,
                            horizon_ns=latest.end_ns - latest.start_ns + 2 * BIN_NS,
                            left_out=out_of_wanted,
                        ),
                        keys=keys,
                        settings=settings,
                    )
                rows.append(borrowed)
    if not profiles or not sum(len(profile.series) for profile in profiles):
        return None
    return Fitted(
        profile=replace(joined(profiles), levels_ns=levels_ns),
        rows=_joined_rows(rows, step_ns=step_ns),
        used=chosen.used,
        fallbacks=chosen.fallbacks,
        calendar=calendar.digest,
        slow=fit_slow_bounds(
            reader,
            rows_of,
            incidents,
            now_ns=now_ns,
            calendar=calendar,
            kept=kept_bounds(reader, calendar),
        ),
        drifts=search.found(),
        decompositions=chosen.kept_bytes(),
    )


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


def may_be_ready(history: WindowBlock) -> NDArray[np.bool_]:
    """bool[S], whether a history may be enough to prime a series: of others nothing is looked at each hour anew.

    A spread is known after six hours of values that were expected, and nothing is expected before the second day.
    """
    there = np.isfinite(history.value)
    first = np.where(there.any(axis=0), there.argmax(axis=0), history.window_count)
    # The profile is smoothed over three windows.
    expected_from = first + DAY_NS // history.step_ns - 2
    recent = max(0, history.window_count - PRIME_DAYS * DAY_NS // history.step_ns)
    rows = np.arange(recent, history.window_count)[:, None]
    count = np.count_nonzero(there[recent:] & (rows >= expected_from), axis=0)
    grid = Grid(step_ns=history.step_ns)
    needed = min(grid.warm_windows, max(1.0, grid.per_day // 4))
    # Of a trickle of calls one verdict stands for many windows.
    is_share = np.isin(history.kind, np.array(SHARE_KINDS, np.int8))
    return np.asarray(count >= np.where(is_share, 1, needed))


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
    state.demands = demands_of(None, state.series, keys or {}, settings.series_rules)
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
        far = look_far(state, raw, foreseen, frozen=calm, settings=settings, judge=False)
        scored = score(
            state,
            piece.block,
            foreseen,
            frozen=calm,
            settings=settings,
            standing=piece.standing,
            judge=False,
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


def _wanted(history: WindowBlock, wanted: NDArray[np.bool_]) -> WindowBlock:
    """The wanted series; nothing is copied where it is all of them, as at the first fit."""
    return history if wanted.all() else history.select(wanted)


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
