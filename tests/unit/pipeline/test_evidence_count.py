"""Goal: evidence that the bound on memory pushed out is counted where an operator can see it.

Method: log lines of more services than are remembered, handed to evaluation's memory of them.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from sentinel.core.decide import DecisionSettings
from sentinel.core.evidence.recent import EvidenceSettings, RecentEvidence
from sentinel.core.model import LogLine
from sentinel.core.series import ClosedWindow
from sentinel.pipeline.evaluate import Evaluate, EvaluateConfig
from tests.support.surroundings import make_surroundings

STEP_NS = 10**10


def window_with(logs: tuple[LogLine, ...]) -> ClosedWindow:
    nothing = np.zeros(0, np.float32)
    return ClosedWindow(
        start_ns=0,
        step_ns=STEP_NS,
        keys=(),
        kind=np.zeros(0, np.int8),
        value=nothing,
        weight=nothing,
        heard=np.zeros(0, np.bool_),
        logs=logs,
    )


def test_what_was_forgotten_for_want_of_room_is_counted() -> None:
    surroundings = make_surroundings()
    unused = cast("Any", None)
    evaluate = Evaluate(
        EvaluateConfig(),
        DecisionSettings(),
        unused,
        unused,
        surroundings,
        step_ns=STEP_NS,
        live=unused,
        pages_stored=unused,
        pages_unstored=unused,
    )
    evaluate._evidence = RecentEvidence(EvidenceSettings(services_max=2))
    lines = tuple(
        LogLine(time_ns=number, service=f"service-{number}", severity=17, event="", body="x")
        for number in range(5)
    )
    for logs in (lines[:2], lines[2:]):
        evaluate._remember_evidence(window_with(logs))
    assert surroundings.metrics.value("sentinel_evidence_dropped_total") == 3
