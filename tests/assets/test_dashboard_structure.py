"""Goal: Grafana takes the board as it is, and no panel asks for what does not exist.

Method: the structure Grafana relies on, checked on the JSON; metric names held against the catalogue.
"""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
import yaml

from dashboards.source.runbooks import OF_PANELS
from dashboards.source.series import UNITS
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.metrics import MetricType
from sentinel.runtime.verdict_metrics import SERIES_METRICS
from sentinel.web.metrics import LATENCY_METRIC
from sentinel.web.told import TOLD_METRICS
from tests.support.dashboards import BOARDS, BUILT_IN, Board

_OTHERS = {"ALERTS", "alertmanager_silences"}
"""What Prometheus and Alertmanager say of themselves."""
_WORDS = {
    *("and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "bool", "offset"),
    *(
        "sum",
        "max",
        "min",
        "avg",
        "count",
        "topk",
        "bottomk",
        "rate",
        "increase",
        "time",
        "vector",
    ),
    *("histogram_quantile", "last_over_time", "avg_over_time", "sum_over_time", "max_over_time"),
    *(
        "label_replace",
        "clamp_min",
        "clamp_max",
        "count_over_time",
        "label_values",
        "sort",
        "sort_desc",
        "changes",
    ),
}
_ROOT = Path(__file__).parents[2]
_RECORDED = {
    rule["record"]
    for group in yaml.safe_load((_ROOT / "alert_rules/slo.yaml").read_text())["groups"]
    for rule in group["rules"]
    if "record" in rule
}
"""What Prometheus works out by the rules of service levels, by `service` and `slo`."""
_OF_ALERTS = {"alertname", "alertstate", "severity", "service"}

_CALLS = ("traffic", "errors", "latency")
LEDGER_BANDS = {
    *(("ledger-edge", "edge", signal) for signal in _CALLS),
    *(("ledger-poster", "consumer", signal) for signal in _CALLS),
    *(("ledger-poster", "database", signal) for signal in ("traffic", "latency")),
    ("$nats", "queue", "consumer_backlog_count"),
    ("$postgres", "database", "connections_used_ratio"),
}
pytestmark = pytest.mark.parametrize("board", BOARDS, ids=[board.path.stem for board in BOARDS])


def test_it_can_be_provisioned_anywhere(board: Board) -> None:
    top = board.document
    assert top["uid"] == board.path.stem
    assert len(top["uid"]) <= 40
    assert top["schemaVersion"] == 41
    assert top.get("id") is None
    assert "__inputs" not in top
    assert top["title"]
    assert top["description"]
    assert "sentinel" in top["tags"]


def test_no_data_source_is_named_but_by_the_variable(board: Board) -> None:
    text = board.path.read_text()
    uids = set(re.findall(r'"uid": "([^"]*)"', text)) - {board.document["uid"]}
    assert uids == {"${ds}"}
    first = board.variables()[0]
    assert (first["type"], first["name"], first["query"]) == ("datasource", "ds", "prometheus")
    for panel in board.panels():
        for one in (panel, *panel["targets"]):
            assert one["datasource"] == {"type": "prometheus", "uid": "${ds}"}


def test_panels_have_ids_of_their_own_a_unit_and_a_word_of_explanation(board: Board) -> None:
    ids = [panel["id"] for panel in board.document["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in board.panels()]
    assert len(set(titles)) == len(titles)
    for panel in board.panels():
        assert panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_panels_fit_the_grid_and_do_not_overlap(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board.document["panels"]:
        place = panel["gridPos"]
        assert place["w"] > 0
        assert place["h"] > 0
        assert place["x"] + place["w"] <= 24
        cells = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]),
                range(place["y"], place["y"] + place["h"]),
            )
        )
        assert not cells & taken, panel["title"]
        taken |= cells
        assert not panel.get("panels"), "what is in a closed row is not seen"


def test_every_variable_used_is_declared_and_every_declared_one_is_used(board: Board) -> None:
    declared = [variable["name"] for variable in board.variables()]
    assert len(set(declared)) == len(declared)
    used = set(re.findall(r"\$\{?(\w+)", board.path.read_text()))
    assert used - BUILT_IN == set(declared)
    seen: set[str] = set()
    for variable in board.variables():
        if variable["type"] == "query":
            assert set(re.findall(r"\$(\w+)", variable["query"]["query"])) <= seen
        seen.add(variable["name"])


def test_every_metric_used_is_exposed(board: Board) -> None:
    exposed = {*SERIES_METRICS, LATENCY_METRIC, *TOLD_METRICS, *_RECORDED, *_OTHERS}
    for spec in CATALOGUE:
        suffixes = ("_bucket", "_sum", "_count") if spec.type is MetricType.HISTOGRAM else ("",)
        exposed |= {spec.name + suffix for suffix in suffixes}
    for expression in board.expressions():
        used = _names(expression)
        assert used or expression.startswith("vector($"), expression
        assert used <= exposed, expression


def test_labels_asked_for_are_labels_of_the_metric(board: Board) -> None:
    """A matcher on a label that a metric does not have matches nothing, or everything, and looks like quiet."""
    verdict = {"service", "stage", "route", "signal", "horizon", "quantile"}
    labels = {
        **dict.fromkeys([*SERIES_METRICS, LATENCY_METRIC], verdict),
        **{name: set(one.labels) for name, one in TOLD_METRICS.items()},
        **{spec.name: set(spec.labels) for spec in CATALOGUE},
        **{f"{spec.name}_bucket": {*spec.labels, "le"} for spec in CATALOGUE},
        "alertmanager_silences": {"state"},
        "ALERTS": _OF_ALERTS,
        **{record: {"service", "slo"} for record in _RECORDED},
    }
    labels |= {
        f"{spec.name}_count": set(spec.labels)
        for spec in CATALOGUE
        if spec.type is MetricType.HISTOGRAM
    }
    for expression in board.expressions():
        for metric, matchers in re.findall(r"([\w:]+)\{([^}]*)\}", expression):
            asked = set(re.findall(r"(\w+)(?:=~|!=|!~|=)", matchers))
            assert asked <= labels[metric] | {"instance", "job"}, expression


def test_links_lead_to_boards_and_runbooks_that_exist(board: Board) -> None:
    uids = {other.path.stem for other in BOARDS}
    for url in board.links():
        if url.startswith("/d/"):
            uid, _, query = url.removeprefix("/d/").partition("?")
            assert uid in uids, url
            [target] = [other for other in BOARDS if other.path.stem == uid]
            names = {variable["name"] for variable in target.variables()}
            assert set(re.findall(r"var-(\w+)=", query)) <= names, url
        elif url.startswith("${runbooks}/"):
            name, _, heading = url.removeprefix("${runbooks}/").partition("#")
            page = _ROOT / "docs/runbooks" / name
            assert page.is_file(), url
            assert not heading or heading in _headings(page.read_text()), url
        else:
            assert url.startswith("${sentinel}/api/v1/"), url
    assert any(url.startswith("${runbooks}/") for url in board.links())
    # From each board to what is open now; that of one incident leads to where it was told of.
    to = (
        "/d/sentinel-pages?" if board.path.stem == "sentinel-incident" else "/d/sentinel-incident?"
    )
    at_the_top = [link["url"] for link in board.document["links"] if link["type"] == "link"]
    assert any(url.startswith(to) for url in at_the_top)


def _headings(text: str) -> set[str]:
    """Headings as addresses call them: in small letters, with dashes for spaces, without other signs."""
    found = re.findall(r"(?m)^#+ (.*)$", text)
    return {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in found}


def test_a_panel_that_is_to_lead_to_a_runbook_is_there_and_does(board: Board) -> None:
    titles = {panel["title"]: panel for panel in board.panels()}
    for title, names in OF_PANELS.get(board.path.stem, {}).items():
        assert title in titles, title
        led_to = [link["url"] for link in titles[title]["links"]]
        assert led_to == [f"${{runbooks}}/{name}.md" for name in names]


def test_fields_that_links_and_tables_name_are_columns(board: Board) -> None:
    for panel in board.panels():
        if panel["type"] != "table":
            continue
        [target] = panel["targets"]
        assert (target["instant"], target["format"]) == (True, "table")
        chosen, arranged = (one["options"] for one in panel["transformations"])
        columns = set(chosen["include"]["names"])
        assert set(arranged["indexByName"]) == columns
        text = json.dumps(panel["fieldConfig"]["defaults"].get("links", []))
        assert set(re.findall(r"__data\.fields\.(\w+)", text)) <= columns, panel["title"]


def test_marks_say_what_they_mark_and_whether_their_value_is_a_time(board: Board) -> None:
    """Grafana takes any text for true: with "off" every mark stood in 1970, or wherever its value led."""
    marks = board.document["annotations"]["list"]
    assert marks
    for mark in marks:
        assert mark["titleFormat"]
        assert mark["step"] == "60s"
        assert mark["datasource"] == {"type": "prometheus", "uid": "${ds}"}
        # Grafana wants milliseconds, and Prometheus' names are in seconds.
        in_milliseconds = mark["expr"].startswith("1000 * ")
        assert mark["useValueForTime"] is in_milliseconds, mark["name"]
        labels = set(re.findall(r"\{\{(\w+)\}\}", mark["titleFormat"] + mark["textFormat"]))
        [metric] = _names(mark["expr"])
        known = {"ALERTS": _OF_ALERTS, "alertmanager_silences": {"state"}}
        known |= {name: set(one.labels) for name, one in TOLD_METRICS.items()}
        known |= {spec.name: set(spec.labels) for spec in CATALOGUE}
        assert labels <= known[metric] | {"instance"}, mark["name"]


def test_the_band_lies_between_two_series_of_its_own_panel(board: Board) -> None:
    """A fill names one other legend, not a pattern: with any other legend the band silently disappears."""
    bands = [
        panel for panel in board.panels() if "fillBelowTo" in json.dumps(panel["fieldConfig"])
    ]
    with_bands = {"sentinel-series", "sentinel-ledger", "sentinel-nats", "sentinel-postgres"}
    assert bool(bands) == (board.path.stem in with_bands)
    for band in bands:
        legends = [target["legendFormat"] for target in band["targets"]]
        overrides = band["fieldConfig"]["overrides"]
        fills = {
            one["matcher"]["options"]: prop["value"]
            for one in overrides
            for prop in one["properties"]
            if prop["id"] == "custom.fillBelowTo"
        }
        assert {one["matcher"]["id"] for one in overrides} == {"byName", "byRegexp"}
        if board.path.stem == "sentinel-series":
            names = ["upper", "lower", "expected", "value", "strange"]
            assert legends == [f"{name}, {{{{in}}}}" for name in names]
            assert fills == {f"upper, {unit}": f"lower, {unit}" for unit in UNITS}
        else:
            assert legends == ["upper", "lower", "expected", "value"]
            assert fills == {"upper": "lower"}
        # Errors and latency have no lower end, and a fill down to nothing is not drawn: then it goes down to 0.
        assert " or 0 * sentinel_upper{" in band["targets"][1]["expr"]
        # One series a legend: with two of a name the fill is between any of them.
        for target in band["targets"][:4]:
            for matchers in re.findall(r"\{([^}]*)\}", target["expr"]):
                asked = dict(re.findall(r'(\w+)="([^"]*)"', matchers))
                assert {"service", "stage", "route", "signal"} <= asked.keys(), target["expr"]
                assert asked["horizon"] == ""
    if board.path.stem == "sentinel-ledger":
        # A fault shows at its stage, not only by fewer transfers that come in.
        upper = [
            dict(re.findall(r'(\w+)="([^"]*)"', band["targets"][0]["expr"])) for band in bands
        ]
        assert {(one["service"], one["stage"], one["signal"]) for one in upper} == LEDGER_BANDS


def test_every_board_marks_incidents_deploys_and_mutes(board: Board) -> None:
    """Of its services, or of all; Sentinel's own health was without, and whoever read it did not see what had just been rolled out."""
    named = dict(board.marks())
    assert {"Incidents", "Deploys", "Mutes"} <= named.keys()
    assert "sentinel_service_version_start_timestamp_seconds" in named["Deploys"]


def _names(expression: str) -> set[str]:
    """Names of metrics in an expression: what is no string, label, function, number or variable."""
    asked = re.fullmatch(r"label_values\((.*), \w+\)", expression)
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", asked[1] if asked else expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left) *\([^)]*\)|\$\w+", " ", bare)
    return set(re.findall(r"[a-zA-Z_][\w:]*", bare)) - _WORDS
