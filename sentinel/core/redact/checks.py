"""Check digits: what tells a card number or an account number from any other run of digits.

Luhn alone would take one number in ten for a card, nanosecond timestamps among them; so the issuer's prefix and the
length that goes with it must fit as well.
"""

from __future__ import annotations

# (first prefix, last prefix, allowed lengths); prefixes of one row have the same number of digits.
_ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = (
    (4, 4, frozenset((13, 16, 19))),  # Visa
    (51, 55, frozenset((16,))),  # Mastercard
    (2221, 2720, frozenset((16,))),  # Mastercard, second range
    (34, 34, frozenset((15,))),  # American Express
    (37, 37, frozenset((15,))),
    (6011, 6011, frozenset((16, 19))),  # Discover
    (644, 649, frozenset((16, 19))),
    (65, 65, frozenset((16, 19))),
    (3528, 3589, frozenset((16, 17, 18, 19))),  # JCB
    (300, 305, frozenset((14, 16, 19))),  # Diners Club
    (3095, 3095, frozenset((14, 16, 19))),
    (36, 36, frozenset((14, 16, 19))),
    (38, 39, frozenset((14, 16, 19))),
    (62, 62, frozenset((16, 17, 18, 19))),  # UnionPay
    (81, 81, frozenset((16, 17, 18, 19))),
    (50, 50, frozenset((13, 14, 15, 16, 17, 18, 19))),  # Maestro
    (56, 58, frozenset((13, 14, 15, 16, 17, 18, 19))),
    (6304, 6304, frozenset((13, 14, 15, 16, 17, 18, 19))),
    (6759, 6763, frozenset((13, 14, 15, 16, 17, 18, 19))),
    (2200, 2204, frozenset((16, 17, 18, 19))),  # Mir
    (636, 639, frozenset((16, 17, 18, 19))),  # InterPayment, InstaPayment
    (6062, 6062, frozenset((13, 16, 19))),  # Hipercard
    (6069, 6085, frozenset((16,))),  # RuPay
    (82, 82, frozenset((16,))),
    (9792, 9792, frozenset((16,))),  # Troy
)

_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21,
    "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
    "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22,
    "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25,
    "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip


# By the first one to four digits; expanded once, because a hostile line asks for every position in it.
_LENGTHS_BY_PREFIX = {
    str(prefix): lengths for first, last, lengths in _ISSUERS for prefix in range(first, last + 1)
}
_NO_LENGTHS: frozenset[int] = frozenset()
_DOUBLED = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))
_SINGLE = bytes.maketrans(b"0123456789", bytes(range(10)))


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others.

    >>> passes_luhn("4111111111111111"), passes_luhn("4111111111111112")
    (True, False)
    """
    raw = digits.encode()
    total = sum(raw[-1::-2].translate(_SINGLE)) + sum(raw[-2::-2].translate(_DOUBLED))
    return total % 10 == 0


def card_lengths(start: str) -> frozenset[int]:
    """The lengths that card numbers beginning with these four digits have; empty when no issuer has the prefix."""
    found = _NO_LENGTHS
    for size in range(1, 5):
        found |= _LENGTHS_BY_PREFIX.get(start[:size], _NO_LENGTHS)
    return found


def is_card_number(digits: str) -> bool:
    """Whether ASCII digits are a card number: issuer, length and check digit all fit.

    >>> is_card_number("4111111111111111"), is_card_number("1790000000000000004")
    (True, False)
    """
    return len(digits) in card_lengths(digits[:4]) and passes_luhn(digits)


def is_iban(text: str) -> bool:
    """Whether upper-case letters and digits are an IBAN: the country's length and the remainder of 97 fit.

    >>> is_iban("DE89370400440532013000"), is_iban("DE89370400440532013001")
    (True, False)
    """
    if _IBAN_LENGTHS.get(text[:2]) != len(text):
        return False
    moved = text[4:] + text[:4]
    return int("".join(str(int(char, 36)) for char in moved)) % 97 == 1
