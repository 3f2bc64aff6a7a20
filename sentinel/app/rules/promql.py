"""An expression of PromQL cut into words: enough to know metrics, matchers, durations and operators; no grammar.

Whether an expression is right is for `promtool check rules` to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_WORD: Final = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![a-zA-Z0-9_]))
    |(?P<number>0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>[a-zA-Z_][a-zA-Z0-9_:]*)
    |(?P<sign>=~|!~|==|!=|>=|<=|[-+*/%^=<>@(){}\[\],:])
    |(?P<space>\s+)
    """,
    re.VERBOSE,
)
_CLOSES: Final = {"}": "{", "]": "[", ")": "("}
GROUPINGS: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_NOT_METRICS: Final = GROUPINGS | {
    *(
        "and",
        "or",
        "unless",
        "offset",
        "bool",
        "atan2",
        "start",
        "end",
        "inf",
        "nan",
        "Inf",
        "NaN",
    ),
    *("sum", "min", "max", "avg", "count", "group", "stddev", "stdvar", "topk", "bottomk"),
    *("count_values", "quantile", "limitk", "limit_ratio"),
}


class WordKind(StrEnum):
    """What a word is."""

    TEXT = "text"
    DURATION = "duration"
    NUMBER = "number"
    NAME = "name"
    SIGN = "sign"


@dataclass(frozen=True, slots=True)
class Word:
    """A word: what it is, where it begins, the bracket it stands in (`""` for none), and whether it groups labels."""

    kind: WordKind
    text: str
    start: int
    inside: str
    is_grouping: bool = False

    @property
    def end(self) -> int:
        """Where what follows begins."""
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Selector:
    """A metric that an expression asks for, and its matchers as label, operator and text without quotes."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...] = ()


def words(expression: str) -> list[Word]:
    """The words of an expression, without spaces and comments.

    Raises:
        ValueError: something is no word of PromQL, or brackets do not fit.

    >>> [word.text for word in words('a{b=~"c"}[5m] > 2')]
    ['a', '{', 'b', '=~', '"c"', '}', '[', '5m', ']', '>', '2']
    """
    found: list[Word] = []
    opened: list[tuple[str, bool]] = []
    at = 0
    while at < len(expression):
        match = _WORD.match(expression, at)
        if match is None:
            msg = f"{expression[at : at + 20]!r} is no PromQL"
            raise ValueError(msg)
        kind, text, at = str(match.lastgroup), match[0], match.end()
        if kind in ("space", "comment"):
            continue
        if text in _CLOSES and kind == "sign" and (not opened or opened.pop()[0] != _CLOSES[text]):
            msg = f"{text!r} closes what was not opened"
            raise ValueError(msg)
        inside, is_grouping = opened[-1] if opened else ("", False)
        found.append(Word(WordKind(kind), text, match.start(), inside, is_grouping))
        if text in _CLOSES.values() and kind == "sign":
            opened.append((text, len(found) > 1 and found[-2].text in GROUPINGS))
    if opened:
        msg = f"{opened[-1][0]!r} is not closed"
        raise ValueError(msg)
    return found


def selectors(found: list[Word]) -> Iterator[Selector]:
    """Every metric that is asked for by its name, in order.

    >>> list(selectors(words('sum by (b) (rate(a{b="c"}[5m])) > d')))
    [Selector(metric='a', matchers=(('b', '=', 'c'),)), Selector(metric='d', matchers=())]
    """
    for at, word in enumerate(found):
        if word.kind is not WordKind.NAME or word.inside == "{" or word.is_grouping:
            continue
        follows = found[at + 1].text if at + 1 < len(found) else ""
        if word.text in _NOT_METRICS or follows == "(":
            continue
        yield Selector(word.text, tuple(_matchers(found, at + 1)) if follows == "{" else ())


def _matchers(found: list[Word], at: int) -> Iterator[tuple[str, str, str]]:
    inner = []
    for word in found[at + 1 :]:
        if word.text == "}" and word.kind is WordKind.SIGN:
            break
        inner.append(word)
    for first in range(0, len(inner) - 2, 4):
        label, operator, text = inner[first : first + 3]
        yield label.text, operator.text, text.text[1:-1]
