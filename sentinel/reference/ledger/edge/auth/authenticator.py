"""From a request's credentials to its caller.

A certificate and a token may both be there, as when an integrator's connection carries a user's token: they must name one
tenant, and the token says what is allowed. `X-Tenant` beside either may repeat the tenant and never choose it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from multidict import CIMultiDict, CIMultiDictProxy

from sentinel.reference.ledger.domain import check_tenant
from sentinel.reference.ledger.edge.auth.caller import (
    EVERYTHING,
    AuthRefusedError,
    Caller,
    Method,
    Reason,
    Scope,
)
from sentinel.reference.ledger.edge.auth.certificate import caller_of
from sentinel.reference.ledger.edge.auth.config import AuthConfig
from sentinel.reference.ledger.edge.auth.tls import ServerTls
from sentinel.reference.ledger.telemetry import Telemetry

if TYPE_CHECKING:
    from sentinel.reference.ledger.edge.auth.bearer import Bearer

_TENANT: Final = "X-Tenant"
_SCHEME: Final = "bearer "


class Authenticator:
    """Finds out who asks, by the ways that are configured; `start` before the first request."""

    def __init__(
        self,
        config: AuthConfig,
        *,
        telemetry: Telemetry,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._telemetry = telemetry
        self._now_s = now_s
        self._bearer: Bearer | None = None
        self._watching: asyncio.Task[None] | None = None
        self.tls: ServerTls | None = None

    async def start(self, host: str) -> None:
        """Read files and make ready; the issuer is asked when its first token comes, for it may start later.

        Raises:
            UsageError: these ways in are not for an edge that listens on `host`.
            UnreadableError: a TLS file cannot be used.
        """
        self._config.check_host(host)
        if self._config.tls is not None:
            self.tls = ServerTls(self._config.tls, telemetry=self._telemetry)
            self.tls.load()
            self._watching = asyncio.create_task(self.tls.watch(), name="edge-tls-files")
        if self._config.issuer is not None:
            # Late: an edge that takes no tokens needs no library for them.
            from sentinel.reference.ledger.edge.auth.bearer import Bearer

            self._bearer = Bearer(self._config.issuer, telemetry=self._telemetry)

    async def stop(self) -> None:
        """Stop watching files and asking the issuer; idempotent."""
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        if self._bearer is not None:
            await self._bearer.keys.close()

    async def authenticate(
        self,
        headers: CIMultiDict[str] | CIMultiDictProxy[str],
        peer_cert: Mapping[str, Any] | None,
        *,
        needs: Scope,
    ) -> Caller:
        """Return who asks, once it is known that they may.

        Args:
            headers: the request's.
            peer_cert: the client certificate that the connection was checked by, as `ssl` gives it.
            needs: what the caller must be allowed.

        Raises:
            AuthRefusedError: it is not known who asks, the credentials contradict each other, or do not allow this.
            InvalidTransferError: `X-Tenant` is all there is, is enough here, and is no tenant's name.
        """
        try:
            caller = await self._caller(headers, peer_cert)
            caller.require(needs)
        except AuthRefusedError as error:
            self._telemetry.access.refused(error.reason)
            raise
        self._telemetry.access.accepted(caller.method)
        return caller

    async def _caller(
        self,
        headers: CIMultiDict[str] | CIMultiDictProxy[str],
        peer_cert: Mapping[str, Any] | None,
    ) -> Caller:
        now_s = self._now_s()
        by_certificate = caller_of(peer_cert, now_s) if peer_cert else None
        token = _token(headers.getall("Authorization", []))
        by_token: Caller | None = None
        if token is not None:
            if self._bearer is None:
                raise AuthRefusedError(Reason.UNKNOWN_SCHEME)
            by_token = await self._bearer.caller_of(token, now_s)
        names = headers.getall(_TENANT, [])
        caller = by_token or by_certificate
        if caller is None:
            return self._by_header(names)
        said = {one.tenant for one in (by_token, by_certificate) if one is not None}
        if {*said, *names} != {caller.tenant}:
            raise AuthRefusedError(Reason.TENANT_MISMATCH)
        return caller

    def _by_header(self, names: list[str]) -> Caller:
        if not self._config.insecure_tenant_header:
            raise AuthRefusedError(Reason.NO_CREDENTIALS)
        if len(set(names)) > 1:
            raise AuthRefusedError(Reason.TENANT_MISMATCH)
        name = names[0] if names else ""
        check_tenant(name)
        return Caller(tenant=name, scopes=EVERYTHING, method=Method.HEADER)


def _token(given: list[str]) -> str | None:
    """Return the token of the one Authorization header; None when there is no header.

    Raises:
        AuthRefusedError: there are several, or it is of another scheme.
    """
    if not given:
        return None
    if len(given) > 1 or given[0][: len(_SCHEME)].lower() != _SCHEME:
        raise AuthRefusedError(Reason.UNKNOWN_SCHEME)
    return given[0][len(_SCHEME) :].strip()
