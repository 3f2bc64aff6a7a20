"""Batches of samples, made by hand for the tests of the reduction."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sentinel.core.model import (
    CallColumns,
    NumberPoint,
    PointStream,
    SampleBatch,
    Scope,
    Temporality,
)

SECOND_NS = 10**9
START_NS = 1_790_000_000 * SECOND_NS
EDGE = Scope("ledger", "edge", "GET /v1/transfers")

Call = tuple[Scope, float, float, bool]
"""A call: where, seconds after the start that it ended, how many seconds it took, whether it failed."""


def at(seconds: float) -> int:
    """An instant, in seconds after the start."""
    return START_NS + round(seconds * SECOND_NS)


def calls(given: Iterable[Call], *, fingerprint: bytes = b"") -> SampleBatch:
    """A batch of calls."""
    rows = list(given)
    scopes = tuple(dict.fromkeys(scope for scope, _, _, _ in rows))
    return SampleBatch(
        calls=CallColumns(
            scopes=scopes,
            scope_index=np.array([scopes.index(scope) for scope, _, _, _ in rows], np.int32),
            end_ns=np.array([at(end_s) for _, end_s, _, _ in rows], np.int64),
            duration_s=np.array([duration_s for _, _, duration_s, _ in rows]),
            error=np.array([error for _, _, _, error in rows], np.bool_),
        ),
        services=frozenset(scope.service for scope in scopes),
        fingerprint=fingerprint,
    )


def number(
    time_s: float,
    value: float,
    *,
    temporality: Temporality = Temporality.CUMULATIVE,
    start_s: float = -1000.0,
    name: str = "jobs",
    stream: str = "a",
    monotonic: bool = True,
) -> NumberPoint:
    """A point of a stream of the ledger."""
    return NumberPoint(
        stream=PointStream((name, stream)),
        scope=Scope("ledger", "metrics", "all"),
        signal=name,
        temporality=temporality,
        monotonic=monotonic,
        start_ns=at(start_s),
        time_ns=at(time_s),
        value=value,
    )


def numbers(*points: NumberPoint) -> SampleBatch:
    """A batch of points."""
    return SampleBatch(numbers=points, services=frozenset({"ledger"}))
