"""The policy of this process, for every call that is handed none.

Text is redacted in some thirty places, log formatters and exception paths among them. Were the policy handed to each, a
place that forgot it would be weaker than the configuration says; so there is one, set when a configuration is taken, and
the strict default until then. The functions stay functions of text and policy: nothing else is kept here.
"""

from __future__ import annotations

from collections.abc import Sequence

from sentinel.core.redact.fields import redact_value
from sentinel.core.redact.policy import RedactPolicy
from sentinel.core.redact.text import Redactor

_in_force = Redactor()


def put_in_force(policy: RedactPolicy) -> Redactor:
    """Use this policy from now on; the redactor of it."""
    global _in_force  # noqa: PLW0603, RUF100  # the one thing this module is for
    if policy != _in_force.policy:
        _in_force = Redactor(policy)
    return _in_force


def redactor() -> Redactor:
    """The redactor in force; ask again for each batch, since a reload replaces it."""
    return _in_force


def redact(text: str, *, cut_start: bool = False, cut_end: bool = False) -> str:
    """The text with secrets replaced by what they were, such as `[PAN]`; see `Redactor.text`.

    >>> redact("card 4111 1111 1111 1111 declined for jane@example.com")
    'card [PAN] declined for [EMAIL]'
    >>> redact("seq 1790000000123456789 took 0.25 s")
    'seq 1790000000123456789 took 0.25 s'
    """
    return _in_force.text(text, cut_start=cut_start, cut_end=cut_end)


def redact_parts(parts: Sequence[str]) -> str:
    """As `redact`, for a text that came in parts.

    >>> redact_parts(["card 41111111", "11111111 refused"])
    'card [PAN] refused'
    """
    return _in_force.parts(parts)


def redact_fields(value: object) -> object:
    """A parsed JSON value with secrets replaced, by the names of its fields and by what they hold.

    >>> redact_fields({"pin": 1234, "n": 4111111111111111, "amount_minor": 4111111111111111})
    {'pin': '[SECRET]', 'n': '[PAN]', 'amount_minor': 4111111111111111}
    """
    return redact_value(value, _in_force)
