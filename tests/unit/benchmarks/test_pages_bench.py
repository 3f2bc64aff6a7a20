"""Goal: `make bench-pages` counts what people would have been told: how soon, how often, and how often for nothing.

Method: alerts as they are posted to an Alertmanager, and lines of a run, made by hand; the tables are held against the ledger.
"""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.pages import ordinary, running, scoring, telling
from benchmarks.pages.configs import STATIC_RULES
from benchmarks.pages.told import Firing, Side
from sentinel.reference.ledger.operate.faults import FAULTS, WEIGHTS
from tests.support.skips import require_binary


def alert(
    name: str = "SentinelAnomaly", *, starts: int = 0, ends: int | None = None, **labels: str
) -> dict[str, Any]:
    made: dict[str, Any] = {
        "labels": {"alertname": name, "service": "ledger", "severity": "page", **labels},
        "startsAt": f"2026-06-08T00:{starts // 60:02}:{starts % 60:02}Z",
    }
    if ends is not None:
        made["endsAt"] = f"2026-06-08T00:{ends // 60:02}:{ends % 60:02}Z"
    return made


AT_S = 1_780_876_800.0


def test_an_alert_that_is_sent_again_is_one_and_one_that_fires_anew_another() -> None:
    firing = Firing()
    firing.take("sentinel", [alert(ends=600)], at_s=AT_S + 10)
    firing.take("sentinel", [alert(ends=660)], at_s=AT_S + 70)
    assert [told.at_s for told in firing.told] == [AT_S + 10]
    assert [told.name for told in firing.now(severity="page")] == ["SentinelAnomaly"]
    firing.take("sentinel", [alert(ends=100)], at_s=AT_S + 101)
    assert firing.now(severity="page") == []
    firing.take("sentinel", [alert(starts=200, ends=900)], at_s=AT_S + 210)
    # Whose end nobody was told of.
    firing.take("sentinel", [alert(starts=400, ends=900)], at_s=AT_S + 410)
    assert [told.at_s - AT_S for told in firing.told] == [10, 210, 410]


def test_sides_are_told_apart_and_the_heartbeat_is_nobodys() -> None:
    firing = Firing()
    firing.take("sentinel", [alert("SentinelHeartbeat"), alert()], at_s=AT_S)
    firing.take("prometheus", [alert("LedgerDrift"), alert("Drift", by="static")], at_s=AT_S)
    assert [told.side for told in firing.told] == [Side.SENTINEL, Side.RULES, Side.STATIC]


def test_a_span_has_what_was_told_in_it() -> None:
    firing = Firing()
    firing.take("sentinel", [alert(severity="ticket")], at_s=AT_S + 5)
    firing.take("sentinel", [alert()], at_s=AT_S + 20)
    firing.take("prometheus", [alert("EdgeErrors", by="static")], at_s=AT_S + 90)
    found = scoring.of_span(
        firing.told, [(AT_S + 25, Side.SENTINEL)], since_s=AT_S, until_s=AT_S + 60
    )
    assert found["sentinel"] == {
        "page_s": 20.0,
        "ticket_s": 5.0,
        "pages": 1,
        "tickets": 1,
        "notices": 1,
        "names": ["ticket SentinelAnomaly ledger", "page SentinelAnomaly ledger"],
    }
    assert found["static"]["page_s"] is None


def side(
    page_s: float | None = None, *, pages: int = 0, ticket_s: float | None = None
) -> dict[str, Any]:
    return {
        "page_s": page_s,
        "ticket_s": ticket_s,
        "pages": pages,
        "tickets": int(ticket_s is not None),
        "notices": pages,
        "names": [],
    }


def held(
    fault: str,
    sentinel: dict[str, Any],
    *,
    static: dict[str, Any],
    rules: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "kind": "fault",
        "round": 0,
        "fault": fault,
        "weight": WEIGHTS[fault].weight.value,
        "sides": {"sentinel": sentinel, "rules": rules or side(), "static": static},
    }


def calm(*, sentinel: int, static: int) -> dict[str, Any]:
    sides = {"sentinel": side(pages=sentinel), "rules": side(), "static": side(pages=static)}
    return {"kind": "quiet", "seconds": 300.0, "sides": sides}


def test_what_was_told_too_late_was_not_found() -> None:
    lines = [
        held("lock", side(20, pages=1), static=side(80, pages=3)),
        held("lock", side(121, pages=1), static=side(90, pages=3)),
    ]
    assert scoring.times(lines, "sentinel").found == 1
    assert math.isinf(scoring.times(lines, "sentinel").p95_s)
    assert scoring.times(lines, "static").median_s == 90
    assert scoring.summary(lines)["faults"]["lock"]["sentinel"]["p95_s"] is None


def test_ours_is_the_sidecar_with_its_rules_and_a_ticket_is_told_but_not_paged() -> None:
    lines = [
        held("poison", side(ticket_s=30), rules=side(40, pages=1), static=side(20, pages=1)),
        held("deadlocks", side(ticket_s=50), static=side()),
    ]
    assert scoring.times(lines, "sentinel").found == 0
    assert scoring.times(lines, "ours").found == 1
    assert scoring.times(lines, "ours", with_tickets=True).found == 2
    assert scoring.times(lines, "sentinel", with_tickets=True).slowest_s == 50


@pytest.mark.parametrize(
    ("sentinel", "static", "reached"),
    [(0, 10, True), (1, 10, True), (2, 10, False), (1, 0, False), (0, 0, None)],
)
def test_false_pages_are_held_against_the_thresholds(
    sentinel: int, static: int, *, reached: bool | None
) -> None:
    found = scoring.summary([calm(sentinel=sentinel, static=static)])
    assert found["quiet_s"] == 300
    assert found["false_pages"]["static"] == static
    assert found["goals"]["a tenth of the static thresholds' false pages"] is reached


def test_pages_of_a_quiet_stretch_that_was_none_are_told_apart_and_counted_all_the_same() -> None:
    slow = {**calm(sentinel=2, static=1), "felt": {"failed_ratio": 0.0, "p99_s": 4.8}}
    well = {**calm(sentinel=1, static=0), "felt": {"failed_ratio": None, "p99_s": 0.1}}
    found = scoring.summary([slow, well])
    assert found["false_pages"]["sentinel"] == 3
    assert found["false_pages_while_well"] == {"sentinel": 1, "rules": 0, "static": 0, "ours": 1}
    assert found["unwell_s"] == 300
    assert "in 5 of the quiet minutes requests failed" in telling.totals(found)


def test_the_tables_name_every_fault_and_every_goal() -> None:
    found = scoring.summary(
        [held("lock", side(20, pages=1), static=side(80, pages=3)), calm(sentinel=0, static=4)]
    )
    assert "| `lock` | hard | 1 | 1 of 1: 20 s, 20 s |" in telling.table(found)
    assert "80 s, 80 s" in telling.table(found)
    assert telling.totals(found).count("\nreached ") == 3


def test_weights_are_of_faults_that_there_are() -> None:
    assert WEIGHTS.keys() == FAULTS.keys()


def test_a_run_is_gone_on_with_where_it_ended(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    plan = running.Plan(
        faults=("lock", "errors", "loss"),
        times=2,
        quiet_s=1,
        opening_s=1,
        hold_s=1,
        until_told=False,
        until_s=None,
        results=results,
        resume=True,
    )
    first = running.ahead(plan)
    assert sorted(first) == [(n, name) for n in (0, 1) for name in ("errors", "lock", "loss")]
    # What it leaves behind is there for all that come after it in the round.
    assert [name for _, name in first][2::3] == ["loss", "loss"]
    results.write_text(
        '{"kind": "run"}\n{"kind": "fault", "round": 0, "fault": "lock"}\n'
        '{"kind": "failed", "round": 1, "fault": "loss"}\n{"kind": "fau'
    )
    assert set(first) - set(running.ahead(plan)) == {(0, "lock"), (1, "loss")}


def test_the_past_varies_as_what_was_measured(tmp_path: Path) -> None:
    plain, out = tmp_path / "plain.csv", tmp_path / "past.csv"
    header = "timestamp,service,stage,route,signal,value,weight\n"
    rows = [
        f'{300 * at},ledger-edge,edge,"GET /a,b",{signal},{value},30\n'
        for at in range(200)
        for signal, value in (("traffic", 5), ("latency", 0.01))
    ]
    plain.write_text(header + "".join(rows))
    place = ("ledger-edge", "edge", "GET /a,b")
    measured = {
        (*place, "latency"): [0.01, 0.02, 0.04],
        (*place, "traffic"): [5.0, 6.0, 7.0],
        ("nats", "queue", "S/poster", "consumer_backlog_count"): [0.0, 3.0],
        ("postgres", "database", "ledger", "size_bytes"): [1.0, 2.0],
    }
    assert ordinary.write_past(plain, out, measured, seed=1) == 3
    lines = out.read_text().splitlines()[1:]
    latency = np.array([float(line.split(",")[-2]) for line in lines if ",latency," in line])
    assert set(np.round(latency, 4)) == {0.005, 0.01, 0.02}
    backlog = {line.split(",")[-2] for line in lines if "consumer_backlog_count" in line}
    assert backlog == {"0", "3"}
    assert not any("size_bytes" in line for line in lines)
    assert [line for line in lines if ",traffic," in line] == [row.strip() for row in rows[::2]]
    stamps = [int(line.split(",")[0]) for line in lines]
    assert stamps == sorted(stamps)


def test_only_what_the_load_calls_is_learned_with_its_shape() -> None:
    measured = {
        ("ledger-edge", "edge", "GET /a", "traffic"): [5.0, 6.0, 7.0],
        ("ledger-edge", "edge", "GET /a", "errors"): [0.0, 0.0, 0.1],
        ("ledger-edge", "edge", "GET /seldom", "traffic"): [0.1, 0.0],
        ("ledger-reconcile", "database", "SELECT x", "traffic"): [5.0],
        ("nats", "queue", "S/poster", "consumer_backlog_count"): [0.0],
    }
    found = {(row["route"], row["signal"]): row["value"] for row in ordinary.levels(measured)}
    assert found == {("GET /a", "traffic"): 6.0, ("GET /a", "errors"): 0.0}


def test_the_static_thresholds_are_rules_that_prometheus_takes() -> None:
    checked = subprocess.run(
        [require_binary("promtool"), "check", "rules", str(STATIC_RULES)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
