"""Goal: what a fault says it moves is there to be moved, under the name that Sentinel gives it.

Method: each expected signal is looked up where its like come from: the routes of the ledger, the gauges that the scrapers know, the
metrics that the ledger's telemetry makes.
"""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from sentinel.core.model.known_gauges import KNOWN_GAUGES
from sentinel.core.normalise.otlp_metrics import ROUTE_ALL, STAGE_METRICS
from sentinel.reference.ledger.domain.history import routes_at_rate
from sentinel.reference.ledger.operate.faults import FAULTS, ExpectedSignal
from sentinel.reference.ledger.wire.nats import CONSUMER, STREAMS

ROOT = Path(__file__).parents[3]
LEDGER = ROOT / "sentinel/reference/ledger"
CALLS = ("traffic", "errors", "latency")
ROUTES = {(one.service, one.stage, one.route) for one in routes_at_rate(30)}
# What the load does not call, with where its name is from.
NAMED_IN = {("ledger-webhooks", "client", "POST webhook"): "telemetry/webhooks.py"}
EXPECTED = sorted(
    {
        (fault, one.service, one.stage, one.route, one.signal, one.direction)
        for fault, what in FAULTS.items()
        for one in what.expected
    }
)


def problem(one: ExpectedSignal) -> str:
    """Why there is no such series; empty where there is."""
    if one.direction not in ("up", "down", "away"):
        return f"no way to move: {one.direction}"
    if one.stage == STAGE_METRICS:
        return _problem_of_metric(one)
    if one.service.startswith("ledger-"):
        if one.signal not in CALLS:
            return f"calls have {', '.join(CALLS)}"
        place = (one.service, one.stage, one.route)
        if place in ROUTES:
            return ""
        file = NAMED_IN.get(place)
        return "" if file and f'"{one.route}"' in (LEDGER / file).read_text() else "no such route"
    if one.signal not in KNOWN_GAUGES.get(one.stage, {}):
        return "no scraper has such a gauge"
    return _problem_of_place(one)


def _problem_of_metric(one: ExpectedSignal) -> str:
    code = "\n".join(path.read_text() for path in sorted(LEDGER.rglob("*.py")))
    telemetry = "\n".join(path.read_text() for path in sorted((LEDGER / "telemetry").glob("*.py")))
    if f'"{one.signal}"' not in telemetry:
        return "the ledger's telemetry makes no such metric"
    for pair in [] if one.route == ROUTE_ALL else one.route.split(","):
        key, _, value = pair.partition("=")
        if f'"{key}"' not in telemetry or f'"{value}"' not in code:
            return f"no such attribute: {pair}"
    return ""


def _problem_of_place(one: ExpectedSignal) -> str:
    if one.service == "nats" and one.stage == "queue":
        places = [*STREAMS, *(f"{name}/{CONSUMER}" for name in STREAMS), "server/one"]
        return "" if any(fnmatch(place, one.route) for place in places) else "no such place"
    if one.service == "postgres" and one.stage == "database":
        page = (ROOT / "docs/components/postgres.md").read_text()
        is_database = re.fullmatch(r"ledger(_[a-z_]+)?", one.route) is not None
        return "" if is_database or f"`{one.route}`" in page else "no such place"
    return "nothing is watched under this name"


@pytest.mark.parametrize("row", EXPECTED, ids=" ".join)
def test_each_expected_signal_is_a_series_that_there_can_be(row: tuple[str, ...]) -> None:
    _, service, stage, route, signal, direction = row
    found = problem(
        ExpectedSignal(
            service=service, stage=stage, route=route, signal=signal, direction=direction
        )
    )
    assert found == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ledger-edge edge GET /v3/nothing traffic up", "no such route"),
        ("ledger-edge edge POST/v1/transfers speed up", "calls have"),
        ("nats queue LEDGER_C* happiness up", "no scraper"),
        ("nats queue PAYMENTS stream_limit_ratio up", "no such place"),
        ("postgres database toilets connections_used_ratio up", "no such place"),
        (
            "ledger-edge metrics ledger.tenant.tier=gold ledger.edge.limited up",
            "no such attribute",
        ),
        ("ledger-edge metrics all ledger.edge.happy up", "no such metric"),
        ("ledger-edge metrics all ledger.edge.limited sideways", "no way to move"),
    ],
)
def test_a_signal_that_there_is_not_is_found(text: str, said: str) -> None:
    """The test of the test: what is made up is not let pass."""
    service, stage, rest = text.split(" ", 2)
    route, signal, direction = rest.rsplit(" ", 2)
    one = ExpectedSignal(
        service=service, stage=stage, route=route, signal=signal, direction=direction
    )
    assert said in problem(one)


def test_keys_used_again_are_conflicts_and_no_traffic() -> None:
    """Two a second are lost in the load; that they were traffic going up was once expected, and never came."""
    [one] = FAULTS["reused-keys"].expected
    assert (one.signal, one.route) == (
        "ledger.transfers.repeated",
        "ledger.transfer.outcome=conflict",
    )
