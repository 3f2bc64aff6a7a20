"""What is asked of a bank's rail, and the client of one that speaks HTTP as the simulated one does."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import aiohttp
import orjson

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.domain.disbursement import RailWord, ReturnCode

_ANSWER_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class RailPayment:
    """A payment as the rail is told of it; the same id again is the same payment."""

    payment_id: uuid.UUID
    account: str
    name: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RailAnswer:
    """The rail's last word of a payment."""

    word: RailWord
    return_code: ReturnCode | None = None


class Rail:
    """A rail behind HTTP; a block of `async with`, in which it may be asked."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Rail:
        """Open connections."""
        self._http = aiohttp.ClientSession(self._url, timeout=self._timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close connections."""
        if self._http is not None:
            await self._http.close()

    async def say(self, payment: RailPayment) -> RailAnswer:
        """Hand a payment in, or ask for it: whatever it was told before, the rail says its last word.

        Raises:
            UnavailableError: no answer in time, or none that makes sense; the same may be said again.
        """
        if self._http is None:
            message = "the rail is not open"
            raise RuntimeError(message)
        body = orjson.dumps(
            {
                "payment_id": str(payment.payment_id),
                "account": payment.account,
                "name": payment.name,
                "amount_minor": payment.amount_minor,
                "currency": payment.currency,
            }
        )
        headers = {"Content-Type": "application/json"}
        try:
            async with self._http.put(
                f"/payments/{payment.payment_id}", data=body, headers=headers
            ) as response:
                raw = await response.content.read(_ANSWER_BYTES_MAX)
                if response.status != 200:
                    message = f"the rail answers {response.status}"
                    raise UnavailableError(message, code=str(response.status))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"the rail does not answer: {type(error).__name__}"
            raise UnavailableError(message, code=type(error).__name__) from error
        return _read(raw)


def _read(raw: bytes) -> RailAnswer:
    try:
        document = orjson.loads(raw)
        word = RailWord(document["word"])
        code = document.get("return_code")
        answer = RailAnswer(word=word, return_code=None if code is None else ReturnCode(code))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        message = "the rail's answer is not understood"
        raise UnavailableError(message, code="not_understood") from error
    if (answer.return_code is not None) != (word in (RailWord.REFUSED, RailWord.RETURNED)):
        message = "the rail's answer contradicts itself"
        raise UnavailableError(message, code="not_understood")
    return answer
