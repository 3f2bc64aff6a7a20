"""What a configuration says of redaction, as the policy that the core takes."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.core.redact import OwnPattern, RedactPolicy
from sentinel.runtime.settings import Secret, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPatternConfig:
    """A shape of your own that is hidden."""

    name: str = setting(
        "OWN",
        help="What is shown instead, as `[NAME]`: letters, digits, `_` and `-`, at most 31.",
    )
    pattern: str = setting(
        "",
        help="Regular expression whose every repetition has an upper bound (`{1,40}`, not `+`), without looking"
        " around or back; at most 256 characters. Its worst case is counted, and refused when it is too long.",
    )
    ignore_case: bool = setting(False, help="Whether small and capital letters are the same.")  # noqa: FBT003  # a default

    def __post_init__(self) -> None:
        if self.pattern:
            self.own()

    def own(self) -> OwnPattern:
        """As the core takes it; ValueError with what is wrong."""
        return OwnPattern(name=self.name, pattern=self.pattern, ignore_case=self.ignore_case)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactConfig:
    """What is hidden beyond what always is, and what is shown of it."""

    mail_key: Secret | None = setting(
        None,
        help="Key of 16 bytes or more: a mail address becomes `[EMAIL:` and eight digits of its HMAC, so that lines of one"
        " person can be told from another's. Without it `[EMAIL]` alone.",
    )
    keep_last4: bool = setting(
        False,  # noqa: FBT003  # a default
        help="Whether the first six and last four digits of a card number stay: the most that PCI DSS lets be shown.",
    )
    phone: bool = setting(False, help="Whether phone numbers are hidden.")  # noqa: FBT003  # a default
    ssn: bool = setting(
        False,  # noqa: FBT003  # a default
        help="Whether United States social security numbers are hidden wherever they stand.",
    )
    keys: tuple[str, ...] = setting(
        (), help="Names of fields whose values are hidden, beside the built-in ones; at most 64."
    )
    patterns: tuple[OwnPatternConfig, ...] = setting(
        (), help="Shapes of your own that are hidden; at most 32."
    )

    def __post_init__(self) -> None:
        if not all(one.pattern for one in self.patterns):
            msg = "patterns must each have a pattern"
            raise ValueError(msg)
        self.policy()

    def policy(self) -> RedactPolicy:
        """As the core takes it; ValueError with what is wrong."""
        return RedactPolicy(
            mail_key=b"" if self.mail_key is None else self.mail_key.reveal().encode(),
            keep_last4=self.keep_last4,
            phone=self.phone,
            ssn=self.ssn,
            own=tuple(one.own() for one in self.patterns),
            keys=frozenset(self.keys),
        )
