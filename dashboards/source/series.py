"""What did one series do, what was expected of it, and what happened beside it?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries as lines

from dashboards.source.frame import Board
from dashboards.source.kit import Ask, timeline, with_override, with_pattern
from dashboards.source.queries import window

_NAMES = ("instance", "service", "stage", "route", "signal")
_CHOSEN = {name: f"${name}" for name in _NAMES}
_HIDDEN = {"legend": True, "tooltip": False, "viz": False}


def board() -> Board:
    """The board."""
    made = Board(
        "sentinel-series",
        "Sentinel: one series",
        "One series against what was expected of it, its score, calls to look at, and what happened meanwhile.",
    )
    for place, name in enumerate(_NAMES):
        before = ", ".join(f'{one}="${one}"' for one in _NAMES[:place])
        of = f"sentinel_value{{{before}}}" if before else "sentinel_value"
        label = "Sidecar" if name == "instance" else name.capitalize()
        made.choice(name, label, f"label_values({of}, {name})")
    made.runbooks()
    made.runbooks_of("Sentinel's pages").incidents("${service:percentencode}")
    made.events("$service")
    made.row("$service $stage $route: $signal").panels(
        band_of_any(
            "Value, what was expected, and the band",
            "Inside the band is ordinary for this hour of this weekday; red points are outside it. Each line says what it is measured in;"
            " a gauge whose name does not end in its unit is in its own.",
            _CHOSEN,
        ),
        timeline(
            "Score",
            "1 is the edge of the band, of the window itself and of the means over longer horizons; what pages has passed the"
            " gates besides.",
            "none",
            Ask(_all_horizons("sentinel_score", _CHOSEN), "score {{horizon}}"),
            width=24,
            height=6,
            limit=1.0,
        ),
    )
    made.row("Calls of this place").panels(
        calls_with_traces(
            'instance="$instance", service="$service", stage="$stage", route="$route"', width=24
        ),
    )
    return made


def band(
    title: str,
    why: str,
    labels: dict[str, str],
    *,
    unit: str,
    width: int = 24,
) -> lines.Panel:
    """A series with its band: a fill from the one called `upper` down to the one called `lower`.

    A fill names one other legend of its panel and no pattern, so a panel has one band. Errors and latency have no lower
    end, and a fill down to nothing is not drawn: then it goes down to 0.
    """
    asks = [Ask(expr, name) for name, expr in _parts(labels).items()]
    panel = timeline(title, why, unit, *asks, width=width, height=11, low=None)
    _fill(panel, upper="upper", lower="lower")
    return _lines(panel, ending="")


def band_of_any(title: str, why: str, labels: dict[str, str]) -> lines.Panel:
    """The same of a series of which only the reader's choice says what it measures, and with what is outside marked.

    A unit cannot follow a variable. So each series is named with what it is measured in, by its signal, and the unit, and the fill,
    belong to the names.
    """
    parts = _parts(labels)
    outside = f"max without (horizon) ({_all_horizons('sentinel_score', labels)}) >= 1"
    parts["strange"] = (
        f"{parts['value']} and on (instance, service, stage, route, signal) ({outside})"
    )
    asks = [Ask(measured(expr), f"{name}, {{{{in}}}}") for name, expr in parts.items()]
    panel = timeline(title, why, "none", *asks, width=24, height=11, low=None)
    for name, unit in UNITS.items():
        with_pattern(panel, f", {name}$", unit=unit)
        _fill(panel, upper=f"upper, {name}", lower=f"lower, {name}")
    _lines(panel, ending=",")
    return with_pattern(
        panel,
        "^strange,",
        custom__drawStyle="points",
        custom__showPoints="always",
        custom__pointSize=7,
        color={"mode": "fixed", "fixedColor": "red"},
    )


def measured(expr: str) -> str:
    """An expression of a series with a label `in` that says what its values are measured in, one of `UNITS`.

    Traffic, errors, slow calls and durations are Sentinel's own kinds; gauges of its scrapers end in their unit; lines of logs are
    counted by the second. Of what others call as they like nothing is known.
    """
    for name, label, pattern in _MEASURED:
        expr = f'label_replace({expr}, "in", "{name}", "{label}", "{pattern}")'
    return expr


UNITS = {
    "its own unit": "none",
    "calls a second": "reqps",
    "lines a second": "cps",
    "seconds": "s",
    "share": "percentunit",
    "bytes": "bytes",
    "bytes a second": "binBps",
    "a second": "cps",
}
"""Grafana's unit of each thing a series can be measured in."""
_MEASURED = (
    # The last that fits holds, and the first fits all.
    ("its own unit", "signal", ".*"),
    ("seconds", "signal", "latency|.*_s"),
    ("share", "signal", "errors|slow_calls|.*_ratio"),
    ("bytes", "signal", ".*_bytes"),
    ("a second", "signal", ".*_per_s"),
    ("bytes a second", "signal", ".*_bytes_per_s"),
    ("calls a second", "signal", "traffic"),
    ("lines a second", "stage", "logs"),
)


def _parts(labels: dict[str, str]) -> dict[str, str]:
    upper, lower, expected, value = (
        window(f"sentinel_{name}", **labels) for name in ("upper", "lower", "expected", "value")
    )
    return {
        "upper": upper,
        "lower": f"{lower} or 0 * {upper}",
        "expected": expected,
        "value": value,
    }


def _fill(panel: lines.Panel, *, upper: str, lower: str) -> None:
    blue = {"mode": "fixed", "fixedColor": "blue"}
    ends = {"custom__lineWidth": 0, "custom__hideFrom": _HIDDEN, "color": blue}
    with_override(panel, upper, custom__fillBelowTo=lower, custom__fillOpacity=14, **ends)
    with_override(panel, lower, custom__fillOpacity=0, **ends)


def _lines(panel: lines.Panel, *, ending: str) -> lines.Panel:
    with_pattern(
        panel,
        f"^expected{ending or '$'}",
        custom__lineStyle={"fill": "dash", "dash": [6, 4]},
        color={"mode": "fixed", "fixedColor": "blue"},
    )
    return with_pattern(
        panel,
        f"^value{ending or '$'}",
        custom__lineWidth=2,
        color={"mode": "fixed", "fixedColor": "green"},
    )


def calls_with_traces(of: str, *, width: int = 12, height: int = 9) -> lines.Panel:
    """Durations of the calls of some places, and the traces of the slowest and of failed ones as exemplars."""
    panel = timeline(
        "Durations, and calls to look at",
        "Quantiles of the durations of each window's calls. A diamond is the trace of a call that was the slowest of its window or"
        " failed, at its own duration; a click opens it where the data source knows a place for traces. On the right, how"
        " many calls were named so.",
        "s",
        Ask(
            f"max by (route, quantile) (sentinel_latency_seconds{{{of}}})",
            "{{route}} {{quantile}}",
        ),
        Ask(
            f"sum by (outcome) (rate(sentinel_named_calls_total{{{of}}}[$__rate_interval]))",
            "named: {{outcome}}",
            exemplar=True,
        ),
        width=width,
        height=height,
    )
    for outcome in ("ok", "failed"):
        with_override(
            panel,
            f"named: {outcome}",
            unit="cps",
            custom__axisPlacement="right",
            custom__lineWidth=1,
            custom__fillOpacity=8,
        )
    return panel


def _all_horizons(metric: str, labels: dict[str, str]) -> str:
    matchers = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{metric}{{{matchers}}}"
