"""Parts of queries that boards share.

A labelled counter is born with its first event, so a query of one that has seen none has no answer, which looks like a
query that is wrong. Where no event is the usual state, `quiet` answers 0; a test takes that part off before it asks
whether the query finds what it is meant to find.
"""

from __future__ import annotations

QUIET = " or on () vector(0)"
"""What a query that may be empty in good times ends with."""


def quiet(expr: str) -> str:
    """0 where nothing of it has ever happened."""
    return f"({expr}){QUIET}"


def own(metric: str, **labels: str) -> str:
    """A metric about Sentinel itself, of the sidecars that are chosen.

    >>> own("sentinel_series_state", state="scored")
    'sentinel_series_state{instance=~"$own", state="scored"}'
    """
    return f"{metric}{{{_matchers({'instance': '$own'}, labels)}}}"


def injectors(metric: str, **labels: str) -> str:
    """A metric of the injector, of the replicas that are chosen."""
    return f"{metric}{{{_matchers({'instance': '$injector'}, labels)}}}"


def per_second(metric: str, *by: str, **labels: str) -> str:
    """The rate of a counter about Sentinel itself, summed by these labels."""
    return f"sum by ({', '.join(by)}) (rate({own(metric, **labels)}[$__rate_interval]))"


def gained(metric: str, *by: str, over: str = "1h", **labels: str) -> str:
    """What such a counter gained in a time, summed by these labels."""
    return f"sum by ({', '.join(by)}) (increase({own(metric, **labels)}[{over}]))"


def p99(histogram: str, *by: str) -> str:
    """The 99th percentile of a histogram about Sentinel itself, by these labels."""
    grouped = ", ".join(("le", *by))
    rate = f"sum by ({grouped}) (rate({own(histogram + '_bucket')}[$__rate_interval]))"
    return f"histogram_quantile(0.99, {rate})"


def window(metric: str, **labels: str) -> str:
    """A verdict metric of the last window, not of a longer horizon; a label that begins with `~` is a pattern.

    >>> window("sentinel_value", service="~ledger-.*", signal="traffic")
    'sentinel_value{service=~"ledger-.*", signal="traffic", horizon=""}'
    """
    return f"{metric}{{{_matchers({}, {**labels, 'horizon': ''})}}}"


def _matchers(patterns: dict[str, str], labels: dict[str, str]) -> str:
    parts = [f'{name}=~"{value}"' for name, value in patterns.items()]
    for name, value in labels.items():
        is_pattern = value.startswith("~")
        parts.append(f'{name}{"=~" if is_pattern else "="}"{value[1:] if is_pattern else value}"')
    return ", ".join(parts)
