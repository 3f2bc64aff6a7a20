"""The one place that takes secrets out of text."""

from sentinel.core.redact.fields import redact_field, redact_value
from sentinel.core.redact.in_force import (
    put_in_force,
    redact,
    redact_fields,
    redact_parts,
    redactor,
)
from sentinel.core.redact.keys import KeyKind
from sentinel.core.redact.policy import DEFAULT_POLICY, OwnPattern, RedactPolicy
from sentinel.core.redact.text import FAILED, LINE_CHARS_MAX, Redactor

__all__ = [
    "DEFAULT_POLICY",
    "FAILED",
    "LINE_CHARS_MAX",
    "KeyKind",
    "OwnPattern",
    "RedactPolicy",
    "Redactor",
    "put_in_force",
    "redact",
    "redact_field",
    "redact_fields",
    "redact_parts",
    "redact_value",
    "redactor",
]
