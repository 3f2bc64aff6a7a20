"""What is asked of a bank's rail, and the client of one that speaks HTTP as the simulated one does."""

from __future__ import annotations

import ssl
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import aiohttp
import orjson

from sentinel.reference.ledger.domain import UnavailableError, UnreadableError, UsageError
from sentinel.reference.ledger.domain.disbursement import RailWord, ReturnCode
from sentinel.reference.ledger.wire.config import check_url, is_private_way

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


@dataclass(frozen=True, slots=True, kw_only=True)
class RailConfig:
    """Where the rail is, and how each knows the other.

    Attributes:
        url: https; plain http on this machine's loopback alone.
        token_file: a bearer token that it knows us by, read for each question, so that a new one needs no restart.
        ca_file: authorities of the rail's own certificate; the system's when None.
        timeout_s: limit of one question.
    """

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        """Refuse a rail that anybody on the way could stand in for."""
        check_url(self.url, what="--rail-url", schemes=("https", "http"))
        if not is_private_way(self.url):
            message = f"--rail-url is {self.url!r}: https, unless it is on this machine's loopback"
            raise UsageError(message)


class Rail:
    """A rail behind HTTP; a block of `async with`, in which it may be asked."""

    def __init__(self, config: RailConfig) -> None:
        self._config = config
        self._timeout = aiohttp.ClientTimeout(total=config.timeout_s)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Rail:
        """Open connections.

        Raises:
            UnreadableError: the authorities or the token cannot be read.
        """
        self._headers()
        trusted: ssl.SSLContext | bool = True
        if self._config.ca_file is not None:
            try:
                trusted = ssl.create_default_context(cafile=self._config.ca_file)
            except OSError as error:
                message = f"cannot read {self._config.ca_file}: {error.strerror or error}"
                raise UnreadableError(message) from error
        self._http = aiohttp.ClientSession(
            self._config.url,
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(ssl=trusted),
        )
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
        try:
            async with self._http.put(
                f"/payments/{payment.payment_id}",
                data=body,
                headers=self._headers(),
                # Somewhere else nobody has said that the token may go.
                allow_redirects=False,
            ) as response:
                raw = await response.content.read(_ANSWER_BYTES_MAX)
                if response.status != 200:
                    message = f"the rail answers {response.status}"
                    raise UnavailableError(message, code=str(response.status))
        except UnreadableError as error:
            raise UnavailableError(str(error), code="token") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            message = f"the rail does not answer: {type(error).__name__}"
            raise UnavailableError(message, code=type(error).__name__) from error
        return _read(raw)

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        file = self._config.token_file
        if file is not None:
            try:
                token = file.read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                message = f"cannot read {file}: {getattr(error, 'strerror', None) or 'no token'}"
                raise UnreadableError(message) from error
            if not token.isprintable() or not token or " " in token:
                message = f"{file} holds no token"
                raise UnreadableError(message)
            headers["Authorization"] = f"Bearer {token}"
        return headers


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
