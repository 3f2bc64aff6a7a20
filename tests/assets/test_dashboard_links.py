"""Goal: who is woken by an alert is led to the numbers it was about, and from them to what to do; a board and an alert never disagree.

Method: alerts, runbooks and boards held against one another; service levels of the boards against the rules word for word, and the units
of a series against what Prometheus makes of the expression.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards.source import levels
from dashboards.source.runbooks import SECTIONS
from dashboards.source.series import UNITS, measured
from tests.support.dashboards import BOARDS, Board
from tests.support.rules.broken import Placed, every_rule
from tests.support.rules.cases import ROOT, promtool

_BY_NAME = {board.path.stem: board for board in BOARDS}
_ALERTS = [placed for placed in every_rule() if "alert" in placed.rule]
_LEVELS = [placed for placed in _ALERTS if placed.subject.name == "slo"]
_RATE = re.compile(
    r"service_slo:errors_per_request:ratio_rate(\w+) > (?:([\d.]+) [*] )?service_slo:error_budget:ratio"
)


@pytest.mark.parametrize("placed", _ALERTS, ids=[one.name for one in _ALERTS])
def test_the_board_of_an_alert_leads_to_its_runbook(placed: Placed) -> None:
    """By a panel, or by the heading of its file in the list of runbooks."""
    board = _BY_NAME[_board_of(placed)]
    [heading] = [
        one for one in SECTIONS.values() if f"alert_rules{placed.subject.name}yaml" in one
    ] or [SECTIONS["Sentinel's pages"]]
    urls = set(board.links())
    own = f"${{runbooks}}/{placed.rule['alert']}.md"
    assert urls & {own, f"${{runbooks}}/index.md#{heading}"}


def test_every_runbook_is_reached_from_a_panel_but_those_of_what_no_board_shows() -> None:
    reached = {
        link["url"].removeprefix("${runbooks}/").removesuffix(".md")
        for board in BOARDS
        for panel in board.panels()
        for link in panel.get("links", [])
    }
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")} - {"index"}
    # There is no board of Kong: its alerts lead to the fleet, and to the heading.
    assert {one for one in pages - reached if not one.startswith("Gateway")} == set()
    assert reached <= pages


def _board_of(placed: Placed) -> str:
    url: str = placed.rule["annotations"]["dashboard_url"]
    return url.removeprefix("d/").partition("?")[0]


def test_alerts_of_what_a_board_shows_are_marked_on_it() -> None:
    for placed in _ALERTS:
        board = _BY_NAME[_board_of(placed)]
        patterns = re.findall(
            r'ALERTS{alertname=~"([^"]+)"', " ".join(expr for _, expr in board.marks())
        )
        name = placed.rule["alert"]
        # Of one series its own points are marked, and what was told of its service are incidents.
        assert board.path.stem == "sentinel-series" or any(
            re.fullmatch(one, name) for one in patterns
        ), name


def _asked_of_levels() -> list[tuple[str, str]]:
    return [(title, expr) for title, expr in _ledger().queries() if "service_slo:" in expr]


def _ledger() -> Board:
    return _BY_NAME["sentinel-ledger"]


def test_service_levels_are_shown_by_what_alerts_look_at() -> None:
    """The long and the short window of every alert, over the same budget, and the month as it was recorded."""
    looked_at = {window for placed in _LEVELS for window, _ in _RATE.findall(placed.rule["expr"])}
    assert looked_at == set(levels.WINDOWS)
    for slo, service, title in (
        ("availability", "ledger-edge", "Burn rates of accepting"),
        ("posting", "ledger-poster", "Burn rates of posting"),
    ):
        of = f'{{slo="{slo}", service="{service}"}}'
        shown = [expr for at, expr in _asked_of_levels() if at == title]
        assert shown == [
            f"service_slo:errors_per_request:ratio_rate{window}{of} / service_slo:error_budget:ratio{of}"
            for window in levels.WINDOWS
        ]
        [missed] = [one for one in _LEVELS if one.rule["alert"] == "ServiceLevelMissed"]
        record = missed.rule["expr"].removesuffix(" < 0")
        assert f"{record}{of}" in [expr for _, expr in _asked_of_levels()]


def test_no_service_level_of_the_board_is_worked_out_beside_the_rules() -> None:
    """No objective of its own, and no number that rules have not recorded."""
    recorded = {placed.rule["record"] for placed in every_rule() if "record" in placed.rule}
    asked = {
        name for _, expr in _asked_of_levels() for name in re.findall(r"service_slo:[\w:]+", expr)
    }
    assert asked
    assert asked <= recorded
    for _, expr in _asked_of_levels():
        assert not re.search(r"0[.]\d|99", re.sub(r"\[[^]]*\]", "", expr)), expr
    assert "objective" not in {one["name"] for one in _ledger().variables()}


def test_the_limits_that_are_drawn_are_those_of_the_alerts() -> None:
    factors: dict[str, set[float]] = {}
    for placed in _LEVELS:
        for _, factor in _RATE.findall(placed.rule["expr"]):
            factors.setdefault(placed.rule["labels"]["severity"], set()).add(float(factor or 1))
    assert max(factors["page"]) == levels.PAGES_AT
    assert min(factors["ticket"]) == levels.TICKETS_AT
    drawn = {
        panel["title"]: [
            one["value"] for one in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        ]
        for panel in _ledger().panels()
        if panel["title"].startswith("Burn rate")
    }
    assert drawn == {
        "Burn rate, 1 h": [None, levels.TICKETS_AT, levels.PAGES_AT],
        "Burn rate, 5 min": [None, levels.TICKETS_AT, levels.PAGES_AT],
        "Burn rates of accepting": [None, levels.PAGES_AT],
        "Burn rates of posting": [None, levels.PAGES_AT],
    }
    [told] = [
        panel["description"]
        for panel in _ledger().panels()
        if panel["title"] == "Burn rates of accepting"
    ]
    for factor in factors["page"] | factors["ticket"]:
        assert f"from {factor:g}" in told


def test_each_signal_is_measured_in_what_its_name_says(tmp_path: Path) -> None:
    """By Prometheus, which matches the patterns."""
    expected = {
        ("edge", "traffic"): "calls a second",
        ("edge", "errors"): "share",
        ("edge", "slow_calls"): "share",
        ("edge", "latency"): "seconds",
        ("database", "connections_used_ratio"): "share",
        ("database", "oldest_transaction_s"): "seconds",
        ("database", "deadlocks_per_s"): "a second",
        ("database", "bloat_bytes"): "bytes",
        ("database", "io_read_bytes_per_s"): "bytes a second",
        ("queue", "consumer_backlog_count"): "its own unit",
        ("metrics", "db.client.connection.count"): "its own unit",
        ("logs", "transfer accepted"): "lines a second",
    }
    assert set(expected.values()) == set(UNITS)
    samples: list[dict[str, Any]] = [
        {"labels": f'{{in="{unit}", stage="{stage}", signal="{signal}"}}', "value": 1}
        for (stage, signal), unit in expected.items()
    ]
    test = tmp_path / "test.yaml"
    case = {
        "interval": "1m",
        "input_series": [
            {"series": f'x{{stage="{stage}", signal="{signal}"}}', "values": "1"}
            for stage, signal in expected
        ],
        "promql_expr_test": [
            # A comparison would leave the name of the metric out, and the sum leaves nothing but labels.
            {
                "expr": f"sum by (in, stage, signal) ({measured('x')})",
                "eval_time": "0m",
                "exp_samples": samples,
            }
        ],
    }
    test.write_text(yaml.safe_dump({"rule_files": [], "tests": [case]}))
    answer = promtool("test", "rules", test)
    assert answer.returncode == 0, answer.stdout
