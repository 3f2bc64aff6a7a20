"""Values beside a name that says they are secret: JSON, logfmt, queries, headers, XML, settings as programs print them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from sentinel.core.redact.keys import ENDINGS, KeyKind

# Searched for in lower case: a pattern that ignores case takes ten times as long.
_SIGN = r"\\{0,3}[\"']?\]?\s{0,3}(?:=>|:=|[:=])\s{0,3}"
_NAMED_LOWER = re.compile(ENDINGS + _SIGN)
_NAMED_ANY = re.compile(_NAMED_LOWER.pattern, re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W_0-9a-zA-Z]+")
_NAME_END = re.compile(r"[A-Za-z0-9_.\-\[ ]*$")
_NAME_BACK_CHARS = 40
_QUOTE = re.compile(r"(\\{0,3})([\"'])")
_PLAIN = re.compile(
    r"(?:(?:bearer|basic|digest|token|negotiate)\s{1,3})?[^\s,;&\"']+", re.IGNORECASE
)
_CLOSERS = ")]}>\\"
# A scheme, then its parameters or its token.
_HEADER = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9-]{0,30}\s{1,3})?"
    r"(?:[A-Za-z_-]{1,30}=(?:\\{0,3}\"[^\"]{0,2000}\"|[^\s,;\"]+)(?:,\s{0,3}(?=[A-Za-z_-]{1,30}=))?)+"
    r"|(?:[A-Za-z][A-Za-z0-9-]{0,30}\s{1,3})?[^\s,;\"'\\}]+"
)
_COOKIES = re.compile(r"[^\s;,\"'\\]+(?:;\s{0,2}[^\s;,\"'\\]+)*")
_BRACKET = re.compile(r"[\[\]{}]|\"(?:[^\"\\]|\\.)*\"")
_XML = re.compile(r"<([A-Za-z_][A-Za-z0-9_.:-]{0,60})(?:\s[^<>]{0,200})?>([^<]{1,8192})(?=<|\Z)")
_QUERY_CODE = re.compile(r"([?&]code=)[^\s&\"'#]{16,}")
_NO_SECRET = frozenset(("", "null", "none", "true", "false", "nil", "undefined"))


def pattern_of(names: Iterable[str]) -> re.Pattern[str] | None:
    """What finds names of a configuration in text, in any case and with any separators; None when there are none."""
    found = [
        "[-_. ]?".join(re.escape(word) for word in words) for words in map(_WORD.findall, names)
    ]
    if not found:
        return None
    return re.compile(f"(?:{'|'.join(sorted(found))})" + _SIGN, re.IGNORECASE)


def hide_named(
    text: str, kind_of: Callable[[str], KeyKind], *, own: re.Pattern[str] | None = None
) -> str:
    """The text with `[SECRET]` in place of each value whose name is that of a secret.

    Args:
        text: any text with `name: value` or `name=value` in it.
        kind_of: what a name says of its value.
        own: finds names of the configuration, from `pattern_of`; `kind_of` must know them too.
    """
    if own is not None:
        text = _hidden(text, own.finditer(text), None)
    # Only ASCII is sure to keep its length in lower case.
    found = _NAMED_LOWER.finditer(text.lower()) if text.isascii() else _NAMED_ANY.finditer(text)
    return _hidden(text, found, kind_of)


def hide_elements(text: str, kind_of: Callable[[str], KeyKind]) -> str:
    """As `hide_named`, for the text of XML elements."""

    def hide(match: re.Match[str]) -> str:
        if kind_of(match[1]) not in _SECRET_KINDS or not match[2].strip():
            return match.group()
        return match.group()[: match.start(2) - match.start()] + "[SECRET]"

    return _XML.sub(hide, text)


def hide_codes(text: str) -> str:
    """Codes of an authorization that stand in a query."""
    return _QUERY_CODE.sub(r"\1[SECRET]", text)


_SECRET_KINDS = frozenset((KeyKind.SECRET, KeyKind.HEADER, KeyKind.COOKIE))


def _hidden(
    text: str, found: Iterable[re.Match[str]], kind_of: Callable[[str], KeyKind] | None
) -> str:
    """As `hide_named`; without `kind_of` each place is a secret's, unless it is the end of a longer word."""
    shown: list[str] = []
    at = 0
    for match in found:
        start, end = match.span()
        if start < at:
            # Inside a value that is hidden already.
            continue
        if kind_of is None:
            kind = KeyKind.PLAIN if text[start - 1 : start].isalnum() else KeyKind.SECRET
        else:
            kind = _kind(text, match, kind_of)
        if kind is KeyKind.PLAIN:
            continue
        value_end, value = _value(text, end, kind)
        if value_end == end:
            continue
        shown += (text[at:end], value)
        at = value_end
    if not shown:
        return text
    shown.append(text[at:])
    return "".join(shown)


def _kind(text: str, match: re.Match[str], kind_of: Callable[[str], KeyKind]) -> KeyKind:
    start = match.start()
    head = _NAME_END.search(text[max(0, start - _NAME_BACK_CHARS) : start])
    ending = text[start : match.end()].rstrip(" \t\r\n:=>\"']\\")
    kind = kind_of((head.group() if head else "") + ending)
    return kind if kind in _SECRET_KINDS else KeyKind.PLAIN


def _value(text: str, start: int, kind: KeyKind) -> tuple[int, str]:
    """Where the value ends, and what is shown of it."""
    quote = _QUOTE.match(text, start)
    if quote is not None:
        mark = quote.group()
        return _quoted_end(text, quote), f"{mark}[SECRET]{mark}"
    first = text[start : start + 1]
    if first and first in "[{":
        return _bracket_end(text, start), "[SECRET]"
    if kind is KeyKind.HEADER:
        found = _HEADER.match(text, start)
    elif kind is KeyKind.COOKIE:
        found = _COOKIES.match(text, start)
    else:
        found = _PLAIN.match(text, start)
    if found is None:
        return start, ""
    value = found.group()
    bare = value.rstrip(_CLOSERS)
    if bare.lower() in _NO_SECRET:
        return start, ""
    return found.start() + len(bare), "[SECRET]"


def _quoted_end(text: str, quote: re.Match[str]) -> int:
    """One past the closing quote, which is escaped as often as the opening one; the text's end when there is none."""
    escapes, mark = quote.groups()
    at = quote.end()
    if not escapes:
        while (at := text.find(mark, at)) >= 0:
            backslashes = at - len(text[quote.end() : at].rstrip("\\")) - quote.end()
            if backslashes % 2 == 0:
                return at + 1
            at += 1
        return len(text)
    while (at := text.find(escapes + mark, at)) >= 0:
        if text[at - 1] != "\\":
            return at + len(escapes) + 1
        at += len(escapes) + 1
    return len(text)


def _bracket_end(text: str, start: int) -> int:
    """One past the bracket that closes the one at `start`; the text's end when none does."""
    depth = 0
    for match in _BRACKET.finditer(text, start):
        mark = match.group()
        if mark in ("[", "{"):
            depth += 1
        elif mark in ("]", "}"):
            depth -= 1
            if depth <= 0:
                return match.end()
    return len(text)
