"""The pages of a made-up incident: made-up windows and evidence, and the code that decides and words them live."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sentinel.app.config import SentinelConfig
from sentinel.app.deciding import decision_settings
from sentinel.core.baseline import BIN_NS, fit_profile
from sentinel.core.decide import decide, new_decision_state
from sentinel.core.evidence import RecentEvidence
from sentinel.core.model import (
    SIGNAL_ERRORS,
    SIGNAL_LATENCY,
    SIGNAL_SLOW,
    SIGNAL_TRAFFIC,
    Exemplar,
    LogLine,
    Page,
    PageReason,
    SeriesKey,
    WindowBlock,
    kind_of_signal,
)
from sentinel.core.redact import redact
from sentinel.runtime.settings import Zone

ZONE = Zone("Europe/Berlin")
RUNBOOKS_URL = "https://docs.example/runbooks"
WEB_URL = "http://127.0.0.1:9640"
_SECOND_NS = 1_000_000_000
_DAY_NS = 86_400 * _SECOND_NS
_STEP_NS = 10 * _SECOND_NS
_TODAY_NS = 1_794_268_800 * _SECOND_NS
"""Tuesday, 2026-11-10, 0 h UTC."""
_LOCKED_NS = _TODAY_NS + (14 * 60 + 32) * 60 * _SECOND_NS
_LOCKED_WINDOWS = 72
_QUIET_WINDOWS = 600
"""More than half an hour of quiet after its mean over half an hour is back; then it resolves."""
_HISTORY_DAYS = 28
_LEARNED_DAYS = 2
"""Decided at the width of live windows, so that it is known how far is far."""
_SEED = 7
_SIGNALS = (SIGNAL_TRAFFIC, SIGNAL_ERRORS, SIGNAL_LATENCY, SIGNAL_SLOW)
_LOG_BODY = "giving up on the transfer for card 4111 1111 1111 1111: canceling statement due to lock timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where calls are made: how long the slower ones usually take, and the waiting ones while the table is locked."""

    stage: str
    route: str
    usual_s: float
    waiting_s: float

    def key(self, signal: str) -> SeriesKey:
        return SeriesKey("payments", self.stage, self.route, signal)


_EDGE = _Place(stage="edge", route="POST /v1/transfers", usual_s=0.065, waiting_s=2.05)
_DATABASE = _Place(stage="database", route="UPDATE accounts", usual_s=0.014, waiting_s=1.9)
_PLACES = (_EDGE, _DATABASE)
_KEYS = {
    at: place.key(signal)
    for at, (place, signal) in enumerate(
        ((place, signal) for place in _PLACES for signal in _SIGNALS), start=1
    )
}


def sample_config() -> SentinelConfig:
    """What the sample is decided by: all as it comes, but for the zone and where runbooks are."""
    config = SentinelConfig()
    incidents = replace(config.incidents, runbooks_url=RUNBOOKS_URL)
    return replace(config, zone=ZONE, incidents=incidents)


@cache
def sample_pages() -> tuple[Page, ...]:
    """The pages of the incident in the order in which they go out: the first opens it, the last resolves it."""
    rng = np.random.default_rng(_SEED)
    settings = decision_settings(sample_config(), now_ns=_TODAY_NS, asked_by=f"--url {WEB_URL}")
    begin_ns = _TODAY_NS - _HISTORY_DAYS * _DAY_NS
    history = _usual(begin_ns, _TODAY_NS + _DAY_NS, BIN_NS, rng)
    state = new_decision_state(step_ns=_STEP_NS, settings=settings)
    evidence = RecentEvidence()
    pages: list[Page] = []
    for day in range(-_LEARNED_DAYS, 1):
        start_ns = _TODAY_NS + day * _DAY_NS
        profile = fit_profile(history, at_ns=start_ns, version=1 + day + _LEARNED_DAYS)
        for block in _blocks(start_ns, rng):
            if block.start_ns >= _LOCKED_NS:
                evidence.remember(_traces(block.start_ns), _lines(block.start_ns))
            decision = decide(
                state,
                block,
                profile=profile,
                keys=_KEYS,
                settings=settings,
                attach=evidence.attach,
            )
            state = decision.state
            pages += decision.pages
    assert [page.reason for page in pages] == [PageReason.OPENED, PageReason.RESOLVED]
    return tuple(pages)


def _blocks(start_ns: int, rng: np.random.Generator) -> Iterator[WindowBlock]:
    """The live windows of a day; today until the incident is over, and one by one while the table is locked."""
    if start_ns < _TODAY_NS:
        yield _usual(start_ns, start_ns + _DAY_NS, _STEP_NS, rng)
        return
    yield _usual(start_ns, _LOCKED_NS, _STEP_NS, rng)
    end_ns = _LOCKED_NS + _LOCKED_WINDOWS * _STEP_NS
    for at_ns in range(_LOCKED_NS, end_ns, _STEP_NS):
        yield _locked(_usual(at_ns, at_ns + _STEP_NS, _STEP_NS, rng))
    yield _usual(end_ns, end_ns + _QUIET_WINDOWS * _STEP_NS, _STEP_NS, rng)


def _usual(start_ns: int, end_ns: int, step_ns: int, rng: np.random.Generator) -> WindowBlock:
    """Windows of an ordinary day of a business: busiest in the afternoon, half as busy at weekends."""
    at_ns = np.arange(start_ns, end_ns, step_ns)
    busy = np.cos(2 * np.pi * ((at_ns % _DAY_NS) / _DAY_NS - 0.6))
    # The first of January 1970 was a Thursday.
    is_weekend = (at_ns // _DAY_NS + 3) % 7 >= 5
    calls = rng.poisson((30 + 18 * busy) * np.where(is_weekend, 0.5, 1.0) * step_ns / _SECOND_NS)
    columns: list[NDArray[np.float64]] = []
    for place in _PLACES:
        noise = np.exp(0.05 * rng.standard_normal(calls.size))
        columns += [
            calls * _SECOND_NS / step_ns,
            rng.binomial(calls, 0.002) / np.maximum(calls, 1),
            place.usual_s * (1 + 0.1 * busy) * noise,
            rng.binomial(calls, 0.01) / np.maximum(calls, 1),
        ]
    value = np.stack(columns, axis=1).astype(np.float32)
    return WindowBlock(
        start_ns=start_ns,
        step_ns=step_ns,
        series=np.array(list(_KEYS), np.int64),
        kind=np.array([kind_of_signal(key.signal) for key in _KEYS.values()], np.int8),
        value=value,
        weight=np.repeat(calls[:, None], len(_KEYS), axis=1).astype(np.float32),
        heard=np.ones(value.shape, np.bool_),
    )


def _locked(block: WindowBlock) -> WindowBlock:
    """The window as it is while another session holds the table: half of the calls wait, some of them in vain."""
    value = block.value.copy()
    for at, place in enumerate(_PLACES):
        _, errors, latency, slow = range(at * len(_SIGNALS), (at + 1) * len(_SIGNALS))
        value[:, errors], value[:, latency], value[:, slow] = 0.08, place.waiting_s, 0.5
    return replace(block, value=value)


def _traces(start_ns: int) -> Iterator[Exemplar]:
    """Two calls of a window that waited: each at the edge, and inside it at the database."""
    for number in range(2):
        name = hashlib.sha256(f"{start_ns} {number}".encode()).hexdigest()[:32]
        for place, ended_s in ((_DATABASE, 3.41), (_EDGE, 3.47)):
            yield Exemplar(
                trace_id=name,
                key=place.key(SIGNAL_LATENCY),
                time_ns=start_ns + round((ended_s + 2.3 * number) * _SECOND_NS),
                duration_s=place.waiting_s + 0.04 * number,
                error=number == 0,
            )


def _lines(start_ns: int) -> Iterator[LogLine]:
    yield LogLine(
        service="payments",
        time_ns=start_ns + round(3.45 * _SECOND_NS),
        severity=17,
        event="lock_timeout",
        body=redact(_LOG_BODY),
    )
