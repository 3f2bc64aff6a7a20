"""What did one series do, what was expected of it, and what happened beside it?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries as lines

from dashboards.source.frame import RUNBOOKS, Board
from dashboards.source.kit import Ask, timeline, with_override
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
    made.link("Runbook", f"{RUNBOOKS}/SentinelAnomaly.md")
    made.events("$service")
    made.row("$service $stage $route: $signal").panels(
        band(
            "Value, what was expected, and the band",
            "Inside the band is ordinary for this hour of this weekday. Traffic is calls a second, errors and slow_calls are shares,"
            " latency is seconds, a gauge is in its own unit. Red points are values outside the band.",
            _CHOSEN,
            strange=True,
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
    strange: bool = False,
    width: int = 24,
    unit: str = "short",
) -> lines.Panel:
    """A series with its band: a fill from the one called `upper` down to the one called `lower`.

    A fill names one other legend of its panel and no pattern, so a panel has one band. Errors and latency have no lower
    end, and a fill down to nothing is not drawn: then it goes down to 0.
    """
    upper, lower, expected, value = (
        window(f"sentinel_{name}", **labels) for name in ("upper", "lower", "expected", "value")
    )
    asks = [
        Ask(upper, "upper"),
        Ask(f"{lower} or 0 * {upper}", "lower"),
        Ask(expected, "expected"),
        Ask(value, "value"),
    ]
    if strange:
        outside = f"max without (horizon) ({_all_horizons('sentinel_score', labels)}) >= 1"
        asks.append(
            Ask(f"{value} and on (instance, service, stage, route, signal) ({outside})", "strange")
        )
    panel = timeline(title, why, unit, *asks, width=width, height=11, low=None)
    with_override(
        panel,
        "upper",
        custom__fillBelowTo="lower",
        custom__lineWidth=0,
        custom__fillOpacity=14,
        custom__hideFrom=_HIDDEN,
        color={"mode": "fixed", "fixedColor": "blue"},
    )
    with_override(
        panel,
        "lower",
        custom__lineWidth=0,
        custom__fillOpacity=0,
        custom__hideFrom=_HIDDEN,
        color={"mode": "fixed", "fixedColor": "blue"},
    )
    with_override(
        panel,
        "expected",
        custom__lineStyle={"fill": "dash", "dash": [6, 4]},
        color={"mode": "fixed", "fixedColor": "blue"},
    )
    with_override(
        panel, "value", custom__lineWidth=2, color={"mode": "fixed", "fixedColor": "green"}
    )
    if strange:
        with_override(
            panel,
            "strange",
            custom__drawStyle="points",
            custom__showPoints="always",
            custom__pointSize=7,
            color={"mode": "fixed", "fixedColor": "red"},
        )
    return panel


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
