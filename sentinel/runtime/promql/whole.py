"""Whether an answer is whole: a sum without a part of it would look like a fall, now and in what is learned of the past."""

from __future__ import annotations

from sentinel.core.normalise.promql.answer import Answer
from sentinel.errors import UnreachableError

_ANNOTATION = "PromQL "
"""What Prometheus says of a query begins so; what else is said says that a part of the data is missing."""
_SAID_CHARACTERS_MAX = 120


def whole(answer: Answer) -> Answer:
    """The answer, if it is said to be whole.

    Raises:
        UnreachableError: the server says that a part of what it asks itself did not answer.
    """
    missing = [text for text in answer.warnings if not text.startswith(_ANNOTATION)]
    if missing:
        msg = f"the answer lacks a part: {missing[0][:_SAID_CHARACTERS_MAX]}"
        raise UnreachableError(msg)
    return answer
