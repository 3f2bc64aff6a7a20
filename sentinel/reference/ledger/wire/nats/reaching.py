"""Exceptions of the client and the socket, made into the ledger's own."""

from __future__ import annotations

from nats.errors import Error as NatsError
from nats.js.errors import APIError

from sentinel.reference.ledger.domain import UnavailableError


class reaching:  # noqa: N801 - reads as a block: `with _reaching("..."):`
    """Turns the client's and the socket's exceptions into UnavailableError."""

    def __init__(self, what_failed: str) -> None:
        self._what_failed = what_failed

    def __enter__(self) -> None:
        """Do nothing on entry."""

    def __exit__(self, kind: object, failure: BaseException | None, trace: object) -> None:
        if isinstance(failure, APIError):
            text = f"{self._what_failed}: {failure.description or failure.err_code}"
            raise UnavailableError(text, code=str(failure.err_code or "")) from failure
        if isinstance(failure, (NatsError, OSError, TimeoutError)):
            text = f"{self._what_failed}: {type(failure).__name__}"
            raise UnavailableError(text, code=type(failure).__name__) from failure
