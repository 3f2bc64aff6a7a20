"""What `sentinel check ready` is told of each thing outside: whether it can be reached, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sentinel.core.redact import redact


class ReachStatus(StrEnum):
    """OK is as it should be, DEGRADED gives less than it could, FAILING gives nothing."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILING = "failing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """One finding.

    Attributes:
        what: the thing looked at, such as `scrapers.nats main`; without credentials.
        status: how it is.
        sentence: what was seen, for a person.
        remedy: what to do about it, or "".
    """

    what: str
    status: ReachStatus
    sentence: str
    remedy: str = ""

    def __post_init__(self) -> None:
        # It quotes what others said; see `Health`.
        object.__setattr__(self, "sentence", redact(self.sentence))
