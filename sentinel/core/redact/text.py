"""Secrets out of text: logs, labels, annotations, error messages, our own logs.

One function, used everywhere. The order matters: cut first, because a regex over a hostile megabyte holds everything
up; then named fields, which are replaced whatever they hold; then shapes that betray themselves. If anything here
fails, the text is given up rather than let through.

A truncated text may end in the first half of a card number, so a trailing run of digits is masked after a cut.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata

from sentinel.core.redact.checks import card_lengths, is_card_number, is_iban, passes_luhn

LINE_CHARS_MAX = 65_536
FAILED = "[REDACTION-ERROR]"

_KEY = (
    r"(?:card[-_ .]?(?:number|no|num|pan)|cc[-_ .]?(?:number|num)|primary[-_ .]?account[-_ .]?number|pan"
    r"|cvv2?|cvc2?|cid|track[-_ .]?[12]?(?:[-_ .]?data)?|pin|pass(?:word|wd|phrase)|pwd"
    r"|(?:client[-_ .]?)?secret(?:[-_ .]?(?:access[-_ .]?)?key)?|(?:access|refresh|id|auth|session|bearer)?[-_ .]?token"
    r"|(?:set[-_ .]?)?cookie|api[-_ .]?key|private[-_ .]?key|ssn|iban|account[-_ .]?(?:no|number|num))"
)
# A key as it stands in JSON, logfmt, a query or a header, then its value: quoted, or up to a separator.
_FIELD = re.compile(
    rf"(?P<key>(?<![A-Za-z0-9]){_KEY}(?![A-Za-z0-9])\\?[\"']?\s{{0,3}}[:=]\s{{0,3}})"
    r"(?P<value>\\?\"(?:[^\"\\]|\\.)*(?:\"|$)|'[^']*(?:'|$)|[\[{{][^\]}}]*[\]}}]?|[^\s,;&}\])\"']+)",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"(?P<key>(?:proxy-)?authorization\\?[\"']?\s{0,3}[:=]\s{0,3}\\?[\"']?)(?:[A-Za-z]{1,20}\s{1,3})?[^\s,;\"'\\}]+",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"\b(?P<key>bearer|basic)\s{1,3}[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{1,40}-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", re.DOTALL
)
_JWT = re.compile(r"(?<![A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{5,})\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*")
_CLOUD_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{16}|xox[a-z]-[A-Za-z0-9-]{10,}|gh[pousr]_[A-Za-z0-9]{20,}"
    r"|github_pat_[A-Za-z0-9_]{20,}|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|AIza[A-Za-z0-9_-]{35})"
)
_USERINFO = re.compile(r"(?P<key>\b[a-z][a-z0-9+.-]{1,20}://)[^/\s@\"'<>]{1,256}@", re.IGNORECASE)
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,4})?(?![A-Za-z0-9])"
)
_DIGITS = re.compile(r"(?<!\d)(?<!\d\.)\d+(?:[ -]\d+)*")
_FLOAT = re.compile(r"(?<![\d.])(\d)\.(\d{12,18})[eE]\+?(\d{2})(?!\d)")
_SEPARATOR = re.compile("([ -])")
_CARD_DIGITS_MIN, _CARD_DIGITS_MAX = 13, 19
_PREFIX_DIGITS = 4
_SOME_DIGITS = re.compile(r"\d[\d .eE+-]{11}")
_ODD_DIGIT = re.compile(r"[^\W\D0-9]|[\u00a0\u2000-\u200b\u202f\u2010-\u2015]")
_TAIL_CHARS = 64
_TRAILING_DIGITS = re.compile(r"\d(?:[ -]?\d){5,}$")


def redact(text: str) -> str:
    """The text with secrets replaced by what they were, such as `[PAN]`.

    Never raises: a text that cannot be judged becomes `FAILED`. Text beyond `LINE_CHARS_MAX` is cut off.

    >>> redact("card 4111 1111 1111 1111 declined for jane@example.com")
    'card [PAN] declined for [EMAIL]'
    >>> redact("seq 1790000000123456789 took 0.25 s")
    'seq 1790000000123456789 took 0.25 s'
    """
    try:
        return _redacted(text)
    except Exception:  # noqa: BLE001 - fail closed: whatever went wrong, the text must not pass
        return FAILED


def _redacted(text: str) -> str:
    cut = len(text) > LINE_CHARS_MAX
    if cut:
        text = text[:LINE_CHARS_MAX]
    if not text.isascii():
        text = _ODD_DIGIT.sub(_plain, text)
    lowered = text.lower()
    if "-----begin" in lowered:
        text = _PEM.sub("[PEM]", text)
    if "authorization" in lowered:
        text = _AUTHORIZATION.sub(r"\g<key>[SECRET]", text)
    if ":" in text or "=" in text:
        text = _FIELD.sub(_hide_value, text)
    if "bearer" in lowered or "basic" in lowered:
        text = _SCHEME.sub(r"\g<key> [SECRET]", text)
    if "eyJ" in text:
        text = _JWT.sub(_hide_jwt, text)
    text = _CLOUD_KEY.sub("[KEY]", text)
    if "@" in text:
        text = _EMAIL.sub("[EMAIL]", _USERINFO.sub(r"\g<key>[USERINFO]@", text))
    if _SOME_DIGITS.search(text):
        text = _FLOAT.sub(_hide_float, _DIGITS.sub(_hide_cards, text))
    text = _IBAN.sub(_hide_iban, text)
    if cut:
        # Only the tail is looked at: the pattern is tied to the end, and would try every digit of the line.
        text = text[:-_TAIL_CHARS] + _TRAILING_DIGITS.sub("[CUT]", text[-_TAIL_CHARS:])
    return text


def _plain(match: re.Match[str]) -> str:
    """A digit of another script as its ASCII digit, a special space or dash as the plain one."""
    char = match.group()
    if char.isdigit():
        return str(unicodedata.digit(char))
    return " " if unicodedata.category(char) in ("Zs", "Cf") else "-"


def _hide_value(match: re.Match[str]) -> str:
    value = match.group("value")
    quote = next((mark for mark in ('\\"', '"', "'") if value.startswith(mark)), "")
    return f"{match.group('key')}{quote}[SECRET]{quote}"


def _hide_jwt(match: re.Match[str]) -> str:
    header = match.group(1)
    try:
        decoded = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
    except (ValueError, binascii.Error):
        return match.group()
    return "[JWT]" if b'"alg"' in decoded else match.group()


def _hide_cards(match: re.Match[str]) -> str:
    """Card numbers among groups of digits; one starts and ends with a group, so that it touches no other digit."""
    text = match.group()
    if len(text) < _CARD_DIGITS_MIN:
        return text
    groups = _SEPARATOR.split(text)
    shown: list[str] = []
    at = 0
    while at < len(groups):
        # Groups and separators alternate; even positions are groups.
        end = _card_end(groups, at)
        shown.append("[PAN]" if end else groups[at])
        at = end or at + 1
        if at < len(groups) and at % 2:
            shown.append(groups[at])
            at += 1
    return "".join(shown)


def _card_end(groups: list[str], start: int) -> int:
    """One past the last group of the card number that starts at `start`, or 0 when none does."""
    digits, lengths = "", None
    for at in range(start, len(groups), 2):
        digits += groups[at]
        if lengths is None and len(digits) >= _PREFIX_DIGITS:
            lengths = card_lengths(digits[:_PREFIX_DIGITS])
        if len(digits) > _CARD_DIGITS_MAX or lengths == frozenset():
            return 0
        if lengths is not None and len(digits) in lengths and passes_luhn(digits):
            return at + 1
    return 0


def _hide_float(match: re.Match[str]) -> str:
    """A card number that went through a float: 4.111111111111111e15."""
    digits = match.group(1) + match.group(2)
    length = int(match.group(3)) + 1
    return "[PAN]" if is_card_number(digits[:length].ljust(length, "0")) else match.group()


def _hide_iban(match: re.Match[str]) -> str:
    text = match.group()
    compact = text.replace(" ", "").replace("-", "").upper()
    if is_iban(compact):
        return "[IBAN]"
    # Words after an IBAN in groups of four may have been taken along; try without them, longest first.
    for end in range(len(text) - 1, 14, -1):
        if text[end] in " -" and is_iban(text[:end].replace(" ", "").replace("-", "").upper()):
            return "[IBAN]" + text[end:]
    return text
