"""Which rules, broken on purpose, their unit tests do not notice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

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
    return [what for _, what in unnoticed_of([(placed, one) for one in chosen], folder)]


def unnoticed_of(
    chosen: Sequence[tuple[Placed, Mutant]], folder: Path
) -> list[tuple[Placed, str]]:
    """The same of changes of many rules, which cost less together."""
    tests: dict[Path, int] = {}
    for number, (placed, mutant) in enumerate(chosen):
        rules = folder / f"rules{number}.yaml"
        rules.write_text(_dumped(_with_what_it_needs(placed, mutant.rule)))
        about, records = placed.rule.get("alert"), placed.rule.get("record")
        for part, path in enumerate(placed.subject.case_files):
            document = composed(path, rules=str(rules), about=about, records=records)
            if document["tests"]:
                test = folder / f"test{number}-{part}.yaml"
                test.write_text(_dumped(document))
                tests[test] = number
    untested = [
        placed.name
        for number, (placed, _) in enumerate(chosen)
        if number not in set(tests.values())
    ]
    assert not untested, f"no test looks at {', '.join(untested)}"
    noticed = {tests[test] for test in failing(list(tests))}
    return [
        (placed, mutant.what)
        for number, (placed, mutant) in enumerate(chosen)
        if number not in noticed
    ]


def _with_what_it_needs(placed: Placed, changed: Rule) -> dict[str, Any]:
    """The changed rule with all that is recorded beside it; alerts do not look at one another."""
    document = placed.subject.with_rule(placed.group, placed.index, changed)
    if "record" in placed.rule:
        return document
    groups = [
        {
            **group,
            "rules": [rule for rule in group["rules"] if "record" in rule or rule is changed],
        }
        for group in document["groups"]
    ]
    return {"groups": [group for group in groups if group["rules"]]}


def _dumped(document: Mapping[str, Any]) -> str:
    return yaml.dump(document, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))


def one_of_each() -> list[tuple[Placed, Mutant]]:
    """One change of every rule that there is, each rule another of those it knows; the same each time."""
    chosen: list[tuple[Placed, Mutant]] = []
    for number, placed in enumerate(every_rule()):
        every = list(mutants(placed.rule))
        # 7 shares no divisor with the usual counts, so that all kinds come up.
        chosen.append((placed, every[7 * number % len(every)]))
    return chosen


@cache
def listed() -> Mapping[str, Mapping[str, str]]:
    """Changes that may go unnoticed, with the reason, by the rule's name."""
    found: Mapping[str, Mapping[str, str]] = yaml.safe_load(_LISTED.read_text())
    return found
