"""Secrets out of parsed values: JSON objects, attributes. By the names of fields, then by what they hold."""

from __future__ import annotations

import re

from sentinel.core.redact.cards import is_card_float, is_card_integer, shown_card
from sentinel.core.redact.keys import KeyKind
from sentinel.core.redact.text import FAILED, Redactor

DEPTH_MAX = 32
VALUE_CHARS_MAX = 8192
"""Texts of fields are cut there; a whole line has `LINE_CHARS_MAX`."""

HIDDEN = "[SECRET]"
TOO_DEEP = "[TOO-DEEP]"

_STAMP_TEXT = re.compile(
    r"-?[0-9]{1,20}(?:\.[0-9]{1,12})?|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]{1,9})?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_ID_TEXT = re.compile(r"[0-9a-fA-F]{16}|[0-9a-fA-F]{32}")
_SECRET_KINDS = frozenset((KeyKind.SECRET, KeyKind.HEADER, KeyKind.COOKIE))


def redact_value(value: object, redactor: Redactor, *, key: str = "") -> object:
    """The value with secrets replaced; the same object when nothing was.

    Never raises. Names of fields are redacted as well. What is nested deeper than `DEPTH_MAX` becomes `TOO_DEEP`.

    Args:
        value: what a JSON parser gives: dict, list, text, numbers, bool, None. Anything else is taken by its text.
        redactor: by whose policy.
        key: the name of the field that holds it.
    """
    try:
        return _value(value, redactor, redactor.kind_of(key) if key else KeyKind.PLAIN, 0)
    except Exception:  # noqa: BLE001 - fail closed, as for text
        return FAILED


def redact_field(key: str, value: object, redactor: Redactor) -> tuple[str, object]:
    """One field, its name included; see `redact_value`."""
    return redactor.text(key), redact_value(value, redactor, key=key)


def hides(kind: KeyKind, value: object) -> bool:
    """Whether a name of this kind hides this value; nothing and truth values are no secret."""
    return kind in _SECRET_KINDS and value is not None and value is not True and value is not False


def _value(value: object, redactor: Redactor, kind: KeyKind, depth: int) -> object:
    if kind in _SECRET_KINDS and hides(kind, value) and value != "":
        return HIDDEN
    of = type(value)
    if of is str:
        return redact_text_value(value, redactor, kind)  # type: ignore[arg-type]  # it is a str
    if value is None or of is bool:
        return value
    if of is int or of is float:
        return redact_number(value, redactor, kind)  # type: ignore[arg-type]  # it is a number
    if of is dict:
        return _object(value, redactor, depth)  # type: ignore[arg-type]  # it is a dict
    if of is list or of is tuple:
        return _list(value, redactor, kind, depth)  # type: ignore[arg-type]  # it is a list
    return redactor.text(str(value)[: VALUE_CHARS_MAX + 1])


def redact_text_value(text: str, redactor: Redactor, kind: KeyKind) -> str:
    """The text of a field whose name is of this kind."""
    if kind is KeyKind.STAMP and _STAMP_TEXT.fullmatch(text):
        return text
    if kind is KeyKind.TRACE_ID and _ID_TEXT.fullmatch(text):
        return text
    if len(text) > VALUE_CHARS_MAX:
        return redactor.text(text[:VALUE_CHARS_MAX], cut_end=True)
    return redactor.text(text)


def redact_number(number: int | float, redactor: Redactor, kind: KeyKind) -> int | float | str:
    """A number of a field whose name is of this kind: itself, or a text when it is a card number."""
    if -1_000_000_000_000 < number < 1_000_000_000_000 or kind is KeyKind.STAMP:
        return number
    if type(number) is int:
        if is_card_integer(number):
            return shown_card(str(number), keep_last4=redactor.policy.keep_last4)
    elif is_card_float(number):
        return "[PAN]"
    return number


def _object(value: dict[object, object], redactor: Redactor, depth: int) -> object:
    if depth >= DEPTH_MAX:
        return TOO_DEEP
    shown: dict[object, object] = {}
    changed = False
    for key, each in value.items():
        name = key if type(key) is str else str(key)
        kept = _value(each, redactor, redactor.kind_of(name), depth + 1)
        shown_name = redactor.text(name)
        if kept is not each or shown_name is not name:
            changed = changed or kept != each or shown_name != key
        shown[shown_name] = kept
    return shown if changed else value


def _list(
    value: list[object] | tuple[object, ...], redactor: Redactor, kind: KeyKind, depth: int
) -> object:
    if depth >= DEPTH_MAX:
        return TOO_DEEP
    shown = [_value(each, redactor, kind, depth + 1) for each in value]
    if all(one is other for one, other in zip(shown, value, strict=True)):
        return value
    return shown
