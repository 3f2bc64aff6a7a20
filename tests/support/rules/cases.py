"""The unit tests of the alert rules: promtool's own form, with what the ledger's faults showed put in where a case names it.

Goldens have the alert's links added (`links.py`). A case with `recorded: lock` has the series of `tests/data/rules/lock.yaml` as input beside its own, at their interval; minute 0
is the first sample. All else is promtool's (https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.rules.links import with_links
from tests.support.skips import require_binary

ROOT = Path(__file__).parents[3]
RULES = ROOT / "alert_rules"
CASES = ROOT / "tests/assets/alert_rules"
RECORDINGS = ROOT / "tests/data/rules"

Rule = Mapping[str, Any]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_VERDICT = re.compile(r"Unit Testing:\s+(\S+)\s+(SUCCESS|FAILED)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One file of rules and the files of its tests."""

    path: Path
    document: Mapping[str, Any]
    case_files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Its file's name without the ending."""
        return self.path.stem

    def rules(self) -> Iterator[tuple[int, int, Rule]]:
        """Position of the group, position in it, and the rule."""
        for at, group in enumerate(self.document["groups"]):
            for index, rule in enumerate(group["rules"]):
                yield at, index, rule

    def with_rule(self, at: int, index: int, rule: Rule) -> dict[str, Any]:
        """The whole document with one rule changed."""
        groups = [dict(group) for group in self.document["groups"]]
        groups[at]["rules"] = [
            rule if where == index else other for where, other in enumerate(groups[at]["rules"])
        ]
        return {"groups": groups}


@cache
def subjects() -> tuple[Subject, ...]:
    """Every file of alert_rules/."""
    return tuple(
        Subject(
            path=path,
            document=yaml.safe_load(path.read_text()),
            case_files=tuple(sorted(CASES.glob(f"{path.stem}*_test.yaml"))),
        )
        for path in sorted(RULES.glob("*.yaml"))
    )


def composed(
    path: Path, *, rules: str, about: str | None = None, records: str | None = None
) -> dict[str, Any]:
    """A test file as promtool takes it.

    Args:
        path: the file.
        rules: the rule file it is to test.
        about: leaves only the cases that look at this alert, and of them only what they expect of it.
        records: leaves only the cases that look at what is recorded under this name.
    """
    document = _load(path)
    names = set(_NAME.findall(Path(rules).read_text())) if Path(rules).is_file() else set()
    # `slo_burn_test.yaml` is of `slo.yaml`: files of rules have one word for a name.
    subject = path.stem.partition("_")[0]
    cases = [
        with_links(subject, _with_recording(case, names))
        for case in document["tests"]
        if _looks_at(case, about, records)
    ]
    if about is not None:
        cases = [_about(case, about) for case in cases]
    return {**document, "rule_files": [rules], "tests": cases}


def _about(case: Mapping[str, Any], alert: str) -> dict[str, Any]:
    """The case without what it expects of others."""
    checks = [one for one in case["alert_rule_test"] if one["alertname"] == alert]
    rest = {key: value for key, value in case.items() if key != "promql_expr_test"}
    return {**rest, "alert_rule_test": checks}


def _looks_at(case: Mapping[str, Any], alert: str | None, record: str | None) -> bool:
    if alert is not None:
        return any(one["alertname"] == alert for one in case.get("alert_rule_test", ()))
    if record is not None:
        return any(
            record in _NAME.findall(one["expr"]) for one in case.get("promql_expr_test", ())
        )
    return True


def cases_of(subject: Subject) -> Iterator[Mapping[str, Any]]:
    """Every case of every file of a subject."""
    for path in subject.case_files:
        yield from _load(path)["tests"]


@cache
def recording(name: str) -> Mapping[str, Any]:
    """A recording by its name."""
    document: Mapping[str, Any] = _load(RECORDINGS / f"{name}.yaml")
    return document


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What promtool answers."""
    return subprocess.run(
        [require_binary("promtool"), *map(str, arguments)],
        stdout=subprocess.PIPE,
        # In one stream, because what failed is told in the one and of which file in the other.
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )


def failing(paths: Sequence[Path]) -> set[Path]:
    """Which of these test files promtool finds failing; AssertionError when one cannot be run at all."""
    found: set[Path] = set()
    for first in range(0, len(paths), 50):
        chunk = paths[first : first + 50]
        answer = promtool("test", "rules", *chunk)
        text = answer.stdout
        verdicts = {Path(one): word for one, word in _VERDICT.findall(text)}
        assert set(verdicts) == set(chunk), text
        assert "could not parse" not in text, text
        found |= {path for path, word in verdicts.items() if word == "FAILED"}
    return found


def _with_recording(case: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    made = {key: value for key, value in case.items() if key != "recorded"}
    if "recorded" in case:
        recorded = recording(case["recorded"])
        made["interval"] = recorded["interval"]
        own = made.get("input_series", [])
        made["input_series"] = own + [
            one for one in recorded["series"] if one["series"].partition("{")[0] in names
        ]
    return made


@cache
def _load(path: Path) -> Any:
    return yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
