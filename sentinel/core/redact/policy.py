"""What is taken out of text, beyond what always is; the default hides most.

A policy is a value: it is handed to a `Redactor`, and the one of the process is put in force when a configuration is
taken (`in_force.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sentinel.core.redact.own_patterns import pattern_cost

OWN_PATTERNS_MAX = 32
OWN_KEYS_MAX = 64
OWN_KEY_CHARS_MAX = 64
OWN_COST_MAX = 1024
"""Most work at one place of a text for all patterns together; a line of 64 KiB then takes half a second at the worst."""

MAIL_KEY_BYTES_MIN = 16
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPattern:
    """A shape that a configuration adds.

    Attributes:
        name: what is shown instead, as `[NAME]`: 1-31 letters, digits, `_` and `-`.
        pattern: see `own_patterns.pattern_cost` for what it may hold.
        ignore_case: whether small and capital letters are the same.
    """

    name: str
    pattern: str
    ignore_case: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            msg = (
                "the name of a pattern is 1-31 letters, digits, _ and -, and begins with a letter"
            )
            raise ValueError(msg)
        pattern_cost(self.pattern)

    def compiled(self) -> re.Pattern[str]:
        """Ready to search with."""
        flags = re.ASCII | (re.IGNORECASE if self.ignore_case else re.NOFLAG)
        return re.compile(self.pattern, flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactPolicy:
    """What to hide.

    Attributes:
        mail_key: a mail address becomes `[EMAIL:` and eight digits of its HMAC-SHA256, so that lines about one person
            can be told from lines about another; empty for `[EMAIL]` alone. At least 16 bytes.
        keep_last4: of a card number the first six and last four digits stay, which is the most that PCI DSS lets be
            shown; else none.
        phone: phone numbers are hidden too.
        ssn: United States social security numbers are hidden too.
        own: shapes of the configuration, in order.
        keys: names of fields, beside the built-in ones, whose values are hidden; compared without case and separators.
    """

    mail_key: bytes = field(default=b"", repr=False)
    keep_last4: bool = False
    phone: bool = False
    ssn: bool = False
    own: tuple[OwnPattern, ...] = ()
    keys: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.mail_key and len(self.mail_key) < MAIL_KEY_BYTES_MIN:
            msg = f"the key for mail addresses needs at least {MAIL_KEY_BYTES_MIN} bytes"
            raise ValueError(msg)
        if len(self.own) > OWN_PATTERNS_MAX:
            msg = f"at most {OWN_PATTERNS_MAX} patterns"
            raise ValueError(msg)
        if len(self.keys) > OWN_KEYS_MAX or not all(_is_key(key) for key in self.keys):
            msg = f"at most {OWN_KEYS_MAX} keys, each with a letter or digit and at most {OWN_KEY_CHARS_MAX} characters"
            raise ValueError(msg)
        cost = sum(pattern_cost(one.pattern) for one in self.own)
        if cost > OWN_COST_MAX:
            msg = f"the patterns together cost {cost} at one place, {OWN_COST_MAX} are allowed: repeat less"
            raise ValueError(msg)


def _is_key(key: str) -> bool:
    return len(key) <= OWN_KEY_CHARS_MAX and any(char.isalnum() for char in key)


DEFAULT_POLICY = RedactPolicy()
