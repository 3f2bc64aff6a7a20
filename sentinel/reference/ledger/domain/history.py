"""Simulated history: what the ledger's series would have been for weeks.

Nobody waits six weeks for a demonstration. Each route's traffic, errors and latency follow the
load's shape, scaled so that the shape passes through a stated level at the end, with the noise of
real counts: a shared and an own AR(1) drift of a few per cent, Poisson arrivals, binomial errors
(so most windows of a healthy route have none), and log-normal latency that leans on the load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sentinel.reference.ledger.domain.shape import load_factor, ordinary_week

TRAFFIC: Final = "traffic"
ERRORS: Final = "errors"
LATENCY: Final = "latency"

_AR: Final = 0.9
_DRIFT_SHARED: Final = 0.02
_DRIFT_OWN: Final = 0.015
_LATENCY_DRIFT: Final = 0.03
_LATENCY_NOISE: Final = 0.05
# A p95 grows a little when the system is busier than at the end of the history.
_LATENCY_LOAD_EXPONENT: Final = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLevel:
    """Where one route's three series should be at the end of the history."""

    service: str
    stage: str
    route: str
    traffic: float  # requests a second
    errors: float  # ratio, 0 to 1
    latency_s: float  # p95


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSeries:
    """One series over all windows; `weights` is the requests behind each value."""

    service: str
    stage: str
    route: str
    signal: str
    values: NDArray[np.float64]
    weights: NDArray[np.int64]


def routes_at_rate(rate: float) -> list[RouteLevel]:
    """Return plausible levels for an offered load of `rate` requests a second.

    The load is 40 % transfers, 30 % balances and 30 % transaction reads, as `load` offers it.
    """
    writes, balances, polls = 0.4 * rate, 0.3 * rate, 0.3 * rate
    edge, poster = "ledger-edge", "ledger-poster"
    table = (
        (edge, "edge", "POST /v1/transfers", writes, 0.0005, 0.008),
        (edge, "edge", "GET /v1/accounts/{id}/balance", balances, 0.0005, 0.006),
        (edge, "edge", "GET /v1/transactions/{id}", polls, 0.0005, 0.006),
        (edge, "queue", "publish ledger.transfers", writes, 0.0002, 0.005),
        (poster, "consumer", "process ledger.transfers", writes, 0.0005, 0.025),
        (poster, "database", "COMMIT transactions", writes, 0.0005, 0.018),
        (edge, "database", "SELECT accounts", balances, 0.0002, 0.004),
        (edge, "database", "SELECT transactions", polls, 0.0002, 0.004),
    )
    return [
        RouteLevel(
            service=service,
            stage=stage,
            route=route,
            traffic=traffic,
            errors=errors,
            latency_s=p95,
        )
        for service, stage, route, traffic, errors, p95 in table
    ]


def with_levels(
    routes: Sequence[RouteLevel], levels: Mapping[tuple[str, str, str, str], float]
) -> list[RouteLevel]:
    """Return `routes` with the levels given by (service, stage, route, signal) in their place.

    A route that only `levels` knows is added when its traffic is given; without traffic there is
    nothing its errors or latency could be a ratio of.

    Raises:
        ValueError: a level is negative, an error ratio is above 1, or a signal is not known.
    """
    for (_, _, route, signal), value in levels.items():
        if signal not in (TRAFFIC, ERRORS, LATENCY):
            message = f"unknown signal {signal!r} for {route!r}"
            raise ValueError(message)
        if not 0 <= value < float("inf") or (signal == ERRORS and value > 1):
            message = f"impossible {signal} level {value!r} for {route!r}"
            raise ValueError(message)
    known = {(route.service, route.stage, route.route): route for route in routes}
    for service, stage, name, signal in levels:
        if signal == TRAFFIC and (service, stage, name) not in known:
            known[service, stage, name] = RouteLevel(
                service=service, stage=stage, route=name, traffic=0.0, errors=0.0, latency_s=0.01
            )
    return [
        RouteLevel(
            service=route.service,
            stage=route.stage,
            route=route.route,
            traffic=levels.get((*key, TRAFFIC), route.traffic),
            errors=levels.get((*key, ERRORS), route.errors),
            latency_s=levels.get((*key, LATENCY), route.latency_s),
        )
        for key, route in known.items()
    ]


def simulate(
    routes: Sequence[RouteLevel],
    *,
    local_s: NDArray[np.float64],
    step_s: float,
    seed: int,
    day_s: float | None = None,
) -> list[SimulatedSeries]:
    """Return three series a route over the windows that start at `local_s`.

    The same arguments give the same values. `local_s` is the wall clock at each window's start,
    see `shape.load_factor`; the routes' levels hold at the end of the last window. With `day_s` each week is an ordinary one
    whose days take so many seconds.
    """
    rng = np.random.default_rng(seed)
    middles, end = local_s + step_s / 2, local_s[-1:] + step_s
    if day_s is not None:
        middles, end = ordinary_week(middles, day_s=day_s), ordinary_week(end, day_s=day_s)
    relative = load_factor(middles) / load_factor(end)[0]
    shared = _drift(rng, local_s.size, _DRIFT_SHARED)
    series: list[SimulatedSeries] = []
    for route in routes:
        own = _drift(rng, local_s.size, _DRIFT_OWN)
        counts = rng.poisson(route.traffic * step_s * relative * np.exp(shared + own))
        failures = rng.binomial(counts, route.errors)
        noise = _drift(rng, local_s.size, _LATENCY_DRIFT)
        noise += rng.normal(0.0, _LATENCY_NOISE, local_s.size)
        p95 = route.latency_s * relative**_LATENCY_LOAD_EXPONENT * np.exp(noise)
        ratio = failures / np.maximum(counts, 1)
        for signal, values in ((TRAFFIC, counts / step_s), (ERRORS, ratio), (LATENCY, p95)):
            series.append(
                SimulatedSeries(
                    service=route.service,
                    stage=route.stage,
                    route=route.route,
                    signal=signal,
                    values=np.asarray(values, dtype=np.float64),
                    weights=counts.astype(np.int64),
                )
            )
    return series


def _drift(rng: np.random.Generator, count: int, spread: float) -> NDArray[np.float64]:
    """Return an AR(1) path whose standard deviation is `spread`, started in its own balance."""
    shocks = rng.normal(0.0, spread * (1 - _AR**2) ** 0.5, count)
    path = np.empty(count)
    value = rng.normal(0.0, spread)
    for index, shock in enumerate(shocks):
        value = _AR * value + shock
        path[index] = value
    return path
