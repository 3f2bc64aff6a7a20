"""Goal: what a user sets about the core's stages reaches the core, in its units, and nothing else changes.

Method: defaults are compared with the core's own; every settable number is changed once and looked for.
"""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sentinel.app.deciding import asked_by
from sentinel.app.guards_section import GaugeGuardConfig
from sentinel.app.sections import (
    GuardsConfig,
    IncidentsConfig,
    KindConfig,
    ScoringConfig,
    SeriesRuleConfig,
)
from sentinel.app.zones import zone_offsets
from sentinel.core.incidents.settings import (
    GaugeGuard,
    GuardDirection,
    GuardSettings,
    IncidentSettings,
)
from sentinel.core.model import Direction, Kind, SeriesPattern
from sentinel.core.scoring.settings import ScoringSettings, Sensitivity, SeriesRule
from sentinel.runtime.auth import TokensConfig
from sentinel.runtime.settings import Duration, Secret, Zone
from sentinel.web.server import WebConfig, WebListenConfig

NOW_NS = 1_790_000_000_000_000_000


def doubled(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {name: "https://runbooks.example"}
    return {name: not value if isinstance(value, bool) else value * 2}


def test_runbooks_are_served_at_an_address() -> None:
    made = IncidentsConfig(runbooks_url="https://runbooks.example/")
    assert made.settings(zone=Zone("UTC"), now_ns=0).runbooks_url == "https://runbooks.example"
    with pytest.raises(ValueError, match="runbooks_url must begin with"):
        IncidentsConfig(runbooks_url="runbooks.example")


def test_the_defaults_are_the_cores_own() -> None:
    assert ScoringConfig().settings(Sensitivity.NORMAL) == ScoringSettings()
    assert GuardsConfig().settings() == GuardSettings()
    assert IncidentsConfig().settings(zone=Zone("UTC"), now_ns=NOW_NS) == IncidentSettings()


def test_a_limit_of_gauges_reaches_the_core() -> None:
    config = GaugeGuardConfig(
        signal="free_*",
        stage="db",
        limit=0.1,
        direction=GuardDirection.LOW,
        window_count=2,
        consequence="it is full",
    )
    (guard,) = GuardsConfig(gauges=(config,)).settings().gauges
    assert guard == GaugeGuard(
        series=SeriesPattern(stage="db", signal="free_*"),
        limit=0.1,
        direction=GuardDirection.LOW,
        window_count=2,
        consequence="it is full",
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "pattern must not be empty"),
        ({"signal": "a", "limit": float("inf")}, "must be finite"),
        ({"signal": "a", "window_count": 0}, "at least one window"),
        ({"signal": "a", "consequence": "a\nb"}, "on one line"),
    ],
)
def test_a_limit_of_gauges_that_makes_no_sense_is_refused(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        GaugeGuardConfig(**wrong)


def test_more_limits_of_gauges_stand_beside_the_default_ones_and_come_first() -> None:
    own = GaugeGuardConfig(signal="server_store_ratio", limit=0.5)
    first, *others = GuardsConfig(more_gauges=(own,)).settings().gauges
    assert first == own.guard()
    assert tuple(others) == GuardSettings().gauges


@pytest.mark.parametrize(
    "name", [one.name for one in fields(GuardsConfig) if one.name != "more_gauges"]
)
def test_every_guard_setting_changes_the_guards(name: str) -> None:
    value = getattr(GuardsConfig(), name)
    changed = replace(GuardsConfig(), **doubled(name, value))
    differing = [
        one.name
        for one in fields(GuardSettings)
        if getattr(changed.settings(), one.name) != getattr(GuardSettings(), one.name)
    ]
    assert differing in ([name], [f"{name}_s"], [f"{name}_ns"])


@pytest.mark.parametrize(
    "name",
    [one.name for one in fields(IncidentsConfig) if one.name not in ("guards", "gauge_severity")],
)
def test_every_incident_setting_changes_the_incidents(name: str) -> None:
    value = getattr(IncidentsConfig(), name)
    changed = replace(IncidentsConfig(), **doubled(name, value))
    settings = changed.settings(zone=Zone("UTC"), now_ns=NOW_NS)
    differing = [
        one.name
        for one in fields(IncidentSettings)
        if getattr(settings, one.name) != getattr(IncidentSettings(), one.name)
    ]
    assert differing in ([name], [f"{name}_ns"])


def test_durations_become_nanoseconds() -> None:
    config = IncidentsConfig(hold=Duration(0.3), guards=GuardsConfig(blind_after=Duration(90.0)))
    settings = config.settings(zone=Zone("UTC"), now_ns=NOW_NS)
    assert settings.hold_ns == 300_000_000
    assert settings.guards.blind_after_ns == 90_000_000_000


def test_a_kind_changes_alone() -> None:
    config = ScoringConfig(errors=KindConfig(deviation_min=0.1, weight_min=50.0))
    rules = config.settings(Sensitivity.NORMAL).rules
    assert (rules[Kind.ERRORS].deviation_min, rules[Kind.ERRORS].weight_min) == (0.1, 50.0)
    assert rules[Kind.ERRORS].high_only
    assert rules[Kind.TRAFFIC] == ScoringSettings().rules[Kind.TRAFFIC]


READ = TokensConfig(read=Secret("read-0123456789abcdef"))


def test_sensitivity_scales_the_cut() -> None:
    scales = [ScoringConfig().settings(one).cut_scale for one in Sensitivity]
    assert scales == [one.cut_scale for one in Sensitivity]
    assert scales == sorted(scales, reverse=True)


def test_pages_name_sentinels_own_address() -> None:
    settings = IncidentsConfig().settings(
        zone=Zone("UTC"), now_ns=NOW_NS, asked_by="--url https://sentinel.example.com"
    )
    assert settings.next_steps == (
        "sentinel incidents {incident_id} --url https://sentinel.example.com",
    )


@pytest.mark.parametrize(
    ("web", "told"),
    [
        (WebConfig(), "--url http://127.0.0.1:9640"),
        (WebConfig(listen=WebListenConfig(port=0)), ""),
        (WebConfig(listen=WebListenConfig(tokens=READ)), "--config '/etc/own sentinel'"),
        (WebConfig(external_url="https://s.example"), "--url https://s.example"),
        (
            WebConfig(external_url="https://s.example", listen=WebListenConfig(tokens=READ)),
            "--url https://s.example --token-file FILE",
        ),
    ],
)
def test_pages_name_what_the_next_command_takes(web: WebConfig, told: str) -> None:
    """In a scorer's pod it was an address of all addresses, whose certificate nobody trusted and which asked for a token."""
    assert asked_by(web, config_path="/etc/own sentinel") == told


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"])
def test_offsets_agree_with_the_zone_at_every_hour_of_four_years(name: str) -> None:
    offsets = zone_offsets(Zone(name), now_ns=NOW_NS)
    assert [at for at, _ in offsets] == sorted({at for at, _ in offsets})
    info = ZoneInfo(name)
    place = 0
    first_s = NOW_NS // 10**9 - 365 * 86_400
    for at_s in range(first_s, first_s + 4 * 365 * 86_400, 3600):
        while place + 1 < len(offsets) and offsets[place + 1][0] <= at_s * 10**9:
            place += 1
        expected = datetime.fromtimestamp(at_s, tz=UTC).astimezone(info).utcoffset()
        assert expected is not None
        assert offsets[place][1] == expected.total_seconds()


def test_a_change_is_found_to_the_second() -> None:
    """Berlin fell back at 01:00 UTC on 25 October 2026."""
    change_ns = int(datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp()) * 10**9
    assert (change_ns, 3600) in zone_offsets(Zone("Europe/Berlin"), now_ns=NOW_NS)


def test_a_zone_that_is_not_utc_reaches_the_page() -> None:
    settings = IncidentsConfig().settings(zone=Zone("Asia/Tokyo"), now_ns=NOW_NS)
    assert settings.zone_name == "Asia/Tokyo"
    assert [seconds for _, seconds in settings.zone_offsets] == [9 * 3600]


def test_a_rule_of_single_series_reaches_the_core() -> None:
    entry = SeriesRuleConfig(route="GET /health*", direction=Direction.LOW, deviation_min=0.2)
    made = ScoringConfig(series=(entry,)).settings(Sensitivity.NORMAL)
    rule = SeriesRule(route="GET /health*", direction=Direction.LOW, deviation_min=0.2)
    assert made == replace(ScoringSettings(), series_rules=(rule,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"service": "shop"}, "an entry must set"),
        ({"route": "", "weight_min": 5.0}, "a pattern must not be empty"),
        ({"deviation_min": -1.0}, "deviation_min must be finite"),
        ({"weight_min": float("inf")}, "weight_min must be finite"),
    ],
)
def test_a_rule_that_says_nothing_or_nonsense_is_refused(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SeriesRuleConfig(**given)
