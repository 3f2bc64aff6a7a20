"""Goal: every shipped alert can be trusted to fire when it must, to be quiet otherwise, and to say what to do.

Method: promtool lints the rules and runs their unit tests, among them what the ledger's faults really looked like; names are
held against the catalogue and the code that makes them; then every rule is broken on purpose, and the same unit tests must notice: by
one change each, and by every change that there is in the full battery.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel.app.config import load_config
from sentinel.app.rules import look
from sentinel.app.rules.known import FOREIGN
from sentinel.app.rules.promql import selectors, words
from sentinel.core.incidents.identity import ALERT_NAMES, STORM_ALERT_NAME
from sentinel.core.model.known_gauges import KNOWN_GAUGES
from sentinel.reference.ledger.edge.versions import WRITES
from sentinel.reference.ledger.operate.faults import FAULTS
from tests.support.dashboards import BOARDS
from tests.support.rules.broken import (
    Placed,
    every_rule,
    listed,
    one_of_each,
    unnoticed,
    unnoticed_of,
)
from tests.support.rules.cases import (
    RECORDINGS,
    ROOT,
    RULES,
    Subject,
    cases_of,
    composed,
    failing,
    promtool,
    recording,
    subjects,
)
from tests.support.rules.fires import firing
from tests.support.rules.ledger_scenes import SCENES
from tests.support.rules.mutants import mutants
from tests.support.rules.otlp_page import prometheus_name
from tests.support.rules.sources import PAGE, sources, stated, written
from tests.support.skips import require_binary

pytestmark = pytest.mark.timeout(300)

RUNBOOKS = ROOT / "docs/runbooks"
SENT_BY_SENTINEL = {*ALERT_NAMES.values(), STORM_ALERT_NAME, "SentinelHeartbeat"}
BY_THE_SCENE = {"sentinel", "sentinel-dead", "collectors", "cluster", "few"}
PLACED = list(every_rule())
ALERTS = [placed for placed in PLACED if "alert" in placed.rule]
SUBJECTS = [pytest.param(subject, id=subject.name) for subject in subjects()]


def named(placed: list[Placed]) -> list[Any]:
    return [pytest.param(one, id=one.name) for one in placed]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_promtool_finds_nothing_to_complain_about(subject: Subject) -> None:
    result = promtool("check", "rules", "--lint=all", "--lint-fatal", subject.path)
    assert result.returncode == 0, result.stdout


def test_sentinel_finds_nothing_to_complain_about() -> None:
    looked = look([RULES], runbooks=RUNBOOKS)
    assert looked.alert_count == len(ALERTS)
    assert [str(finding) for finding in looked.findings] == []


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_unit_test_passes(subject: Subject, tmp_path: Path) -> None:
    assert subject.case_files
    paths = []
    for path in subject.case_files:
        test = tmp_path / path.name
        test.write_text(yaml.safe_dump(composed(path, rules=str(subject.path))))
        paths.append(test)
    failed = failing(paths)
    assert not failed, promtool("test", "rules", *failed).stdout


@pytest.mark.parametrize("placed", named(ALERTS))
def test_an_alert_has_a_firing_and_a_quiet_golden(placed: Placed) -> None:
    name, severity = placed.rule["alert"], placed.rule["labels"]["severity"]
    checks = [
        check
        for case in cases_of(placed.subject)
        for check in case.get("alert_rule_test", ())
        if check["alertname"] == name
    ]
    fired = [alert for check in checks for alert in check["exp_alerts"]]
    assert any(alert["exp_labels"]["severity"] == severity for alert in fired)
    assert any(not check["exp_alerts"] for check in checks)


@pytest.mark.parametrize("placed", named(ALERTS))
def test_an_alert_says_who_must_look_and_what_to_do(placed: Placed) -> None:
    rule = placed.rule
    assert rule["labels"]["severity"] in ("page", "ticket", "info")
    # A fixed service, or the one that the expression leaves on each alert.
    told = {label for case in _firing(placed) for label in case["exp_labels"]}
    assert "service" in told
    assert set(rule["annotations"]) == {
        *("summary", "description", "runbook_url"),
        *("dashboard_url", "incident_url"),
    }
    runbook = rule["annotations"]["runbook_url"]
    assert runbook == f"docs/runbooks/{rule['alert']}.md"
    text = (ROOT / runbook).read_text()
    assert text.startswith(f"# {rule['alert']}\n\nSeverity: ")
    for heading in ("What it means", "Look", "Do", "False alarms"):
        assert f"\n## {heading}\n\n" in text
    if rule["alert"] not in SENT_BY_SENTINEL:
        assert text.splitlines()[2].startswith(f"Severity: {rule['labels']['severity']}. ")


def _firing(placed: Placed) -> list[dict[str, Any]]:
    return [
        alert
        for case in cases_of(placed.subject)
        for check in case.get("alert_rule_test", ())
        if check["alertname"] == placed.rule["alert"]
        for alert in check["exp_alerts"]
    ]


@pytest.mark.parametrize("placed", named(ALERTS))
def test_an_alerts_links_lead_to_boards_that_exist_and_set_what_they_have(placed: Placed) -> None:
    variables = {
        board.path.stem: {variable["name"] for variable in board.variables()} for board in BOARDS
    }
    urls = [placed.rule["annotations"][f"{what}_url"] for what in ("dashboard", "incident")]
    for url in urls:
        uid, _, query = url.removeprefix("d/").partition("?")
        assert url.startswith("d/")
        assert set(re.findall(r"var-(\w+)=", query)) <= variables[uid], url
        # A service is called as whoever runs it likes; in an address that must stay one value.
        values = re.findall(r"=({{.*?}})", query)
        assert all(re.fullmatch(r"{{ \$labels\.\w+ \| urlquery }}", one) for one in values), url
    assert urls[1].startswith("d/sentinel-incident")


def test_every_runbook_belongs_to_an_alert() -> None:
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"index"}
    assert pages == {placed.rule["alert"] for placed in ALERTS} | SENT_BY_SENTINEL


def test_every_gauge_that_is_asked_for_is_made_by_a_scraper() -> None:
    """A signal is a label: no catalogue of metrics would notice one that is misspelt."""
    code = "\n".join(
        path.read_text()
        for package in ("scrapers", "core/normalise")
        for path in (ROOT / "sentinel" / package).rglob("*.py")
    )
    made = set(re.findall(r"[a-z][a-z0-9_]*", code))
    # Those that are put together of parts stand whole in the table of what is known of gauges.
    made |= {signal for of_stage in KNOWN_GAUGES.values() for signal in of_stage}
    kinds = {"traffic", "errors", "latency", "slow_calls"}
    asked = {
        signal
        for placed in PLACED
        for one in selectors(words(placed.rule["expr"]))
        for label, _, text in one.matchers
        if label == "signal"
        for signal in text.split("|")
    }
    assert len(asked) > 25
    unknown = {
        signal
        for signal in asked - kinds
        if not re.fullmatch(r"[a-z0-9_]+", signal) or signal not in made
    }
    # Patterns are made of names, too, and events of what they are counted by.
    assert unknown == {".+_leaderless_count", "events_(max_deliveries", "terminated)_per_s"}
    assert {"stream_leaderless_count", "max_deliveries", "terminated"} <= made


def test_the_recordings_are_of_faults_and_of_no_machine() -> None:
    found = sorted(RECORDINGS.glob("*.yaml"))
    for path in found:
        document = recording(path.stem)
        # Those of `sentinel_scenes.py` break sidecars and servers by themselves.
        assert set(document.get("faults", [path.stem])) <= {*FAULTS, *BY_THE_SCENE}
        assert document["interval"] in ("15s", "30s")
        assert not re.search(r"127\.0\.0\.1|/tmp/", path.read_text())
        assert path.stat().st_size < 100_000
    used = {case["recorded"] for one in subjects() for case in cases_of(one) if "recorded" in case}
    assert used == {path.stem for path in found}


def test_every_recording_is_one_that_can_be_made_again() -> None:
    """By name, as the scenes make them: what nobody can record again cannot be trusted when rules change."""
    code = "\n".join(
        (ROOT / f"tests/support/rules/{name}.py").read_text()
        for name in ("verdict_scene", "ledger_scenes", "sentinel_scenes", "collector_scenes")
    )
    assert {path.stem for path in RECORDINGS.glob("*.yaml")} <= set(
        re.findall(r'"([a-z-]+)"', code)
    )
    asked = {fault for acts in SCENES.values() for act in acts for fault in act.faults}
    assert asked <= set(FAULTS)


@pytest.mark.full
@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_nothing_fires_in_a_recording_before_its_fault_that_is_told_of(path: Path) -> None:
    """Of the alerts whose golden a recording is, none fires before the fault and each does in it."""
    begins_min = recording(path.stem)["fault_begins_s"] // 60
    for subject in subjects():
        told = {
            check["alertname"]
            for case in cases_of(subject)
            if case.get("recorded") == path.stem
            for check in case["alert_rule_test"]
            if check["exp_alerts"]
        }
        found = firing(subject, path.stem) if told else {}
        assert told <= set(found)
        if path.stem not in ("lock", "stall", "errors"):
            assert {alert for alert in told if min(found[alert]) < begins_min} == set()


def test_the_ledger_has_the_names_that_rules_ask_it_for() -> None:
    """Rules and ledger meet on the wire: what one of them renames, nothing else would notice."""
    telemetry = ROOT / "sentinel/reference/ledger/telemetry"
    elsewhere = ROOT / "sentinel/reference/ledger/operate/storage/handing.py"
    files = [*sorted(telemetry.glob("*.py")), elsewhere]
    code = "\n".join(path.read_text() for path in files)
    instruments = {
        prometheus_name(name, "", is_counter=False)
        for name in re.findall(r'"((?:ledger|http)\.[a-z_.]+)"', code)
    }
    endings = r"(?:_seconds|_bytes|_ratio)?(?:_total|_bucket|_sum|_count)?$"
    known = {*FOREIGN["ledger_"], *FOREIGN["http_server_request_duration_"]}
    # What is a count by its name is not told by an ending.
    unknown = known - instruments
    assert {name for name in unknown if re.sub(endings, "", name) not in instruments} == set()
    asked = {
        (label, text)
        for placed in PLACED
        for one in selectors(words(placed.rule["expr"]))
        for label, operator, text in one.matchers
        if label in ("http_route", "ledger_transfer_outcome")
    }
    [written] = {text for label, text in asked if label == "http_route"}
    assert asked == {("http_route", written), ("ledger_transfer_outcome", "conflict")}
    writes = [route for one in WRITES for route in (one.v1, one.v2)]
    assert len(writes) >= 10
    assert [one for one in writes if not re.fullmatch(written, one)] == []
    assert (
        'CONFLICT = "conflict"'
        in (ROOT / "sentinel/reference/ledger/domain/posting.py").read_text()
    )


def test_what_the_page_says_to_configure_is_accepted(tmp_path: Path) -> None:
    text = (ROOT / "docs/components/alert_rules.md").read_text()
    blocks = [yaml.safe_load(one) for one in re.findall(r"(?ms)^```yaml\n(.*?)^```$", text)]
    prometheus = {key: value for one in blocks for key, value in one.items() if key != "web"}
    inhibit, forward = prometheus.pop("inhibit_rules"), prometheus.pop("forward")
    (tmp_path / "prometheus.yml").write_text(
        yaml.safe_dump({**prometheus, "rule_files": [str(RULES / "*.yaml")]})
    )
    checked = promtool("check", "config", tmp_path / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout
    (tmp_path / "alertmanager.yml").write_text(
        yaml.safe_dump(
            {"route": {"receiver": "x"}, "receivers": [{"name": "x"}], "inhibit_rules": inhibit}
        )
    )
    amtool = subprocess.run(
        [require_binary("amtool"), "check-config", str(tmp_path / "alertmanager.yml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert amtool.returncode == 0, amtool.stdout + amtool.stderr
    [web] = [one["web"] for one in blocks if "web" in one]
    (tmp_path / "sentinel.yaml").write_text(yaml.safe_dump({"web": web, "forward": forward}))
    assert load_config(tmp_path / "sentinel.yaml", environment={}).config.web.series_routes


def test_addresses_are_put_into_the_files_as_the_page_says(tmp_path: Path) -> None:
    text = (ROOT / "docs/components/alert_rules.md").read_text()
    [command] = re.findall(r"(?m)^sudo (sed -i .*)$", text)
    command = command.replace("/etc/prometheus/", "")
    shutil.copytree(RULES, tmp_path / "alert_rules")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, timeout=20)
    beginnings = {
        "runbook_url": "https://wiki.example/runbooks/",
        "dashboard_url": "https://grafana.example/d/sentinel-",
        "incident_url": "https://grafana.example/d/sentinel-incident",
    }
    for placed in ALERTS:
        document = yaml.safe_load(
            (tmp_path / "alert_rules" / placed.subject.path.name).read_text()
        )
        annotations = document["groups"][placed.group]["rules"][placed.index]["annotations"]
        for name, beginning in beginnings.items():
            assert annotations[name].startswith(beginning), placed.name


def test_the_page_says_where_each_golden_is_from() -> None:
    page = PAGE.read_text()
    assert page == written(page), "python -m tests.support.rules.sources"


def test_what_is_not_recorded_has_a_reason_and_what_is_has_none() -> None:
    rows = sources()
    assert [row.alert for row in rows if not row.recordings and len(row.reason) < 10] == []
    of_files = {row.file for row in rows if not row.recordings}
    left = {row.alert for row in rows if not row.recordings}
    assert set(stated()) <= of_files | left


@pytest.mark.parametrize("subject", SUBJECTS)
def test_one_change_of_every_rule_is_noticed(subject: Subject, tmp_path: Path) -> None:
    """What turns red at once; every change of every rule is tried in the full battery."""
    chosen = [one for one in one_of_each() if one[0].subject is subject]
    assert [placed for placed, _ in chosen] == [one for one in PLACED if one.subject is subject]
    for placed, what in unnoticed_of(chosen, tmp_path):
        assert what in listed().get(placed.name, {}), f"{placed.name}: {what}"


def test_changes_of_every_kind_are_among_them() -> None:
    kinds = {mutant.kind for placed in PLACED for mutant in mutants(placed.rule)}
    assert {mutant.kind for _, mutant in one_of_each()} == kinds
    assert len(kinds) == 9


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("placed", named(PLACED))
def test_a_broken_rule_is_noticed(placed: Placed, tmp_path: Path) -> None:
    every = list(mutants(placed.rule))
    assert every
    survivors = unnoticed(placed, tmp_path, every)
    assert sorted(survivors) == sorted(listed().get(placed.name, {}))


def test_every_survivor_that_is_listed_has_a_rule_and_a_reason() -> None:
    names = {placed.name for placed in PLACED}
    assert set(listed()) <= names
    assert all(len(reason) > 20 for rule in listed().values() for reason in rule.values())
