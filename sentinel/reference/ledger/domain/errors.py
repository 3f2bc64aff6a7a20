"""The ledger's exceptions.

LedgerError
├── InvalidTransferError   the request is wrong; it will be wrong again
├── UsageError             a command was asked for what makes no sense
├── UnreadableError        a file that was named cannot be read
├── PermanentError         a dependency refused this very input for good
└── UnavailableError       a dependency did not answer in time; the same input may succeed later
"""

from __future__ import annotations

from collections.abc import Sequence


class LedgerError(Exception):
    """Any failure the ledger names itself."""


class InvalidTransferError(LedgerError):
    """A request that breaks a rule; `code` is stable, `field` names what to correct.

    `others` are what else is wrong with it, as far as it was looked for.
    """

    def __init__(
        self, *, code: str, field: str, message: str, others: Sequence[InvalidTransferError] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message
        self.others = tuple(others)

    def within(self, place: str) -> InvalidTransferError:
        """Return the same of something that is at `place` in a larger body."""
        return InvalidTransferError(
            code=self.code,
            field=place + (f".{self.field}" if self.field else ""),
            message=self.message,
            others=[other.within(place) for other in self.others],
        )


class UsageError(LedgerError):
    """An argument, or several together, that cannot be meant."""


class UnreadableError(LedgerError):
    """A file that a command was given cannot be read; what it says is not known."""


class PermanentError(LedgerError):
    """The same input will fail again; `code` is the dependency's own code, such as a SQLSTATE."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class UnavailableError(LedgerError):
    """A dependency is away, full or too slow; `code` is its own code where it gave one."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code
