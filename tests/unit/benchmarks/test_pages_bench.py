"""Goal: `make bench-pages` counts what people would have been told: how soon, how often, and how often for nothing.

Method: alerts as they are posted to an Alertmanager, and lines of a run, made by hand; the tables are held against the ledger.
"""

from __future__ import annotations

import math
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks.pages import ordinary, running, scoring, telling
from benchmarks.pages.configs import ROOT, SHIPPED_RULES, STATIC_RULES
from benchmarks.pages.matching import PARTS, concerns
from benchmarks.pages.told import Firing, Side, Told
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
        "unrelated_pages": 0,
        "unrelated_tickets": 0,
        "unrelated_names": [],
    }
    assert found["static"]["page_s"] is None


LOCK = [asdict(one) for one in FAULTS["lock"].expected]


def test_only_a_page_about_the_fault_is_its_detection_for_both_sides() -> None:
    """The first page of anything was once taken for it: of a machine that was busy, of the fault before."""
    firing = Firing()
    firing.take("sentinel", [alert(service="ledger-reconcile")], at_s=AT_S + 5)
    firing.take("prometheus", [alert("Drift", by="static")], at_s=AT_S + 6)
    firing.take("prometheus", [alert("LedgerDrift", severity="ticket")], at_s=AT_S + 7)
    firing.take("sentinel", [alert(service="ledger-poster")], at_s=AT_S + 20)
    firing.take("prometheus", [alert("CommitsLate", by="static")], at_s=AT_S + 70)
    found = scoring.of_span(firing.told, [], since_s=AT_S, until_s=AT_S + 90, expected=LOCK)
    assert (found["sentinel"]["page_s"], found["sentinel"]["pages"]) == (20.0, 1)
    assert found["sentinel"]["unrelated_pages"] == 1
    assert found["sentinel"]["unrelated_names"] == ["page SentinelAnomaly ledger-reconcile"]
    assert (found["static"]["page_s"], found["static"]["unrelated_pages"]) == (70.0, 1)
    assert (found["rules"]["tickets"], found["rules"]["unrelated_tickets"]) == (0, 1)
    # While nothing is held, all of it is for nothing.
    quiet = scoring.of_span(firing.told, [], since_s=AT_S, until_s=AT_S + 90)
    assert (quiet["sentinel"]["pages"], quiet["static"]["pages"]) == (2, 2)


def told_of(service: str, text: str = "") -> Told:
    firing = Firing()
    made = alert(service=service)
    made["annotations"] = {"summary": text, "description": ""}
    firing.take("sentinel", [made], at_s=AT_S)
    return firing.told[0]


@pytest.mark.parametrize(
    ("service", "text", "is_about"),
    [
        ("ledger-poster", "calls fail", True),
        ("ledger-reconcile", "calls fail at database SELECT x", False),
        # An incident that has the series in it, whoever it is named after.
        ("kong", "Moved first: ledger-edge database SELECT accounts (latency) at 14:32", True),
        ("kong", "Moved first: ledger-edge database SELECT accounts_old (latency)", False),
        ("kong", "nats queue LEDGER_C17 is old", True),
        ("kong", "nats queue LEDGER_EVENTS is old", False),
        ("(several)", "Strange at once: ledger-exporter, ledger-poster and 3 more", True),
        ("(several)", "Strange at once: ledger-exporter, ledger-poster-2", False),
    ],
)
def test_a_page_is_about_a_fault_by_its_service_or_by_a_series_in_it(
    service: str, text: str, *, is_about: bool
) -> None:
    assert concerns(told_of(service, text), LOCK) is is_about


def test_an_incident_that_comes_to_contain_the_fault_was_about_it_from_its_first_page() -> None:
    firing = Firing()
    first = alert(service="kong", ends=600)
    firing.take("sentinel", [{**first, "annotations": {"summary": "calls fail"}}], at_s=AT_S + 9)
    assert not concerns(firing.told[0], LOCK)
    text = "Also: calls fail at ledger-edge database SELECT accounts"
    firing.take("sentinel", [{**first, "annotations": {"description": text}}], at_s=AT_S + 30)
    assert [one.at_s for one in firing.told] == [AT_S + 9]
    assert concerns(firing.told[0], LOCK)
    assert firing.now(severity="page") == firing.told


def test_what_a_rule_looks_at_is_known_of_each_that_has_no_better_name_than_the_ledger() -> None:
    named = set()
    for path in (STATIC_RULES, *SHIPPED_RULES):
        for group in yaml.safe_load(path.read_text())["groups"]:
            named |= {
                rule["alert"]
                for rule in group["rules"]
                if rule.get("labels", {}).get("service") == "ledger"
            }
    assert named == PARTS.keys(), (
        "which part of the ledger it looks at: benchmarks/pages/matching.py"
    )


def test_every_fault_can_be_told_of_by_what_it_is_to_move() -> None:
    for name, fault in FAULTS.items():
        expected = [asdict(one) for one in fault.expected]
        for one in expected:
            assert concerns(told_of(one["service"]), expected), name
        assert not concerns(told_of("somebody-else"), expected)


def test_all_rules_about_the_ledger_are_evaluated_beside_it() -> None:
    """Those of webhooks, edge, audit and payouts were once left out, while it was said that all are there."""
    about = set()
    for path in (ROOT / "alert_rules").glob("*.yaml"):
        groups = yaml.safe_load(path.read_text())["groups"]
        services = {
            rule.get("labels", {}).get("service") for group in groups for rule in group["rules"]
        }
        about |= {path} if "ledger" in services else set()
    assert about <= set(SHIPPED_RULES)
    assert {path.stem for path in SHIPPED_RULES} >= {"nats", "postgres"}


def side(
    page_s: float | None = None,
    *,
    pages: int = 0,
    ticket_s: float | None = None,
    unrelated: int = 0,
) -> dict[str, Any]:
    return {
        "page_s": page_s,
        "ticket_s": ticket_s,
        "pages": pages,
        "tickets": int(ticket_s is not None),
        "notices": pages,
        "names": [],
        "unrelated_pages": unrelated,
        "unrelated_tickets": 0,
        "unrelated_names": [],
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


def test_unrelated_pages_have_their_own_column_for_each_side() -> None:
    line = held("lock", side(20, pages=1, unrelated=2), static=side(80, pages=1, unrelated=3))
    found = scoring.summary([line, line])
    assert found["unrelated_pages"] == {"sentinel": 4, "rules": 0, "static": 6, "ours": 4}
    assert found["false_pages"]["sentinel"] == 0
    assert telling.table(found).endswith("| 4, 0, 6 |")
    assert "and 6 about other things while faults were held" in telling.totals(found)
    # A line of a run from before they were counted.
    for one in line["sides"].values():
        del one["unrelated_pages"], one["unrelated_tickets"]
    assert scoring.summary([line])["unrelated_pages"]["static"] == 0


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


def test_bursts_and_batches_are_in_the_past_as_often_as_they_are_in_the_run(
    tmp_path: Path,
) -> None:
    """Without them a batch of salaries was as strange as on the first day, and paged."""
    plain, out = tmp_path / "plain.csv", tmp_path / "past.csv"
    place, webhook = ("ledger-edge", "edge", "POST /a"), ("ledger-webhooks", "client", "POST w")
    rows = [
        f"{300 * at},{','.join(where)},{signal},{value},{weight}\n"
        for at in range(4000)
        for where in (place, webhook)
        for signal, value, weight in (("traffic", 4, 1200), ("latency", 0.01, 1200))
    ]
    plain.write_text("timestamp,service,stage,route,signal,value,weight\n" + "".join(rows))
    gauge = ("nats", "queue", "S/poster", "consumer_backlog_count")
    usual = {
        **{(*where, "traffic"): [3.0, 4.0, 5.0] for where in (place, webhook)},
        **{(*where, "latency"): [0.01, 0.01] for where in (place, webhook)},
        gauge: [0.0],
    }
    burst = ordinary.event_of(
        [{(*where, "traffic"): 6.0 for where in (place, webhook)}] * 6, every_s=480, window_s=10
    )
    salaries = ordinary.event_of(
        [
            {(*webhook, "traffic"): 14.0, (*webhook, "latency"): 0.03, gauge: 70.0},
            {(*webhook, "traffic"): 4.0, gauge: 9.0},
        ],
        every_s=480,
        window_s=10,
    )
    assert (burst.share_ratio, salaries.share_ratio) == (60 / 480, 20 / 480)
    ordinary.write_past(plain, out, usual, seed=3, events=[burst, salaries])
    found: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for line in out.read_text().splitlines()[1:]:
        _, service, _, _, signal, value, weight = line.split(",")
        found.setdefault((service, signal), []).append((float(value), weight))

    def share(service: str, signal: str, value: float) -> float:
        return sum(one == value for one, _ in found[service, signal]) / 4000

    assert share("ledger-edge", "traffic", 6.0) == pytest.approx(60 / 480, abs=0.02)
    assert share("ledger-webhooks", "traffic", 14.0) == pytest.approx(10 / 480, abs=0.01)
    # What belongs together is of one window: its calls, how many stand behind a latency, its gauges.
    assert share("ledger-webhooks", "latency", 0.03) == share("ledger-webhooks", "traffic", 14.0)
    assert {w for v, w in found["ledger-webhooks", "latency"] if v == 0.03} == {"4200"}
    assert share("nats", "consumer_backlog_count", 70.0) == share(
        "ledger-webhooks", "traffic", 14.0
    )
    assert share("ledger-edge", "traffic", 4.0) == pytest.approx(1 - 60 / 480, abs=0.02)


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
        [
            require_binary("promtool"),
            "check",
            "rules",
            str(STATIC_RULES),
            *map(str, SHIPPED_RULES),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
