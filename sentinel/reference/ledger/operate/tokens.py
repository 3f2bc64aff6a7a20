"""How a program comes in: with its own token, renewed before it expires, or by the header that loopback believes."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import orjson

from sentinel.reference.ledger.authorize import read_accounts
from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.operate.authorizing import machine_client
from sentinel.reference.ledger.operate.state import RunState

_EARLY_S: Final = 30.0
_PAUSE_S: Final = 1.0
_TIMEOUT_S: Final = 5.0


@dataclass(slots=True)
class _Held:
    value: str = ""
    renew_s: float = float("-inf")
    asked_s: float = float("-inf")


class Tokens:
    """The tokens of one tenant's program; without an issuer its requests carry `X-Tenant` alone."""

    def __init__(
        self, tenant: str, *, issuer_url: str = "", client_id: str = "", secret: str = ""
    ) -> None:
        self._tenant = tenant
        self._issuer_url = issuer_url
        pair = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        self._login = {"Authorization": f"Basic {pair}"}
        self._held = _Held()
        self._lock = asyncio.Lock()

    async def headers(self) -> dict[str, str]:
        """Return the headers of a request.

        Raises:
            UnavailableError: the issuer is away, and what was had of it has expired.
            LedgerError: the issuer does not know the program.
        """
        if not self._issuer_url:
            return {"X-Tenant": self._tenant}
        if time.monotonic() >= self._held.renew_s:
            async with self._lock:
                if time.monotonic() >= self._held.renew_s:
                    await self._renew()
        return {"Authorization": f"Bearer {self._held.value}"}

    def refused(self) -> None:
        """Note that the edge no longer believes the token, as after the issuer began anew; not more than once a second."""
        if time.monotonic() - self._held.asked_s > _PAUSE_S:
            self._held.renew_s = float("-inf")

    async def _renew(self) -> None:
        self._held.asked_s = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as http,
                http.post(
                    f"{self._issuer_url}/token",
                    data={"grant_type": "client_credentials"},
                    headers=self._login,
                    allow_redirects=False,
                ) as response,
            ):
                document = orjson.loads(await response.read())
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            message = f"the authorization server does not answer: {type(error).__name__}"
            raise UnavailableError(message) from error
        if response.status != 200:
            message = f"the authorization server gives no token: {document.get('error')}"
            raise LedgerError(message)
        self._held.value = str(document["access_token"])
        self._held.renew_s = time.monotonic() + max(
            float(document["expires_in"]) - _EARLY_S, _PAUSE_S
        )


def tokens_of(state: RunState, tenant: str) -> Tokens:
    """Return the tokens of a tenant's program at a running ledger.

    Raises:
        LedgerError: no program of the tenant is known there.
    """
    if not state.issuer_url:
        return Tokens(tenant)
    return tokens_from(state.issuer_url, Path(state.accounts_file), tenant)


def tokens_from(issuer_url: str, accounts_file: Path, tenant: str) -> Tokens:
    """Return the tokens of a tenant's program, by the accounts that its issuer was given.

    Raises:
        LedgerError: no program of the tenant is known there.
    """
    client = read_accounts(accounts_file).clients.get(machine_client(tenant))
    if client is None:
        message = f"no tenant {tenant!r} was opened at this ledger"
        raise LedgerError(message)
    return Tokens(tenant, issuer_url=issuer_url, client_id=client.id, secret=client.secret)
