"""Goal: the examples in the docstrings of decoding and reduction are true.

Method: run them as doctests; a module here without an example would be a mistake, so each must have some.
"""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "sentinel.core.normalise.histogram_map",
        "sentinel.core.normalise.labels",
        "sentinel.core.normalise.span_rules",
        "sentinel.core.redact.cards",
        "sentinel.core.redact.checks",
        "sentinel.core.redact.in_force",
        "sentinel.core.redact.keys",
        "sentinel.core.redact.own_patterns",
        "sentinel.core.series.logs",
        "sentinel.core.stats.log_linear",
    ],
)
def test_examples(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0
