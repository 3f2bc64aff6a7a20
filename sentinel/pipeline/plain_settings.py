"""What decides as JSON can carry it: to the fitting child, and into the records that a preview is replayed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sentinel.core.decide import DecisionSettings
from sentinel.core.incidents import GaugeGuard, GuardDirection, GuardSettings, IncidentSettings
from sentinel.core.model import Kind, SeriesPattern, Severity
from sentinel.core.scoring import Direction, KindRule, ScoringSettings, SeriesRule


def settings_to_plain(settings: ScoringSettings) -> dict[str, Any]:
    """The settings as JSON can carry them to the child.

    >>> settings = ScoringSettings(cut_scale=0.75, series_rules=(SeriesRule(stage="db", direction=Direction.LOW),))
    >>> settings_from_plain(settings_to_plain(settings)) == settings
    True
    """
    rules = {kind.name: asdict(rule) for kind, rule in settings.rules.items()}
    return {**asdict(settings), "rules": rules}


def settings_from_plain(plain: Mapping[str, Any]) -> ScoringSettings:
    """The settings that `settings_to_plain` wrote."""
    rules = {Kind[name]: KindRule(**rule) for name, rule in plain["rules"].items()}
    set_apart = tuple(SeriesRule(**_with_direction(rule)) for rule in plain["series_rules"])
    return ScoringSettings(**{**plain, "rules": rules, "series_rules": set_apart})


def _with_direction(rule: Mapping[str, Any]) -> dict[str, Any]:
    direction = rule["direction"]
    return {**rule, "direction": None if direction is None else Direction(direction)}


def plain_settings(settings: DecisionSettings) -> dict[str, Any]:
    """Everything that decides, as JSON can carry it."""
    return {
        "scoring": settings_to_plain(settings.scoring),
        "incidents": asdict(settings.incidents),
    }


def settings_of_plain(plain: dict[str, Any]) -> DecisionSettings:
    """What `plain_settings` wrote; ValueError or TypeError when it is none of ours."""
    incidents = dict(plain["incidents"])
    return DecisionSettings(
        scoring=settings_from_plain(_with_tuples(plain["scoring"])),
        incidents=IncidentSettings(
            **{
                **incidents,
                "gauge_severity": Severity(incidents["gauge_severity"]),
                "zone_offsets": tuple(tuple(pair) for pair in incidents["zone_offsets"]),
                "next_steps": tuple(incidents["next_steps"]),
                "guards": _guards(incidents["guards"]),
            }
        ),
    )


def _guards(plain: Mapping[str, Any]) -> GuardSettings:
    # What was recorded before gauges had limits was decided without any.
    gauges = tuple(
        GaugeGuard(
            **{
                **one,
                "series": SeriesPattern(**one["series"]),
                "direction": GuardDirection(one["direction"]),
            }
        )
        for one in plain.get("gauges", ())
    )
    return GuardSettings(**{**plain, "gauges": gauges})


def _with_tuples(plain: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists only, and settings compare with tuples."""
    return {
        name: tuple(value) if name == "horizon_half_lives_s" else value
        for name, value in plain.items()
    }
