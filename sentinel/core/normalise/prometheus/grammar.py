"""Lines of a metrics page, one at a time: text format 0.0.4 and 1.0.0, and OpenMetrics 1.0.

This is the slow way, for lines not seen before; a page whose lines are known is read by `layout`.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple, NoReturn

from sentinel.core.normalise.prometheus.placing import MetricType
from sentinel.errors import MalformedInputError

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_SERIES = re.compile(rf'[ \t]*({_NAME})?[ \t]*(?:\{{((?:[^"{{}}]|{_QUOTED})*)\}})?[ \t]*')
_LABEL = re.compile(
    rf"[ \t]*(?:([a-zA-Z_][a-zA-Z0-9_]*)|({_QUOTED}))[ \t]*(?:=[ \t]*({_QUOTED})[ \t]*)?(,|$)"
)
_FLOAT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_VALUE = rf"{_FLOAT}|[+-]?(?:inf|Inf|INF|infinity|Infinity)|NaN|nan|NAN"
_TAIL = re.compile(
    rf"({_VALUE})(?:[ \t]+({_FLOAT}))?[ \t]*(?:#[ \t]*\{{((?:[^\"{{}}]|{_QUOTED})*)\}}[ \t]+({_VALUE})(?:[ \t]+({_FLOAT}))?)?[ \t\r]*"
)
_COMMENT = re.compile(rf"#[ \t]+(TYPE|HELP|UNIT)[ \t]+({_NAME}|{_QUOTED})(?:[ \t]+(.*?))?[ \t\r]*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"\\": "\\", '"': '"', "n": "\n"}
_TYPES = {each.value: each for each in MetricType} | {"untyped": MetricType.UNKNOWN}


class Description(NamedTuple):
    """A comment that says something of a metric.

    Attributes:
        what: TYPE, HELP or UNIT.
        name: of the metric.
        type: what TYPE says, else None.
    """

    what: str
    name: str
    type: MetricType | None


class Series(NamedTuple):
    """What stands in front of a sample's value.

    Attributes:
        name: the sample's name.
        labels: in the order of the line.
        value_at: where in the line the value begins.
    """

    name: str
    labels: dict[str, str]
    value_at: int


class Tail(NamedTuple):
    """A sample's value and what follows it.

    Attributes:
        value: the number.
        timestamp: as it is written, in the format's unit; None when there is none.
    """

    value: float
    timestamp: float | None


def description_of(line: str) -> Description | None:
    """What a comment says; None for one that is for people alone.

    Raises:
        MalformedInputError: it begins like a description and is none.
    """
    match = _COMMENT.fullmatch(line)
    if match is None:
        if line.split(None, 2)[1:2] in (["TYPE"], ["UNIT"]):
            _refuse("a description must name a metric")
        return None
    name = _unquoted(match[2]) if match[2].startswith('"') else match[2]
    if match[1] != "TYPE":
        return Description(match[1], name, None)
    kind = _TYPES.get((match[3] or "").lower())
    if kind is None:
        _refuse(f"{(match[3] or '')[:40]!r} is no type of metric")
    return Description("TYPE", name, kind)


def series_of(line: str) -> Series:
    """The series a sample's line names.

    Raises:
        MalformedInputError: it names none.
    """
    match = _SERIES.match(line)
    assert match is not None, "the expression matches the empty text"
    name: str | None = match[1]
    labels: dict[str, str] = {}
    at, text = 0, match[2] or ""
    while at < len(text):
        label = _LABEL.match(text, at)
        if label is None:
            if not text[at:].strip(" \t"):
                break
            _refuse('labels are not written as name="value"')
        at = label.end()
        key = label[1] if label[2] is None else _unquoted(label[2])
        if label[3] is None:
            if name is not None or label[2] is None or labels:
                _refuse("a label has no value")
            name = key
        elif key in labels:
            _refuse(f"label {key[:40]!r} is there twice")
        else:
            labels[key] = _unquoted(label[3])
    if not name:
        _refuse("there is no metric's name")
    if match.end() == len(line) or not (match[2] is not None or line[match.end() - 1] in " \t"):
        _refuse("there is no value")
    return Series(name, labels, match.end())


def tail_of(text: str) -> Tail:
    """A sample's value, and its timestamp.

    Raises:
        MalformedInputError: it is not a number, or something else follows it.
    """
    match = _TAIL.fullmatch(text)
    if not text.strip():
        _refuse("there is no value")
    if match is None:
        _refuse(f"{text[:40]!r} is not a value, or more than one")
    timestamp = None if match[2] is None else float(match[2])
    if timestamp is not None and not math.isfinite(timestamp):
        _refuse("the timestamp is not finite")
    return Tail(float(match[1]), timestamp)


def _unquoted(quoted: str) -> str:
    text = quoted[1:-1]
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), text)


def _refuse(message: str) -> NoReturn:
    raise MalformedInputError(message)
