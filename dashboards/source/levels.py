"""Service levels as `alert_rules/slo.yaml` records them, so that a board and an alert cannot say different things of one service.

Boards work nothing out of their own: what they show is what rules have recorded, or one recorded number over another. A test reads the
rules and fails when an alert asks for another number, another window or another factor than stands here.
"""

from __future__ import annotations

from typing import Final

WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
"""The windows by which alerts look, shortest first."""
PAGES_AT: Final = 14.4
"""The burn rate over 1 h and 5 min from which a person is paged."""
TICKETS_AT: Final = 1.0
"""The burn rate over 3 d and 6 h from which somebody is told at all."""


def _of(record: str, slo: str, service: str) -> str:
    return f'service_slo:{record}{{slo="{slo}", service="{service}"}}'


def burn_rate(window: str, *, slo: str, service: str) -> str:
    """How many times as fast as allowed a budget was spent over a window, as alerts compare it."""
    failed = _of(f"errors_per_request:ratio_rate{window}", slo, service)
    return f"{failed} / {_of('error_budget:ratio', slo, service)}"


def budget_left(*, slo: str, service: str) -> str:
    """What is left of the budget of 30 days."""
    return _of("error_budget_remaining:ratio30d", slo, service)


def kept_share(*, slo: str, service: str) -> str:
    """Share of requests that kept the level, over the range that a board shows."""
    failed, asked = (
        f"sum_over_time({_of(record, slo, service)}[$__range])"
        for record in ("errors:rate5m", "requests:rate5m")
    )
    return f"1 - {failed} / ({asked} > 0)"
