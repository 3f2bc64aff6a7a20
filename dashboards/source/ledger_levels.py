"""Panels of the ledger's service levels: what rules have recorded of them, and two numbers of Sentinel's windows beside it."""

from __future__ import annotations

from collections.abc import Mapping

from dashboards.source import levels
from dashboards.source.kit import Ask, Panel, number, timeline
from dashboards.source.queries import window

_ACCEPTING = {"slo": "availability", "service": "ledger-edge"}
_IN_TIME = {"slo": "posting", "service": "ledger-poster"}
_BURN = ((None, "green"), (levels.TICKETS_AT, "orange"), (levels.PAGES_AT, "red"))
_LEFT = ((None, "red"), (0.0, "orange"), (0.25, "green"))
_SHARE = ((None, "red"), (0.99, "orange"), (0.9999, "green"))


def service_levels(transfers: Mapping[str, str], process: Mapping[str, str]) -> list[Panel]:
    """Of accepting and of posting; `transfers` and `process` are the labels of the places where both are counted in windows."""
    matchers = ", ".join(f'{name}="{value}"' for name, value in transfers.items())
    return [
        number(
            "Accepted",
            "Share of requests that the edge answered without an error of its own, over the range that is shown.",
            "percentunit",
            Ask(levels.kept_share(**_ACCEPTING)),
            decimals=4,
            steps=_SHARE,
        ),
        number(
            "Error budget left, 30 days",
            "What 99.99 % allows to fail in 30 days, 4 min 19 s were everything to fail, minus what failed; below 0 it is overspent. The"
            " number that ServiceLevelMissed looks at.",
            "percentunit",
            Ask(levels.budget_left(**_ACCEPTING)),
            decimals=1,
            steps=_LEFT,
        ),
        number(
            "Burn rate, 1 h",
            "How many times as fast as allowed the budget is being spent; at 14.4 a month's budget is gone in two days. The number that"
            " ServiceLevelBurnsFast looks at.",
            "none",
            Ask(levels.burn_rate("1h", **_ACCEPTING)),
            decimals=1,
            steps=_BURN,
        ),
        number(
            "Burn rate, 5 min",
            "The same over five minutes: whether it is still going on.",
            "none",
            Ask(levels.burn_rate("5m", **_ACCEPTING)),
            decimals=1,
            steps=_BURN,
        ),
        number(
            "Posted within 30 s",
            "Share of transfers that were committed within 30 s of their acceptance, over the range that is shown.",
            "percentunit",
            Ask(levels.kept_share(**_IN_TIME)),
            decimals=4,
            steps=_SHARE,
        ),
        number(
            "Budget of posting left, 30 days",
            "The same as for accepting: of 10,000 transfers one may be posted later than 30 s.",
            "percentunit",
            Ask(levels.budget_left(**_IN_TIME)),
            decimals=1,
            steps=_LEFT,
        ),
        timeline(
            "Burn rates of accepting",
            "By the length of the window, as alerts compare them. A long and a short one high together is an alert: 1 h and 5 min from 14.4"
            " (dashed) and 6 h and 30 min from 6 page, 1 d and 2 h from 3 and 3 d and 6 h from 1 are tickets, if ten requests failed.",
            "none",
            *(Ask(levels.burn_rate(one, **_ACCEPTING), one) for one in levels.WINDOWS),
            width=12,
            limit=levels.PAGES_AT,
        ),
        timeline(
            "Burn rates of posting",
            "The same for transfers that are committed within 30 s of their acceptance.",
            "none",
            *(Ask(levels.burn_rate(one, **_IN_TIME), one) for one in levels.WINDOWS),
            width=12,
            limit=levels.PAGES_AT,
        ),
        number(
            "Windows answered in time",
            "Share of windows of the range in which the 95th percentile of accepting stayed below the bound chosen above. No alert looks at"
            " it.",
            "percentunit",
            Ask(
                "avg_over_time((max(sentinel_latency_seconds{quantile="
                f'"0.95", {matchers}}}) <= bool $slow)[$__range:])'
            ),
            decimals=2,
            steps=_SHARE,
            width=12,
        ),
        number(
            "Posted at the first attempt",
            "Share of attempts at posting that committed, over the range; the others are tried again, none is lost. No alert looks at it.",
            "percentunit",
            Ask(f"1 - {_failed_share(process, '$__range')}"),
            decimals=3,
            steps=((None, "red"), (0.9, "orange"), (0.99, "green")),
            width=12,
        ),
    ]


def _failed_share(place: Mapping[str, str], length: str) -> str:
    """Failed of all calls of a place in a time: the windows' shares, each by its calls. Of service levels the rules tell.

    Both parts are subqueries, so that they have the same number of points; a window of which the share is not known counts in neither.
    """
    traffic = window("sentinel_value", **place, signal="traffic")
    errors = window("sentinel_value", **place, signal="errors")
    match = "on (instance, service, stage, route)"
    failed = f"sum(sum_over_time(({errors} * {match} {traffic})[{length}:]))"
    return f"({failed} / sum(sum_over_time(({traffic} and {match} {errors})[{length}:])))"
