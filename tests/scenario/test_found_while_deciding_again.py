"""Goal: what stored windows lead to only when they are decided again neither pages nor resolves, and never hides an outage.

Method: the whole program twice on one store, with other settings, an unreadable state, or windows too old to be decided
again in between; what the webhook was told is read at the end, and never begins with a resolve.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sentinel.app.config import SentinelConfig
from sentinel.app.sections import GuardsConfig, IncidentsConfig
from sentinel.core.decide import DecisionState
from sentinel.pipeline.evaluate import EvaluateConfig
from sentinel.runtime.settings import Duration, Ratio
from tests.support.alertmanager_server import collector
from tests.support.clock import ManualClock
from tests.support.whole_app import (
    HOLD_S,
    Calls,
    Sidecar,
    config_of,
    crash,
    sidecar,
    windows_until_resolved,
)

pytestmark = pytest.mark.timeout(90)

FAILING = Calls(failed_count=40)
CALM_WINDOWS = windows_until_resolved() + 2


def lenient(config: SentinelConfig) -> SentinelConfig:
    """Four failures in five are not enough."""
    return replace(
        config, incidents=replace(config.incidents, guards=GuardsConfig(error_ratio=Ratio(0.95)))
    )


def hold_of(config: SentinelConfig, seconds: float) -> SentinelConfig:
    return replace(config, incidents=IncidentsConfig(hold=Duration(seconds)))


def told(hook: Any) -> list[str]:
    return [one["annotations"]["reason"] for one in hook.distinct()]


def forget_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade that writes states otherwise."""

    def unreadable(_: bytes) -> DecisionState:
        msg = "a state of another format cannot be read"
        raise ValueError(msg)

    monkeypatch.setattr(DecisionState, "from_bytes", unreadable)


def take_place(side: Sidecar) -> None:
    """Go on with the first window that begins from here on."""
    side.next_ns = -(-side.clock.now_ns() // 10**10) * 10**10


def open_count(side: Sidecar) -> float:
    return side.metrics.value("sentinel_incidents_open", severity="page")


@pytest.mark.parametrize("readable", [True, False], ids=["readable", "unreadable"])
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
async def test_an_outage_that_the_settings_of_before_did_not_see_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, killed: bool, readable: bool
) -> None:
    """It was found while deciding again, taken for told, and its end was all that anybody heard of it."""
    clock = ManualClock()
    with collector() as hook:
        config = config_of(tmp_path, webhook_url=hook.url)
        async with sidecar(lenient(config), clock=clock) as side:
            await side.windows(3, Calls())
            await side.windows(6, FAILING)
            assert not await side.incidents()
            if killed:
                await crash(side.app)
        if not readable:
            forget_states(monkeypatch)
        async with sidecar(config, clock=clock) as side:
            take_place(side)
            await side.windows(4, FAILING)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (incident,) = await side.incidents()
            assert (incident["state"], open_count(side)) == ("open", 1)
            await side.windows(CALM_WINDOWS, Calls())
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            (resolved,) = await side.incidents()
            assert (resolved["id"], resolved["state"]) == (incident["id"], "resolved")
        assert told(hook) == ["opened", "resolved"]


async def test_an_outage_that_was_over_before_the_settings_saw_it_is_not_told(
    tmp_path: Path,
) -> None:
    """A resolve alone went out, of an incident that had never been told."""
    clock = ManualClock()
    with collector() as hook:
        config = config_of(tmp_path, webhook_url=hook.url)
        async with sidecar(lenient(config), clock=clock) as side:
            await side.windows(3, Calls())
            await side.windows(6, FAILING)
            await crash(side.app)
        async with sidecar(config, clock=clock) as side:
            take_place(side)
            await side.windows(CALM_WINDOWS, Calls())
            assert not await side.incidents()
            assert open_count(side) == 0
        assert told(hook) == []


@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "is over"])
async def test_what_had_resolved_is_not_open_again_by_a_longer_hold(
    tmp_path: Path, *, goes_on: bool
) -> None:
    """Decided again with a longer hold it was still open: it resolved twice, or a new outage was silent."""
    clock = ManualClock()
    with collector() as hook:
        config = config_of(tmp_path, webhook_url=hook.url)
        async with sidecar(hold_of(config, 20.0), clock=clock) as side:
            await side.windows(3, Calls())
            await side.windows(3, FAILING)
            await side.windows(4, Calls())
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            await side.recorded()
            await crash(side.app)
        async with sidecar(hold_of(config, 2 * HOLD_S), clock=clock) as side:
            take_place(side)
            if goes_on:
                await side.windows(3, FAILING)
                await side.sees(lambda: len(hook.distinct()) == 3, "the second page")
            await side.windows(CALM_WINDOWS + 6, Calls())
            if goes_on:
                await side.sees(lambda: len(hook.distinct("resolved")) == 2, "the second resolve")
            incidents = await side.incidents()
            assert [one["state"] for one in incidents] == ["resolved"] * (1 + goes_on)
            assert open_count(side) == 0
        assert told(hook) == ["opened", "resolved"] * (1 + goes_on)


async def test_an_incident_that_the_new_settings_would_not_open_still_ends(tmp_path: Path) -> None:
    clock = ManualClock()
    with collector() as hook:
        config = config_of(tmp_path, webhook_url=hook.url)
        async with sidecar(config, clock=clock) as side:
            await side.windows(3, Calls())
            await side.windows(3, FAILING)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            await side.recorded()
            await crash(side.app)
        async with sidecar(lenient(config), clock=clock) as side:
            take_place(side)
            await side.windows(CALM_WINDOWS, FAILING)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
        assert told(hook) == ["opened", "resolved"]


@pytest.mark.parametrize("cause", ["unreadable", "too old"])
async def test_an_outage_that_goes_on_over_a_restart_stays_one_incident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, cause: str
) -> None:
    """Only its later windows were decided again: they led to an incident of another name, beside the one that was told."""
    clock = ManualClock()
    with collector() as hook:
        config = replace(
            config_of(tmp_path, webhook_url=hook.url),
            evaluate=EvaluateConfig(resume_max=Duration(40.0)),
        )
        async with sidecar(config, clock=clock) as side:
            await side.windows(3, Calls())
            await side.windows(9, FAILING)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (before,) = await side.incidents()
            await side.recorded()
            await crash(side.app)
        if cause == "unreadable":
            forget_states(monkeypatch)
        async with sidecar(config, clock=clock) as side:
            take_place(side)
            # For longer than the hold: it must not be over while it goes on.
            await side.windows(CALM_WINDOWS, FAILING)
            assert open_count(side) == 1
            (after,) = await side.incidents()
            assert (after["id"], after["state"]) == (before["id"], "open")
            await side.windows(CALM_WINDOWS, Calls())
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            (resolved,) = await side.incidents()
            assert (resolved["id"], resolved["state"]) == (before["id"], "resolved")
        assert told(hook) == ["opened", "resolved"]
