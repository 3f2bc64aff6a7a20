"""Rules broken on purpose, one small change at a time.

An expression is cut into words, so that a change hits what it is meant for: a comparison and no matcher, a duration of a range
and no number, a label's matcher and no text in quotes. What is changed:

    compare    > to >= and <, >= to > and <, < to <= and >, == to !=, ...     (outside of matchers)
    set        and, or, unless to another of them
    arithmetic - to +, + to -, / to *
    window     a range or an offset to twelve times and to a fifth
    number     twice and half; 0 is left alone
    matcher    = to !=, =~ to !~, and back
    grouping   a label that nothing has, in place of one in by, without, on
    wait       no `for`, ten times as long; the same of keep_firing_for
    label      severity page to ticket, ticket and info to page; any other label left out
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sentinel.app.rules.promql import Word, WordKind, words
from tests.support.rules.cases import Rule

_COMPARISONS: Final = {
    ">": (">=", "<"),
    ">=": (">", "<"),
    "<": ("<=", ">"),
    "<=": ("<", ">"),
    "==": ("!=",),
    "!=": ("==",),
}
_MATCHERS: Final = {"=": "!=", "!=": "=", "=~": "!~", "!~": "=~"}
_SETS: Final = {"and": ("or", "unless"), "or": ("and", "unless"), "unless": ("and", "or")}
_ARITHMETIC: Final = {"-": "+", "+": "-", "/": "*"}
_ADDED: Final = frozenset({"group_left", "group_right"})
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A rule with one change, and the change in words that name it in the list of survivors."""

    kind: str
    what: str
    rule: Rule


def mutants(rule: Rule) -> Iterator[Mutant]:
    """Every rule that differs from this one by one change."""
    expression: str = rule["expr"]
    for kind, word, new in _changes(words(expression)):
        changed = expression[: word.start] + new + expression[word.end :]
        line = expression.count("\n", 0, word.start) + 1
        column = word.start - (expression.rfind("\n", 0, word.start) + 1) + 1
        yield Mutant(
            kind=kind,
            what=f"{kind} {line}:{column} {word.text} -> {new}",
            rule={**rule, "expr": changed},
        )
    for wait in ("for", "keep_firing_for"):
        if wait in rule:
            yield Mutant(
                kind="wait",
                what=f"no {wait}",
                rule={key: value for key, value in rule.items() if key != wait},
            )
            longer = f"{10 * seconds(rule[wait])}s"
            yield Mutant(kind="wait", what=f"a long {wait}", rule={**rule, wait: longer})
    for label, value in rule.get("labels", {}).items():
        rest = {key: one for key, one in rule["labels"].items() if key != label}
        if label == "severity":
            rest = {**rest, label: "ticket" if value == "page" else "page"}
        yield Mutant(kind="label", what=f"label {label}", rule={**rule, "labels": rest})


def seconds(duration: str) -> int:
    """A duration of Prometheus in seconds.

    >>> seconds("1h30m")
    5400
    """
    return sum(
        int(number) * _UNITS_S[unit] for number, unit in re.findall(r"(\d+)([smhdwy])", duration)
    )


def _changes(found: list[Word]) -> Iterator[tuple[str, Word, str]]:
    for at, word in enumerate(found):
        is_grouped = word.is_grouping and found[at - 2].text not in _ADDED
        if word.kind is WordKind.SIGN and word.inside == "{":
            if word.text in _MATCHERS:
                yield "matcher", word, _MATCHERS[word.text]
        elif word.kind is WordKind.SIGN and word.text in _COMPARISONS:
            for new in _COMPARISONS[word.text]:
                yield "compare", word, new
        elif word.kind is WordKind.SIGN and word.text in _ARITHMETIC:
            yield "arithmetic", word, _ARITHMETIC[word.text]
        elif word.kind is WordKind.NAME and word.text in _SETS:
            for new in _SETS[word.text]:
                yield "set", word, new
        elif word.kind is WordKind.DURATION:
            long_s = seconds(word.text)
            yield "window", word, f"{12 * long_s}s"
            yield "window", word, f"{max(long_s // 5, 1)}s"
        elif word.kind is WordKind.NUMBER and float(word.text) != 0.0:
            yield "number", word, f"{2 * float(word.text):.10g}"
            yield "number", word, f"{float(word.text) / 2:.10g}"
        elif word.kind is WordKind.NAME and is_grouped:
            yield "grouping", word, "no_such_label"
