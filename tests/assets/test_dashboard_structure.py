"""Goal: Grafana takes the board as it is, and no panel asks for what does not exist.

Method: the structure Grafana relies on, checked on the JSON; metric names held against the catalogue.
"""

from __future__ import annotations

import itertools
import json
import re

import pytest

from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.metrics import MetricType
from sentinel.runtime.verdict_metrics import SERIES_METRICS
from tests.support.dashboards import BOARDS, Board

_BUILT_IN = {"__rate_interval", "__range", "__interval"}
_PROMETHEUS_OWN = {"up", "ALERTS"}

pytestmark = pytest.mark.parametrize("board", BOARDS, ids=[board.path.stem for board in BOARDS])


def test_it_can_be_provisioned_anywhere(board: Board) -> None:
    top = board.document
    assert top["uid"] == board.path.stem
    assert len(top["uid"]) <= 40
    assert top["schemaVersion"] == 41
    assert top.get("id") is None
    assert "__inputs" not in top


def test_no_data_source_is_named_but_by_the_variable(board: Board) -> None:
    text = board.path.read_text()
    uids = set(re.findall(r'"uid": "([^"]*)"', text)) - {board.document["uid"]}
    assert uids == {"${ds}"}
    variables = board.document["templating"]["list"]
    assert (variables[0]["type"], variables[0]["name"]) == ("datasource", "ds")


def test_panels_have_ids_of_their_own_and_a_word_of_explanation(board: Board) -> None:
    ids = [panel["id"] for panel in board.document["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board.panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_panels_fit_the_grid_and_do_not_overlap(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board.document["panels"]:
        place = panel["gridPos"]
        assert place["w"] > 0
        assert place["x"] + place["w"] <= 24
        cells = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]),
                range(place["y"], place["y"] + place["h"]),
            )
        )
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_variable_used_is_declared_and_every_declared_one_is_used(board: Board) -> None:
    declared = [variable["name"] for variable in board.document["templating"]["list"]]
    assert len(set(declared)) == len(declared)
    used = set(re.findall(r"\$\{?(\w+)", board.path.read_text()))
    assert used - _BUILT_IN == set(declared)
    seen: set[str] = set()
    for variable in board.document["templating"]["list"]:
        if variable["type"] == "query":
            assert set(re.findall(r"\$(\w+)", variable["query"]["query"])) <= seen
        seen.add(variable["name"])


def test_every_metric_used_is_exposed(board: Board) -> None:
    exposed = set(SERIES_METRICS) | _PROMETHEUS_OWN
    for spec in CATALOGUE:
        suffixes = ("_bucket", "_sum", "_count") if spec.type is MetricType.HISTOGRAM else ("",)
        exposed |= {spec.name + suffix for suffix in suffixes}
    for expression in board.expressions():
        used = set(re.findall(r"\b(?:sentinel_\w+|ALERTS)\b", expression))
        assert used, expression
        assert used <= exposed, expression


def test_the_band_lies_between_two_series_of_its_own_panel(board: Board) -> None:
    """A fill names one other legend, not a pattern: with any other legend the band silently disappears."""
    bands = [
        panel for panel in board.panels() if "fillBelowTo" in json.dumps(panel["fieldConfig"])
    ]
    assert len(bands) == (board.path.stem == "sentinel-series")
    if not bands:
        return
    [band] = bands
    legends = [target["legendFormat"] for target in band["targets"]]
    assert legends == ["upper", "lower", "expected", "value"]
    for target in band["targets"]:
        matchers = re.findall(r'(\w+)="\$\1"', target["expr"])
        assert set(matchers) == {"instance", "route", "service", "signal", "stage"}
    # Errors and latency have no lower end, and a fill down to nothing is not drawn: then it goes down to 0.
    assert " or 0 * sentinel_upper{" in band["targets"][1]["expr"]
    upper = band["fieldConfig"]["overrides"][0]
    assert upper["matcher"] == {"id": "byName", "options": "upper"}
    assert {"id": "custom.fillBelowTo", "value": "lower"} in upper["properties"]
