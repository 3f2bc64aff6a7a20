"""Which rules, broken on purpose, their unit tests do not notice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from tests.support.rules.cases import CASES, Rule, Subject, composed, failing, subjects
from tests.support.rules.mutants import Mutant, mutants

_LISTED = CASES / "survivors.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A rule and where it stands."""

    subject: Subject
    group: int
    index: int
    rule: Rule

    @property
    def name(self) -> str:
        """Of one rule alone: its file, its name, and what tells it from another of that name."""
        own = self.rule.get("alert") or self.rule["record"]
        more = self.rule.get("labels", {})
        told = more.get("slo") if "record" in self.rule else more.get("severity")
        return f"{self.subject.name}/{own}" + (f"/{told}" if told else "")


def every_rule() -> Iterator[Placed]:
    """Every shipped rule, in order."""
    for subject in subjects():
        for group, index, rule in subject.rules():
            yield Placed(subject=subject, group=group, index=index, rule=rule)


def unnoticed(placed: Placed, folder: Path, chosen: Sequence[Mutant]) -> list[str]:
    """What of these changes leaves every test of the rule as it was; AssertionError when nothing tests it."""
    subject, rule = placed.subject, placed.rule
    tests: dict[Path, int] = {}
    for number, mutant in enumerate(chosen):
        rules = folder / f"rules{number}.yaml"
        rules.write_text(
            yaml.safe_dump(subject.with_rule(placed.group, placed.index, mutant.rule))
        )
        for part, path in enumerate(subject.case_files):
            document = composed(
                path, rules=str(rules), about=rule.get("alert"), records=rule.get("record")
            )
            if document["tests"]:
                test = folder / f"test{number}-{part}.yaml"
                test.write_text(yaml.safe_dump(document))
                tests[test] = number
    assert len(set(tests.values())) == len(chosen), f"no test looks at {placed.name}"
    noticed = {tests[test] for test in failing(list(tests))}
    return [mutant.what for number, mutant in enumerate(chosen) if number not in noticed]


def sample_of(rule: Rule) -> list[Mutant]:
    """One mutant of each kind, the last of them, as a look that costs little."""
    return list({mutant.kind: mutant for mutant in mutants(rule)}.values())


@cache
def listed() -> Mapping[str, Mapping[str, str]]:
    """Changes that may go unnoticed, with the reason, by the rule's name."""
    found: Mapping[str, Mapping[str, str]] = yaml.safe_load(_LISTED.read_text())
    return found
