"""What is told of beside verdicts: calls that were named as evidence, and versions that services came to run."""

from __future__ import annotations

from dataclasses import dataclass

from sentinel.core.model.incidents import Exemplar


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedCalls:
    """Calls of one place and outcome that windows named because they were the first, the slowest, or failed.

    Attributes:
        count: how many were named so far; it begins anew when the place was forgotten.
        newest: the slowest of the last window that named any.
    """

    count: int
    newest: Exemplar


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceVersion:
    """A version that a service runs since a moment, and had not run before it.

    Attributes:
        service: whose.
        version: its `service.version`.
        since_ns: when it was first heard (Unix).
    """

    service: str
    version: str
    since_ns: int
