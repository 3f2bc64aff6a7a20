"""Names that say what stands beside them: a password, a card number; or an identifier that only looks like one.

A name is split into words (`userPassword`, `user.password` and `USER_PASSWORD` are all user, password) and judged by how
it ends: `db_password` holds one, `password_changed_at` does not.
"""

from __future__ import annotations

import re
from enum import Enum, auto

NAME_CHARS_MAX = 256

_FLAT = re.compile(r"[A-Za-z]+")


class KeyKind(Enum):
    """What a name says of its value."""

    PLAIN = auto()
    SECRET = auto()  # replaced whatever it is
    HEADER = auto()  # a secret of several words: Authorization
    COOKIE = auto()  # a secret of several pairs
    STAMP = auto()  # a time, an amount, a position: a number that is no card
    TRACE_ID = auto()  # hexadecimal, which may be digits alone


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Alone, at the end of a name.
_SECRET_WORDS = _words(
    "pan cvv cvc cvn csc cid pin password passwd passphrase passcode pass pwd secret secrets passwords token cookies"
    " credential credentials ssn iban otp apikey cardnumber cardno cardnum accountno accountnumber"
    " accountnum acctno privatekey secretkey accesskey clientsecret accesstoken refreshtoken idtoken authtoken"
    " sessiontoken trackdata signature sig connectionstring mnemonic"
)
_NUMBER_WORDS = _words("number no num nr")
# The last word, and what must stand before it.
_SECRET_PAIRS: dict[str, frozenset[str]] = {
    **dict.fromkeys(
        _NUMBER_WORDS,
        _words("card cc pan account acct acc creditcard debitcard cardholder iban ssn"),
    ),
    "key": _words(
        "api private secret access signing encryption master account shared session ssh hmac auth storage license"
        " service subscription webhook client app"
    ),
    "data": _words("track track1 track2 magstripe 1 2"),
    "code": _words("security verification card cvv cvc auth authorization pin"),
    "string": frozenset({"connection"}),
    "value": _words("secret password token cookie"),
}
_TRACKS = frozenset({"track", "track1", "track2"})
# Names of times, amounts and positions, by their last word.
_STAMP_WORDS = _words(
    "timestamp ts time at ns nano nanos us micros ms millis minor cents amount sequence seq offset lsn epoch"
)
_TRACE_WORDS = _words("trace span parent traceid spanid parentid parentspan")


def kind_of(name: str) -> KeyKind:
    """What the name of a field says of its value.

    >>> kind_of("X-Api-Key").name, kind_of("cardNumber").name, kind_of("password_changed_at").name
    ('SECRET', 'SECRET', 'STAMP')
    >>> kind_of("http.request.header.authorization").name, kind_of("spanId").name, kind_of("company").name
    ('HEADER', 'TRACE_ID', 'PLAIN')
    """
    words = [word.lower() for word in _WORD.findall(name[-NAME_CHARS_MAX:])]
    if len(words) > 1 and words[-1].isdigit():
        if words[-2] in _TRACKS:
            return KeyKind.SECRET
        # password2, token_1: the number tells fields apart, not kinds of fields.
        words.pop()
    if not words or words[-1].isdigit():
        return KeyKind.PLAIN
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    # Somebody's PassWord or ApiKey is one word however it is written.
    flat = _FLAT.findall(name[-NAME_CHARS_MAX:])[-1].lower()
    if flat in _SECRET_WORDS:
        return KeyKind.SECRET
    if last == "authorization":
        return KeyKind.HEADER
    if last == "cookie":
        return KeyKind.COOKIE
    if last in _SECRET_WORDS or last in _TRACKS or before in _SECRET_PAIRS.get(last, ()):
        return KeyKind.SECRET
    if last in _TRACE_WORDS or (last == "id" and before in _TRACE_WORDS):
        return KeyKind.TRACE_ID
    if last in _STAMP_WORDS or "amount" in words or (last == "units" and before == "minor"):
        return KeyKind.STAMP
    return KeyKind.PLAIN


# How secret names end, for a search through text; `kind_of` then judges the whole name.
ENDINGS = (
    r"(?:pan|cv[vcn]2?|csc|cid|pin|pass(?:word|wd|phrase|code)?|pwd|secret|token|cookie|credential|password|ssn|iban|otp"
    r"|key|card ?(?:number|num|no)|number|num|no|nr|authorization|track|data|code|sig(?:nature)?|string|value|mnemonic)"
    r"s?[_-]?[0-9]?"
)
