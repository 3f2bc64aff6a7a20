"""The ledger's exceptions.

LedgerError
├── InvalidTransferError   the request is wrong; it will be wrong again
├── UsageError             a command was asked for what makes no sense
├── UnreadableError        a file that was named cannot be read
├── PermanentError         a dependency refused this very input for good
└── UnavailableError       a dependency did not answer in time; the same input may succeed later
"""

from __future__ import annotations


class LedgerError(Exception):
    """Any failure the ledger names itself."""


class InvalidTransferError(LedgerError):
    """A request that breaks a rule; `code` is stable, `field` names what to correct."""

    def __init__(self, *, code: str, field: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.message = message


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
