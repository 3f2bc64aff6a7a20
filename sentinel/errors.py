"""Every exception Sentinel raises on purpose. Raise the leaf, catch the branch.

    SentinelError
    ├── ConfigError                  the configuration is wrong; carries every problem found
    │   └── ConfigUnreadableError    a file of it cannot be read, so nothing can be said about it
    ├── InputError                   what was given to us is wrong: the same input fails again
    │   ├── MalformedInputError      cannot be decoded, or breaks a rule of its format
    │   ├── InputTooLargeError       over a limit; carries size and limit
    │   └── UnsupportedInputError    a media type, encoding or version we do not speak
    ├── RetryableError               may work later; carries when to try again
    │   ├── OverloadedError          we are full: a queue or memory bound is reached
    │   └── UnreachableError         another system did not answer, or asked us to wait
    │       ├── TooSlowError         its answer took too long: asked for less, it may be in time
    │       └── UntrustedError       its certificate is not believed: expired, of another name, of nobody we trust
    ├── RefusedError                 another system refused for good; carries status and endpoint
    │   ├── QueryRefusedError        a query is wrong, or cannot be answered
    │   └── TooMuchAskedError        a query's answer is over a limit of its server or of ours: asked for less, it may come
    └── StoreError                   the store cannot be used as asked
        ├── StoreLockedError         another process holds it
        ├── StoreTooNewError         written by a newer version
        ├── StoreFullError           no space, or the store's own ceiling
        └── StoreCorruptError        bytes do not match their checksum or schema

Edge errors are either permanent (`InputError`, `RefusedError`) or retryable (`RetryableError`), and
the caller can tell by type.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ConfigError",
    "ConfigProblem",
    "ConfigUnreadableError",
    "InputError",
    "InputTooLargeError",
    "MalformedInputError",
    "OverloadedError",
    "QueryRefusedError",
    "RefusedError",
    "RetryableError",
    "SentinelError",
    "StoreCorruptError",
    "StoreError",
    "StoreFullError",
    "StoreLockedError",
    "StoreTooNewError",
    "TooMuchAskedError",
    "TooSlowError",
    "UnreachableError",
    "UnsupportedInputError",
    "UntrustedError",
]


class SentinelError(Exception):
    """Base of everything Sentinel raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """One fault in the configuration, where it is, and what would be right.

    Attributes:
        path: dotted path of the setting, such as `receivers.otlp_http.listen`.
        message: one sentence without a final full stop.
        file: file the setting was read from, or None for a default or the environment.
        line: line in that file, counted from 1, or None.
    """

    path: str
    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.file and self.line else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class ConfigError(SentinelError):
    """The configuration is wrong; all problems are reported together."""

    def __init__(self, problems: list[ConfigProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class ConfigUnreadableError(ConfigError):
    """A file of the configuration cannot be read; what it says is not known."""


class InputError(SentinelError):
    """What was given to us is wrong; sending it again fails again."""


class MalformedInputError(InputError):
    """Input that cannot be decoded or that breaks a rule of its format."""


class InputTooLargeError(InputError):
    """Input over a limit.

    Attributes:
        size_bytes: how much was read before giving up (the true size may be larger).
        limit_bytes: the limit that was passed.
    """

    def __init__(self, message: str, *, size_bytes: int, limit_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(f"{message} ({size_bytes} bytes, limit {limit_bytes})")


class UnsupportedInputError(InputError):
    """A media type, encoding or version that is not spoken here."""


class RetryableError(SentinelError):
    """May work later.

    Attributes:
        retry_after_s: how long the caller should wait before it tries again.
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class OverloadedError(RetryableError):
    """A bound of ours is reached; nothing of the input was kept."""


class UnreachableError(RetryableError):
    """Another system did not answer in time, or asked us to come back later."""


class TooSlowError(UnreachableError):
    """Another system did not answer in time; what was asked may be too much for it."""


class UntrustedError(UnreachableError):
    """Another system's certificate is not believed, so nothing was said to it. It may be renewed, so it may work later."""


class RefusedError(SentinelError):
    """Another system refused for good.

    Attributes:
        status: its status code.
        endpoint: where it was, without credentials.
    """

    def __init__(self, message: str, *, status: int, endpoint: str) -> None:
        self.status = status
        self.endpoint = endpoint
        super().__init__(f"{message} (status {status} from {endpoint})")


class QueryRefusedError(RefusedError):
    """Another system says that a query is wrong, or that it cannot answer it."""


class TooMuchAskedError(RefusedError):
    """An answer would be over a limit of the other system or of ours; asked for a shorter time, it may come."""


class StoreError(SentinelError):
    """The store cannot be used as asked."""


class StoreLockedError(StoreError):
    """Another process holds the store's lock."""


class StoreTooNewError(StoreError):
    """The store was written by a newer version than this one."""


class StoreFullError(StoreError):
    """The disk, or the store's own ceiling, has no room."""


class StoreCorruptError(StoreError):
    """Stored bytes do not match their checksum or schema."""
