"""Card numbers in text: as they are written, as floats, as tracks of a magnetic stripe.

A card number is told by issuer, length and check digit together, begins and ends with a group of digits, and is not
what a typed name says it is: `span_id=4111111111111111` is an id. Hexadecimal ids may hold any run of digits.
"""

from __future__ import annotations

import re

from sentinel.core.redact.checks import card_lengths, is_card_number, passes_luhn
from sentinel.core.redact.keys import KeyKind, kind_of

CARD_DIGITS_MIN, CARD_DIGITS_MAX = 13, 19

_PREFIX_DIGITS = 4
_DIGITS = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-9](?:[ -]?[0-9]){12,}")
_SEPARATOR = re.compile("([ -])")
# Written in the groups of a card, with what else may stand between them.
_GROUPED = re.compile(
    r"(?<![0-9])(?<![0-9]\.)(?:[0-9]{4}([ \t._+/|-]{1,3})[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}|[0-9]{4}([ \t._+/|-]{1,3})[0-9]{6}\2[0-9]{5})"
    r"(?![0-9])"
)
_NO_DIGITS = re.compile(r"[^0-9]")
_FLOAT = re.compile(r"(?<![0-9.])([0-9])\.([0-9]{11,18})[eE]\+?([0-9]{2})(?![0-9])")
_TRACK = re.compile(
    r"[%;]?[Bb]?(?<![0-9])([0-9]{13,19})(?:\^[^^\r\n\"]{2,40}\^[0-9]{4}[^?\s\"]{0,60}|=[0-9]{7}[^?\s\"]{0,40})\??"
)
_NAME_BEFORE = re.compile(
    r"([A-Za-z_][A-Za-z0-9_.-]{0,48})\\{0,3}[\"']?\s{0,2}[:=]\s{0,2}\\{0,3}[\"']?$"
)
_HEX_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{24,128}")
_SPAN_ID = re.compile(r"[0-9a-fA-F]{16}|[0-9a-fA-F]{32}")
_WORD_END = re.compile(r"[0-9A-Za-z-]*$")
_WORD_START = re.compile(r"[0-9A-Za-z-]*")
_ID_LENGTHS = frozenset((24, 32, 36, 40, 48, 56, 64, 96, 128))
_LOOK_BACK_CHARS = 72


def hide_cards(text: str, *, keep_last4: bool) -> str:
    """The text with `[PAN]`, or the first six and last four digits, in place of each card number.

    >>> hide_cards("4111 1111 1111 1111 and 4.111111111111111e15", keep_last4=False)
    '[PAN] and [PAN]'
    >>> hide_cards("paid with 4111111111111111", keep_last4=True)
    'paid with 411111******1111'
    """
    if "^" in text or "=" in text:
        text = _TRACK.sub(_hide_track, text)
    text = _DIGITS.sub(lambda match: _hide_groups(match, keep_last4=keep_last4), text)
    text = _GROUPED.sub(lambda match: _hide_grouped(match, keep_last4=keep_last4), text)
    return _FLOAT.sub(_hide_float, text)


def shown_card(digits: str, *, keep_last4: bool) -> str:
    """What stands for a card number."""
    return f"{digits[:6]}******{digits[-4:]}" if keep_last4 else "[PAN]"


def is_card_integer(number: int) -> bool:
    """Whether a number is a card number."""
    return 10**12 <= number < 10**19 and is_card_number(str(number))


def is_card_float(number: float) -> bool:
    """Whether a number is a card number that went through a float, which keeps some sixteen digits of it."""
    if not (1e12 <= number < 1e19 and number == int(number)):
        return False
    return is_card_number(str(int(number)))


def _hide_groups(match: re.Match[str], *, keep_last4: bool) -> str:
    """Card numbers among groups of digits; one starts and ends with a group, so that it touches no other digit."""
    text = match.group()
    groups = _SEPARATOR.split(text)
    shown: list[str] = []
    at = 0
    offset = match.start()
    while at < len(groups):
        # Groups and separators alternate; even positions are groups.
        end = _card_end(groups, at)
        run = "".join(groups[at : end or at + 1])
        if end and not is_named_otherwise(match.string, offset, offset + len(run)):
            shown.append(shown_card("".join(groups[at:end:2]), keep_last4=keep_last4))
        else:
            shown.append(run)
        at = end or at + 1
        offset += len(run)
        if at < len(groups) and at % 2:
            shown.append(groups[at])
            offset += 1
            at += 1
    return "".join(shown)


def _card_end(groups: list[str], start: int) -> int:
    """One past the last group of the card number that starts at `start`, or 0 when none does."""
    digits, lengths = "", None
    for at in range(start, len(groups), 2):
        digits += groups[at]
        if lengths is None and len(digits) >= _PREFIX_DIGITS:
            lengths = card_lengths(digits[:_PREFIX_DIGITS])
        if len(digits) > CARD_DIGITS_MAX or lengths == frozenset():
            return 0
        if lengths is not None and len(digits) in lengths and passes_luhn(digits):
            return at + 1
    return 0


def is_named_otherwise(text: str, start: int, end: int) -> bool:
    """Whether what stands around the digits says that they are an id, a time or an amount.

    A name is believed only when the digits are all of its value: `amount=4111111111111111`, not a longer text.
    """
    token_start = start - len(_WORD_END.search(text[max(0, start - 128) : start]).group())  # type: ignore[union-attr]  # may be empty, but is always found
    token_end = _WORD_START.match(text, end).end()  # type: ignore[union-attr]  # likewise
    is_whole = (token_start, token_end) == (start, end)
    if not is_whole and _is_in_hex_id(text, start, end):
        return True
    named = _NAME_BEFORE.search(text[max(0, token_start - _LOOK_BACK_CHARS) : token_start])
    if named is None:
        return False
    kind = kind_of(named[1])
    if kind is KeyKind.TRACE_ID:
        return _SPAN_ID.fullmatch(text, token_start, token_end) is not None
    # One run of digits: an amount is not written in the groups of a card.
    return kind is KeyKind.STAMP and is_whole and text[start:end].isdigit()


def _is_in_hex_id(text: str, start: int, end: int) -> bool:
    low = max(0, start - 128)
    for found in _HEX_ID.finditer(text[low : end + 128]):
        id_start, id_end = low + found.start(), low + found.end()
        if id_start <= start and end <= id_end:
            inside = found.group()
            touches = text[id_start - 1 : id_start].isalnum() and id_start > 0
            return (
                len(inside) in _ID_LENGTHS
                and not touches
                and not text[id_end : id_end + 1].isalnum()
                and not inside.replace("-", "").isdigit()
            )
    return False


def _hide_grouped(match: re.Match[str], *, keep_last4: bool) -> str:
    digits = _NO_DIGITS.sub("", match.group())
    if not is_card_number(digits) or is_named_otherwise(match.string, *match.span()):
        return match.group()
    return shown_card(digits, keep_last4=keep_last4)


def _hide_float(match: re.Match[str]) -> str:
    """A card number that went through a float: 4.111111111111111e15."""
    digits = match.group(1) + match.group(2)
    length = int(match.group(3)) + 1
    return "[PAN]" if is_card_number(digits[:length].ljust(length, "0")) else match.group()


def _hide_track(match: re.Match[str]) -> str:
    """Track data is not kept in any form, whatever the policy shows of a number."""
    return "[TRACK]" if is_card_number(match.group(1)) else match.group()
