"""One attempt: a POST to an address that was judged, whose answer is read a little and never followed.

The client resolves a name once for each new connection, through a resolver that lets nothing pass which `judge_address`
refuses, and connects to what that resolver gave it. No proxy of the environment is used, for it would resolve the name itself.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver

from sentinel.reference.ledger.domain.webhooks.addresses import (
    AddressPolicy,
    RefusedAddressError,
    judge_url,
)
from sentinel.reference.ledger.domain.webhooks.delivery import (
    Judgement,
    Outcome,
    Reason,
    judge_status,
)
from sentinel.reference.ledger.domain.webhooks.schedule import parse_retry_after
from sentinel.reference.ledger.webhooks.lookups import (
    GuardedResolver,
    LookupConfig,
    Lookups,
    on_behalf_of,
)

_USER_AGENT: Final = "sentinel-ledger-webhooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderConfig:
    """Limits of one attempt. Standard Webhooks would have the whole of it take 15 to 30 s at most."""

    timeout_s: float = 20.0
    connect_timeout_s: float = 10.0
    answer_bytes_max: int = 16 * 1024
    header_bytes_max: int = 8190
    keep_open_s: float = 15.0
    lookups: LookupConfig = field(default_factory=LookupConfig)

    def __post_init__(self) -> None:
        """Refuse limits that cannot work."""
        if not 0 < self.connect_timeout_s <= self.timeout_s or self.answer_bytes_max < 1:
            message = "connect_timeout_s must be above 0 and not above timeout_s, and answer_bytes_max too"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What became of one attempt."""

    judgement: Judgement
    status: int | None = None
    retry_after_s: float | None = None
    duration_s: float = 0.0


class Sender:
    """The client of all endpoints; how many attempts are under way is bounded by who calls it."""

    def __init__(
        self, config: SenderConfig, policy: AddressPolicy, resolver: AbstractResolver | None = None
    ) -> None:
        self._config = config
        self._policy = policy
        self._lookups = Lookups(config.lookups)
        self._resolver = resolver or GuardedResolver(policy, self._lookups)
        self._session: aiohttp.ClientSession | None = None

    @property
    def lookups_count(self) -> int:
        """Lookups of names that are under way."""
        return self._lookups.under_way_count

    async def start(self) -> None:
        """Open the client."""
        connector = aiohttp.TCPConnector(
            resolver=self._resolver,
            use_dns_cache=False,
            limit=0,
            keepalive_timeout=self._config.keep_open_s,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self._config.timeout_s, connect=self._config.connect_timeout_s
            ),
            # What is unpacked could be far more than what came.
            auto_decompress=False,
            trust_env=False,
            read_bufsize=self._config.answer_bytes_max,
            max_line_size=self._config.header_bytes_max,
            max_field_size=self._config.header_bytes_max,
        )

    async def stop(self) -> None:
        """Close the client; harmless when it is closed."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self, url: str, *, body: bytes, headers: dict[str, str], tenant: str = ""
    ) -> Attempt:
        """Make one attempt on behalf of a tenant; whatever goes wrong is part of what it returns."""
        with on_behalf_of(tenant):
            return await self._send(url, body=body, headers=headers)

    async def _send(self, url: str, *, body: bytes, headers: dict[str, str]) -> Attempt:
        assert self._session is not None, "send before start"
        began = time.perf_counter()
        try:
            target = judge_url(url, self._policy)
            async with self._session.post(
                target,
                data=body,
                headers={
                    **headers,
                    "Content-Type": "application/json",
                    "User-Agent": _USER_AGENT,
                    "Accept-Encoding": "identity",
                },
                allow_redirects=False,
            ) as response:
                judgement = judge_status(response.status)
                retry_after_s = parse_retry_after(response.headers.get("Retry-After"), time.time())
                if not await self._read_out(response):
                    # Not a connection to use again: nobody knows how much more there is.
                    response.close()
            status: int | None = response.status
        except RefusedAddressError:
            judgement, status, retry_after_s = _failed(Reason.ADDRESS_REFUSED), None, None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            judgement, status, retry_after_s = _failed(_reason(error)), None, None
        return Attempt(
            judgement=judgement,
            status=status,
            retry_after_s=retry_after_s,
            duration_s=time.perf_counter() - began,
        )

    async def _read_out(self, response: aiohttp.ClientResponse) -> bool:
        """Read a short answer to its end, so that the connection can be used again; whether that was so.

        An answer is judged by its status: a body that breaks off or never ends changes nothing.
        """
        count = 0
        try:
            while count <= self._config.answer_bytes_max:
                part = await response.content.readany()
                if not part:
                    return True
                count += len(part)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        return False


def _failed(reason: Reason) -> Judgement:
    return Judgement(outcome=Outcome.FAILED, reason=reason)


def _reason(error: Exception) -> Reason:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RefusedAddressError):
            return Reason.ADDRESS_REFUSED
        cause = cause.__cause__ or cause.__context__
    match error:
        case TimeoutError():
            return Reason.TIMEOUT
        case aiohttp.ClientConnectorDNSError() | socket.gaierror():
            return Reason.DNS
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return Reason.TLS
        case aiohttp.ClientConnectionError() | OSError():
            return Reason.CONNECTION
        case _:
            return Reason.BAD_ANSWER
