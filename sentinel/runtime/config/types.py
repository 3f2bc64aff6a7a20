"""What a setting may hold: how it is written, checked, shown and described.

One table, `SCALARS`, serves the loader, `config show`, the JSON Schema and docs/configuration.md, so that they
cannot disagree.
"""

from __future__ import annotations

import re
import typing
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from sentinel.runtime.config.text import Style, TextNode, shown
from sentinel.runtime.nearest import hint_for
from sentinel.runtime.settings import ByteSize, Duration, FilePath, Ratio, Zone

_DURATION_UNITS: dict[str, float] = {
    "w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 0.001,
}  # fmt: skip
_BYTE_UNITS = {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10, "B": 1}
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,3})?")
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
# What YAML 1.1 or 1.2 readers take for something other than text; such text must stand in quotes, so that
# editors and other tools see in the file what Sentinel sees.
_NOT_TEXT = re.compile(
    r"true|false|yes|no|on|off|y|n|null|~|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])*(\.[0-9_]*)?(e[-+]?[0-9]+)?"
    r"|[-+]?\.[0-9_]+(e[-+]?[0-9]+)?|0x[0-9a-f_]+|0o?[0-7_]+|0b[01_]+|[-+]?\.inf|\.nan"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([t \t].*)?",
    re.IGNORECASE,
)
_NUMBER_CHARS_MAX = 64
"""Longer texts are no numbers; the expressions above never see them."""
_LOCAL_ZONES = frozenset({"localtime", "Factory"})
"""Entries of the zone folder that name no zone: one is this machine's, one means unset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarType:
    """One kind of scalar.

    Attributes:
        name: its word in the documentation.
        how: how it is written, for the documentation and messages.
        parse: text to value; raises ValueError with a sentence that says what to write instead.
        show: value to the text or YAML scalar that `parse` reads as the same value.
        schema: its JSON Schema.
        is_file: whether it is the path of a file; a relative one is beside the file that names it.
    """

    name: str
    how: str
    parse: Callable[[TextNode], object]
    show: Callable[[Any], object]
    schema: dict[str, object]
    is_file: bool = False


def _refuse(message: str) -> typing.NoReturn:
    raise ValueError(message)


def _unquoted(node: TextNode, what: str) -> str:
    if node.style is Style.QUOTED:
        _refuse(f"is text: write {what} without quotes")
    return node.text


def _parse_bool(node: TextNode) -> bool:
    text = _unquoted(node, "true or false")
    if text in ("true", "false"):
        return text == "true"
    lowered = text.lower()
    if lowered in ("true", "yes", "on", "y"):
        _refuse(f"{shown(text)} is not true or false: write true")
    if lowered in ("false", "no", "off", "n"):
        _refuse(f"{shown(text)} is not true or false: write false")
    return _refuse(f"{shown(text)} is not true or false")


def _parse_int(node: TextNode) -> int:
    text = _unquoted(node, "the number")
    if _INTEGER.fullmatch(text):
        return int(text)
    _refuse_odd_number(text)
    if _NUMBER.fullmatch(text):
        _refuse(f"{shown(text)} is not a whole number")
    return _refuse(f"{shown(text)} is not a whole number: write it in digits")


def _parse_float(node: TextNode) -> float:
    text = _unquoted(node, "the number")
    if not _NUMBER.fullmatch(text):
        _refuse_odd_number(text)
        _refuse(f"{shown(text)} is not a number")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        _refuse(f"{shown(text)} is too large")
    return value


def _refuse_odd_number(text: str) -> None:
    """Say what to write where YAML readers disagree on a number."""
    if re.fullmatch(r"[-+]?0[0-9_]+", text):
        plain = text.replace("_", "").lstrip("+-0") or "0"
        _refuse(
            f"{shown(text)} is octal to some YAML readers: write {plain}, without the leading zero"
        )
    if re.fullmatch(r"[-+]?[0-9]+(:[0-9]+)+(\.[0-9]*)?", text):
        _refuse(f"{shown(text)} is base 60 to some YAML readers: write one plain number")
    if re.fullmatch(r"[-+]?0[xX][0-9a-fA-F]+|[-+]?0[oO][0-7]+|[-+]?0[bB][01]+", text):
        _refuse(f"{shown(text)} is not decimal: write {int(text[:40], 0)}")
    if re.fullmatch(r"[-+]?[0-9][0-9_,]*[_,][0-9_,]*", text):
        _refuse(f"{shown(text)} has separators: write {re.sub('[_,]', '', text)}")
    if re.fullmatch(r"\+[0-9.]+", text):
        _refuse(f"{shown(text)} has a plus sign: write {text[1:]}")
    if re.fullmatch(r"-?\.[0-9]+", text):
        _refuse(f"{shown(text)} has no leading digit: write {text.replace('.', '0.')}")
    if re.fullmatch(r"[-+]?\.?(inf|infinity|nan)", text, re.IGNORECASE):
        _refuse(f"{shown(text)} is not a finite number")


def parse_scalar(kind: ScalarType, node: TextNode) -> object:
    """The value of a scalar; ValueError says what is wrong and what to write instead."""
    if kind.parse not in (_parse_text, _parse_path) and len(node.text) > _NUMBER_CHARS_MAX:
        _refuse(f"{shown(node.text)} is too long for {kind.how}")
    return kind.parse(node)


def _parse_text(node: TextNode) -> str:
    short = len(node.text) <= _NUMBER_CHARS_MAX
    if short and node.style is Style.PLAIN and _NOT_TEXT.fullmatch(node.text):
        _refuse(f"{shown(node.text)} reads as something other than text: put it in quotes")
    return node.text


def _parse_duration(node: TextNode) -> Duration:
    text = node.text
    if re.fullmatch(r"[0-9]+(:[0-9]+)+", text):
        _refuse(f"{shown(text)} is not a duration: write it with a unit, such as 90m")
    amount, unit = _quantity(
        text, "a duration, such as 250ms, 10s, 5m, 2h or 7d", _DURATION_UNITS, _duration_unit_meant
    )
    if not unit:
        _refuse(f"{shown(text)} has no unit: write {amount}s for seconds, or ms, m, h, d, w")
    # Thousandths are divided, not multiplied: 300 / 1000 is 0.3, 300 * 0.001 is not.
    number = float(amount)
    return Duration(number / 1000 if unit == "ms" else number * _DURATION_UNITS[unit])


def _parse_bytes(node: TextNode) -> ByteSize:
    text = node.text
    amount, unit = _quantity(
        text, "a size, such as 512B, 64KiB, 4MiB or 2GiB", _BYTE_UNITS, _byte_unit_meant
    )
    if not unit:
        _refuse(f"{shown(text)} has no unit: write {amount}B for bytes, or KiB, MiB, GiB")
    size = Decimal(amount) * _BYTE_UNITS[unit]
    if size != size.to_integral_value():
        _refuse(f"{shown(text)} is not a whole number of bytes")
    return ByteSize(int(size))


def _quantity(
    text: str, wanted: str, units: Mapping[str, float], meant: Callable[[str], str | None]
) -> tuple[str, str]:
    """Amount and unit, which is empty or one of `units`; `meant` guesses it from another word."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        return _refuse(f"{shown(text)} is not {wanted}")
    amount, unit = found.groups()
    if unit and unit not in units:
        near = meant(unit.lower())
        hint = (
            f"write {amount}{near}"
            if near
            else f"the units are {', '.join(reversed(list(units)))}"
        )
        _refuse(f"{shown(text)} has an unknown unit: {hint}")
    if unit and amount + unit != text:
        _refuse(f"{shown(text)} has a space: write {amount}{unit}")
    return amount, unit


def _duration_unit_meant(word: str) -> str | None:
    """The unit of a word such as `seconds`, `secs`, `hr`; words of months and years have none."""
    if word in ("ms", "msec", "msecs"):
        return "ms"
    singular = word.removesuffix("s")
    if singular == "hr":
        return "h"
    names = ("second", "minute", "hour", "day", "week", "millisecond")
    near = next((name for name in names if singular and name.startswith(singular)), None)
    return "ms" if near == "millisecond" else near and near[0]


def _byte_unit_meant(word: str) -> str | None:
    return {name[0].lower(): name for name in _BYTE_UNITS}.get(word[0])


def _parse_ratio(node: TextNode) -> Ratio:
    percent = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)\s*%", node.text)
    if percent:
        share = format((Decimal(percent[1]) / 100).normalize(), "f")
        _refuse(f"{shown(node.text)} is a percentage: write the share, {share}")
    value = _parse_float(node)
    if not 0.0 <= value <= 1.0:
        _refuse(f"{shown(node.text)} is not a share: it must be between 0 and 1")
    return Ratio(value)


def _parse_zone(node: TextNode) -> Zone:
    text = node.text
    try:
        known = text not in _LOCAL_ZONES and bool(zoneinfo.ZoneInfo(text).key)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = False
    if not known:
        _refuse(f"{shown(text)} is not an IANA time zone{hint_for(text, _zone_names())}")
    return Zone(text)


def _zone_names() -> set[str]:
    return zoneinfo.available_timezones() - _LOCAL_ZONES


def _parse_path(node: TextNode) -> Path:
    if not node.text:
        _refuse("is an empty path")
    return Path(_parse_text(node))


def show_duration(value: float) -> str:
    """A duration in the largest unit that holds it exactly.

    >>> show_duration(0.25), show_duration(300.0), show_duration(1.5)
    ('250ms', '5m', '1500ms')
    """
    for unit in ("d", "h", "m", "s"):
        amount = value / _DURATION_UNITS[unit]
        if amount.is_integer() and (amount or unit == "s"):
            return f"{int(amount)}{unit}"
    if (value * 1000).is_integer() and value * 1000 / 1000 == value:
        return f"{int(value * 1000)}ms"
    return format(Decimal(repr(value)), "f") + "s"


def show_bytes(value: int) -> str:
    """A size in the largest unit that holds it exactly.

    >>> show_bytes(4 * 2**20), show_bytes(1000)
    ('4MiB', '1000B')
    """
    unit = next((unit for unit, size in _BYTE_UNITS.items() if value and value % size == 0), "B")
    return f"{value // _BYTE_UNITS[unit]}{unit}"


def _same(value: object) -> object:
    return value


_TEXT_SCHEMA: dict[str, object] = {"type": "string"}

SCALARS: dict[Any, ScalarType] = {
    bool: ScalarType(
        name="boolean", how="`true` or `false`", parse=_parse_bool, show=_same,
        schema={"type": "boolean"},
    ),
    int: ScalarType(
        name="integer", how="a decimal number", parse=_parse_int, show=_same,
        schema={"type": "integer"},
    ),
    float: ScalarType(
        name="number", how="a decimal number", parse=_parse_float, show=_same,
        schema={"type": "number"},
    ),
    str: ScalarType(
        name="text", how="text, in quotes where it looks like a number", parse=_parse_text,
        show=_same, schema=_TEXT_SCHEMA,
    ),
    Path: ScalarType(
        name="path", how="a path", parse=_parse_path, show=str,
        schema={"type": "string", "minLength": 1},
    ),
    FilePath: ScalarType(
        name="path", how="the path of a file, relative to the file that names it", parse=_parse_text,
        show=str, schema=_TEXT_SCHEMA, is_file=True,
    ),
    Duration: ScalarType(
        name="duration", how="a number and a unit: `250ms`, `10s`, `5m`, `2h`, `7d`, `4w`",
        parse=_parse_duration, show=show_duration,
        schema={"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?(ms|s|m|h|d|w)$"},
    ),
    ByteSize: ScalarType(
        name="size", how="a number and a unit: `512B`, `64KiB`, `4MiB`, `2GiB`",
        parse=_parse_bytes, show=show_bytes,
        schema={"type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,9})?(B|KiB|MiB|GiB|TiB)$"},
    ),
    Ratio: ScalarType(
        name="ratio", how="a share between 0 and 1", parse=_parse_ratio, show=_same,
        schema={"type": "number", "minimum": 0, "maximum": 1},
    ),
    Zone: ScalarType(
        name="zone", how="an IANA time zone, such as `Europe/Berlin`", parse=_parse_zone,
        show=str, schema={"type": "string", "minLength": 1},
    ),
}  # fmt: skip
