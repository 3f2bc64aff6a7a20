"""Windows of a width that no sidecar learns from, such as an hour: the live chain with a fit at each midnight, made of the windows themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from sentinel.core.baseline import Calendar, Profile, at_present_level, quarantined
from sentinel.core.decide import Decision, DecisionSettings, decide, new_decision_state
from sentinel.core.model import Incident, SeriesKey, WindowBlock
from sentinel.core.scoring import adopted_levels
from sentinel.pipeline.models import Models, ModelSettings
from sentinel.pipeline.replay.grid import DAY_NS, coarse
from sentinel.pipeline.seasons import CausalSeasons

Fit = Callable[..., Profile]


def by_midnights(
    whole: WindowBlock,
    keys: Mapping[int, SeriesKey],
    *,
    settings: DecisionSettings,
    models: ModelSettings,
    calendar: Calendar | None,
) -> Iterator[tuple[WindowBlock, Decision]]:
    """Decide all windows, a day at a time.

    Args:
        whole: the windows; their grid begins at midnight.
        keys: names by series id.
        settings: what is decided by.
        models: which series are expected by another model than the profile.
        calendar: of the instants of `whole`; None for UTC without any.
    """
    step_ns = whole.step_ns
    history = coarse(whole)
    fit: Fit = Models(models, keys, now_ns=0).fit
    if calendar is not None:
        fit = CausalSeasons(history, calendar, fit)
    state = new_decision_state(step_ns=step_ns, settings=settings)
    told: dict[str, Incident] = {}
    days = -(-whole.window_count * step_ns // DAY_NS)
    for day in range(days):
        start_ns = whole.start_ns + day * DAY_NS
        first, last = (-(-number * DAY_NS // step_ns) for number in (day, day + 1))
        windows = whole.windows(first, min(last, whole.window_count))
        if windows.window_count == 0:
            continue
        left_out = quarantined(told.values(), history, keys, at_ns=start_ns)
        past, left_out = at_present_level(
            history,
            left_out,
            adopted_levels(state.detector, state.parked),
            at_ns=start_ns,
        )
        profile = fit(past, at_ns=start_ns, version=day, left_out=left_out)
        profile = replace(profile, levels_ns=state.detector.next_ns)
        decision = decide(state, windows, profile=profile, keys=keys, settings=settings)
        state = decision.state
        told.update((one.incident.incident_id, one.incident) for one in decision.transitions)
        yield windows, decision
