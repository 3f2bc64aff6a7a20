"""Goal: a rule that can never fire, or of which nobody knows what to do, is a fault; what cannot be known is a note.

Method: small files of rules, each wrong in one way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel.app.rules import RuleFileUnreadableError, look

RULE: dict[str, Any] = {
    "alert": "ShopSlow",
    "expr": "sentinel_evaluation_lag_seconds > 60",
    "labels": {"severity": "page"},
    "annotations": {"summary": "s", "description": "d", "runbook_url": "https://x/ShopSlow.md"},
}


def written(folder: Path, *rules: dict[str, Any], name: str = "rules.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": list(rules)}]}))
    return path


def told(path: Path, **options: Any) -> list[str]:
    return [
        f"{'' if finding.is_fault else 'note: '}{finding.what}"
        for finding in look([path], **options).findings
    ]


def test_a_rule_as_it_should_be(tmp_path: Path) -> None:
    looked = look([written(tmp_path, RULE)])
    assert (looked.alert_count, looked.record_count, looked.findings) == (1, 0, ())


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        (
            "sentinel_evaluation_lag_secnds > 1",
            "Sentinel has no metric sentinel_evaluation_lag_secnds; is sentinel_evaluation_lag_seconds meant?",
        ),
        (
            "rate(sentinel_decide_seconds[5m]) > 1",
            "Sentinel has no metric sentinel_decide_seconds; is sentinel_decide_seconds_sum meant?",
        ),
        (
            "rate(kong_http_status[5m]) > 1",
            "no metric kong_http_status is known of its exporter; is kong_http_requests_total meant?",
        ),
        (
            "job:x:rate5m > 1",
            "none of these files records job:x:rate5m; name the one that does as well",
        ),
        ("up == 1)", "its expression: ')' closes what was not opened"),
        ("my_app_total > 1", "note: not known here, and not looked at: my_app_total"),
        (
            'sentinel_score{servce="x"} > 1',
            "note: sentinel_score has no label servce by itself: it must come from how it is scraped",
        ),
    ],
)
def test_names_are_held_against_what_there_is(tmp_path: Path, expression: str, what: str) -> None:
    [found] = told(written(tmp_path, {**RULE, "expr": expression}))
    if "kong_http_status" in expression:
        assert found.startswith("no metric kong_http_status is known of its exporter")
    elif "decide" in expression:
        assert found.startswith("Sentinel has no metric sentinel_decide_seconds; is ")
    else:
        assert found == what


@pytest.mark.parametrize(
    "expression",
    [
        "up == 0",
        "rate(sentinel_decide_seconds_bucket[5m]) > 1",
        'sentinel_score{horizon="5m", job="x"} >= 1',
        'sentinel_latency_seconds{quantile="0.99"} > 1',
        "sentinel_pages_left_to_rules == 1",
        "kong_upstream_latency_ms_count > 1",
        "ledger_transfers_posted_total > 1",
    ],
)
def test_what_there_is_is_no_fault(tmp_path: Path, expression: str) -> None:
    assert told(written(tmp_path, {**RULE, "expr": expression})) == []


def test_what_another_file_records_is_known(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    written(folder, {**RULE, "expr": "job:x:rate5m > 1"}, name="a.yaml")
    written(folder, {"record": "job:x:rate5m", "expr": "up"}, name="b.yml")
    assert told(folder) == []


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            {"labels": {}},
            "the label severity is missing; it must be page or ticket or info",
        ),
        (
            {"labels": {"severity": "critical"}},
            "the label severity is 'critical'; it must be page or ticket or info",
        ),
        (
            {"labels": {"severity": "page", "at": "{{ $value }}"}},
            "the label at has a measured value in it: each value would be another alert",
        ),
        (
            {"annotations": {"summary": "s", "runbook_url": "x/ShopSlow"}},
            "it has no description",
        ),
        (
            {"annotations": {**RULE["annotations"], "runbook_url": "https://x/ShopDown.md#do"}},
            "its runbook is 'ShopDown' and has not the alert's name",
        ),
    ],
)
def test_an_alert_says_who_and_what(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    assert told(written(tmp_path, {**RULE, **change})) == [what]


def test_other_severities_may_be_named(tmp_path: Path) -> None:
    path = written(tmp_path, {**RULE, "labels": {"severity": "critical"}})
    assert told(path, severities=("critical", "warning")) == []


def test_a_runbook_must_be_there(tmp_path: Path) -> None:
    books = tmp_path / "books"
    books.mkdir()
    path = written(tmp_path, RULE)
    assert told(path, runbooks=books) == [f"there is no ShopSlow.md in {books}"]
    (books / "ShopSlow.md").touch()
    assert told(path, runbooks=books) == []


def test_a_rule_that_stands_twice(tmp_path: Path) -> None:
    other = {**RULE, "labels": {"severity": "ticket"}}
    [found] = told(written(tmp_path, RULE, other, {**RULE, "expr": "up == 0"}))
    assert found == "another rule has the same name and the same labels"


def test_findings_name_file_and_line(tmp_path: Path) -> None:
    path = written(tmp_path, RULE, {**RULE, "alert": "Other", "labels": {}})
    lines = path.read_text().splitlines()
    found = look([path]).findings
    assert {finding.rule for finding in found} == {"Other"}
    # A mapping begins with its first key, on the line of its dash.
    assert {lines[finding.line - 1].lstrip() for finding in found} == {"- alert: Other"}
    assert str(found[0]).startswith(f"{path}:{found[0].line}: Other: ")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: [", "it is no YAML"),
        ("a: 1", "it has no list `groups`"),
        ("[]", "it has no list `groups`"),
        ("groups: [{name: g}]", "a group has no list `rules`"),
        ("groups: [{rules: [{expr: up}]}]", "neither `alert` nor `record`"),
        ("groups: [{rules: [{alert: a, record: b, expr: up}]}]", "neither `alert` nor `record`"),
        ("groups: [{rules: [{record: a}]}]", "a rule has no `expr`"),
        ("", "it has no list `groups`"),
    ],
)
def test_what_is_no_file_of_rules_is_a_fault(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    [found] = told(path)
    assert what in found


def test_the_resource_of_the_operator_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "rule.yaml"
    spec = {"groups": [{"name": "g", "rules": [RULE]}]}
    path.write_text(yaml.safe_dump({"kind": "PrometheusRule", "spec": spec}))
    assert look([path]).alert_count == 1


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(RuleFileUnreadableError, match="No such file"):
        look([tmp_path / "not-there.yaml"])
    with pytest.raises(RuleFileUnreadableError, match="there is no"):
        look([tmp_path])
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RuleFileUnreadableError, match="UTF-8"):
        look([tmp_path])
    with pytest.raises(RuleFileUnreadableError, match="no such folder"):
        look([tmp_path / "x.yaml"], runbooks=tmp_path / "books")
