"""Programs of the ledger's tenants, as the edge sees them: what faults of traffic send their requests through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.operate.state import RunState
from sentinel.reference.ledger.operate.tokens import Tokens, tokens_of

_TIMEOUT_S: Final = 5.0


class Clients:
    """Asks for transfers, each tenant with its own tokens."""

    def __init__(self, state: RunState, http: aiohttp.ClientSession) -> None:
        self._state = state
        self._http = http
        self._tokens: dict[str, Tokens] = {}

    async def transfer(self, tenant: str, key: str, body: Mapping[str, object]) -> int:
        """Ask for a transfer under an idempotency key; the answer's status.

        Raises:
            UnavailableError: the edge does not answer.
        """
        if tenant not in self._tokens:
            self._tokens[tenant] = tokens_of(self._state, tenant)
        tokens = self._tokens[tenant]
        headers = {**await tokens.headers(), "Idempotency-Key": key}
        try:
            async with self._http.post(
                "/v1/transfers", json=dict(body), headers=headers
            ) as response:
                await response.read()
                if response.status == 401:
                    tokens.refused()
                return response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            message = f"the edge does not answer: {type(error).__name__}"
            raise UnavailableError(message) from error


@asynccontextmanager
async def clients(state: RunState) -> AsyncIterator[Clients]:
    """Have clients while the block runs."""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(state.edge_url, timeout=timeout) as http:
        yield Clients(state, http)
