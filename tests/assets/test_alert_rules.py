"""Goal: every shipped alert can be trusted to fire when it must, to be quiet otherwise, and to say what to do.

Method: promtool lints the rules and runs their unit tests; then each rule is broken on purpose, one small change at a
time, and the same unit tests must notice.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sentinel.core.incidents.identity import ALERT_NAMES, STORM_ALERT_NAME
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.metrics import MetricType
from tests.support.skips import require_binary

ROOT = Path(__file__).parents[2]
RULES = ROOT / "alert_rules/sentinel.yaml"
UNIT_TESTS = ROOT / "tests/assets/rules_test.yaml"
VERDICTS = {f"sentinel_{name}" for name in ("value", "expected", "lower", "upper", "score")}

pytestmark = pytest.mark.timeout(120)

_rules: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
_names = [rule["alert"] for rule in _rules]


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require_binary("promtool"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_promtool_finds_nothing_to_complain_about() -> None:
    result = promtool("check", "rules", "--lint=all", "--lint-fatal", str(RULES))
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_is_quiet_fires_and_is_quiet_again() -> None:
    result = promtool("test", "rules", str(UNIT_TESTS))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("rule", _rules, ids=_names)
def test_a_rule_says_who_must_look_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule["labels"]) == {"severity"}
    assert rule["labels"]["severity"] in ("page", "ticket", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    runbook = rule["annotations"]["runbook_url"]
    assert runbook == f"docs/runbooks/{rule['alert']}.md"
    text = (ROOT / runbook).read_text()
    assert text.startswith(f"# {rule['alert']}\n")
    for heading in ("## What it means", "## Look", "## Do"):
        assert heading in text


def test_every_runbook_belongs_to_an_alert() -> None:
    pages = {path.stem for path in (ROOT / "docs/runbooks").glob("*.md")} - {"index"}
    sent_by_sentinel = {*ALERT_NAMES.values(), STORM_ALERT_NAME, "SentinelHeartbeat"}
    assert pages == set(_names) | sent_by_sentinel


@pytest.mark.parametrize("rule", _rules, ids=_names)
def test_a_rule_uses_only_metrics_that_are_exposed(rule: dict[str, Any]) -> None:
    exposed = VERDICTS | {"up"}
    for spec in CATALOGUE:
        suffixes = ("_bucket", "_sum", "_count") if spec.type is MetricType.HISTOGRAM else ("",)
        exposed |= {spec.name + suffix for suffix in suffixes}
    used = set(re.findall(r"\b(?:sentinel_\w+|up(?=\{))", rule["expr"]))
    assert used
    assert used <= exposed


@pytest.mark.parametrize("rule", _rules, ids=_names)
def test_a_broken_rule_is_noticed(rule: dict[str, Any], tmp_path: Path) -> None:
    name = rule["alert"]
    every = yaml.safe_load(UNIT_TESTS.read_text())
    cases = [
        case
        for case in every["tests"]
        if any(check["alertname"] == name for check in case["alert_rule_test"])
    ]
    assert cases
    tests = {**every, "rule_files": ["rules.yaml"], "tests": cases}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(tests))

    def is_noticed(changed: dict[str, Any]) -> bool:
        groups = {"groups": [{"name": "changed", "rules": [changed]}]}
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump(groups))
        result = promtool("test", "rules", str(tmp_path / "tests.yaml"))
        return result.returncode != 0

    assert not is_noticed(rule), "the rule as it is must pass"
    survivors = [what for what, changed in _mutants(rule) if not is_noticed(changed)]
    assert survivors == []


def _mutants(rule: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every rule that differs by one operator, limit, window, wait, matcher or function."""
    expression: str = rule["expr"]
    swaps = {
        r"(?<![<>=!])>(?!=)": (">=", "<"),
        r">=": (">", "<"),
        r"==": ("!=",),
        r"\bor\b": ("and",),
        r"\band\b": ("or",),
        r"(?<=\[)\d+m(?=\])": ("60m", "1m"),
        r"(?<=offset )\d+m": ("60m", "1m"),
        r"(?<![\w.\[])(?:\d+\.\d+|[1-9]\d*)(?![\w.])": ("{}00", "{}/100"),
        r"=~": ("!~",),
        r"absent\(": ("(",),
    }
    for pattern, replacements in swaps.items():
        for found in re.finditer(pattern, expression):
            for replacement in replacements:
                new = replacement.replace("{}00", f"({found[0]}*100)").replace("{}", found[0])
                if found[0] == new:
                    continue
                changed = expression[: found.start()] + new + expression[found.end() :]
                yield f"{found[0]} at {found.start()} -> {new}", {**rule, "expr": changed}
    if "for" in rule:
        yield "no wait", {key: value for key, value in rule.items() if key != "for"}
        yield "a long wait", {**rule, "for": "10h"}
