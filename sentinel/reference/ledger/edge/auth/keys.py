"""The issuer's public keys by their ids: found by discovery, kept, and never asked for in a storm.

Keys are asked for when there are none, when they are `refresh_s` old and a token is believed, and when a token names one that is
not there, for the issuer may have changed them. Whoever sends tokens with made-up ids must not make the
edge a flood upon its issuer, so unknown ids cause one question in `unknown_pause_s` and no more.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import aiohttp
import orjson
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key

from sentinel.reference.ledger.domain import UnavailableError, UnreadableError
from sentinel.reference.ledger.edge.auth.config import IssuerConfig
from sentinel.reference.ledger.telemetry import Event, Telemetry
from sentinel.reference.ledger.wire.config import is_private_way

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
PublicKey = ECKey | RSAKey | OKPKey
_ANSWER_BYTES_MAX: Final = 256 * 1024
_KEYS_COUNT_MAX: Final = 64
_RSA_BITS_MIN: Final = 2048
_TYPES: Final = frozenset({"EC", "RSA", "OKP"})


class IssuerKeys:
    """Keys of one issuer; `close` ends what is still being asked."""

    def __init__(
        self,
        config: IssuerConfig,
        *,
        telemetry: Telemetry,
        on_removed: Callable[[], None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._telemetry = telemetry
        self._on_removed = on_removed
        self._monotonic_s = monotonic_s
        self._keys: dict[str, PublicKey] = {}
        self._fetched_s = float("-inf")
        self._asked_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self._http: aiohttp.ClientSession | None = None

    async def find(self, kid: str | None) -> PublicKey | None:
        """Return the key of this id; None when the issuer has none such.

        Args:
            kid: None where the token names none, which is enough while the issuer has one key.

        Raises:
            UnavailableError: the issuer does not answer, and there are no keys that may still be used.
        """
        now_s = self._monotonic_s()
        if now_s - self._fetched_s > self._config.keys_max_age_s:
            self._keys = {}
        if not self._keys:
            await self._refresh()
            if not self._keys:
                message = "the issuer's keys cannot be had"
                raise UnavailableError(message)
        elif now_s - self._fetched_s > self._config.refresh_s:
            # Nobody waits for it: the keys that are there are good.
            self._begin()
        found = self._named(kid)
        if found is None:
            await self._refresh()
            found = self._named(kid)
        return found

    def touch(self) -> bool:
        """Note that a token is believed again without a look at its key, and say whether it may be.

        Were keys asked for by look-ups alone, an edge whose tokens are all remembered would never hear that one was
        withdrawn. It may not when keys are older than they may be used; nobody waits here for new ones.
        """
        now_s = self._monotonic_s()
        age_s = now_s - self._fetched_s
        if age_s > self._config.refresh_s and now_s - self._asked_s >= self._config.retry_s:
            self._begin()
        return age_s <= self._config.keys_max_age_s

    async def close(self) -> None:
        """Stop asking; idempotent."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking
            self._asking = None
        if self._http is not None:
            await self._http.close()
            self._http = None

    def _named(self, kid: str | None) -> PublicKey | None:
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        asking = self._begin()
        if asking is not None:
            await asyncio.shield(asking)

    def _begin(self) -> asyncio.Task[None] | None:
        """Ask, unless somebody does or has just done so; one question serves all who wait."""
        if self._asking is not None and not self._asking.done():
            return self._asking
        now_s = self._monotonic_s()
        if now_s - self._asked_s < self._config.unknown_pause_s:
            self._telemetry.access.keys_asked("held_back")
            return None
        self._asked_s = now_s
        self._asking = asyncio.create_task(self._ask(), name="issuer-keys")
        return self._asking

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(self._config.fetch_timeout_s):
                keys = await self._fetch()
        except (
            UnavailableError,
            UnreadableError,
            aiohttp.ClientError,
            OSError,
            TimeoutError,
        ) as error:
            self._telemetry.access.keys_asked("failed")
            self._telemetry.warning(
                Event.AUTH_KEYS_FAILED,
                f"The issuer's keys could not be had: {str(error)[:200] or type(error).__name__}",
                issuer=self._config.url,
            )
            return
        self._telemetry.access.keys_asked("ok")
        removed = {name for name, key in self._keys.items() if _changed(key, keys.get(name))}
        self._keys, self._fetched_s = keys, self._monotonic_s()
        if removed:
            # What was signed by a key that is gone is to be believed no longer.
            self._on_removed()

    async def _fetch(self) -> dict[str, PublicKey]:
        found = await self._read(self._config.url.rstrip("/") + DISCOVERY_PATH)
        if found.get("issuer") != self._config.url:
            message = "its discovery document names another issuer"
            raise UnavailableError(message)
        address = found.get("jwks_uri")
        if not isinstance(address, str) or not is_private_way(address):
            message = "its discovery document names no safe address of its keys"
            raise UnavailableError(message)
        published = (await self._read(address)).get("keys")
        keys = _imported(published if isinstance(published, list) else [])
        if not keys:
            message = "it publishes no key that can be used"
            raise UnavailableError(message)
        return keys

    async def _read(self, url: str) -> dict[str, Any]:
        async with self._session().get(url, allow_redirects=False) as response:
            if response.status != 200:
                message = f"it answers {response.status}"
                raise UnavailableError(message)
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > _ANSWER_BYTES_MAX:
                    message = f"it answers with more than {_ANSWER_BYTES_MAX} bytes"
                    raise UnavailableError(message)
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            message = "it does not answer with a JSON object"
            raise UnavailableError(message)
        return document

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            # Only now: a session belongs to the loop that runs.
            trusted: ssl.SSLContext | bool = True
            if self._config.ca_file is not None:
                try:
                    trusted = ssl.create_default_context(cafile=self._config.ca_file)
                except OSError as error:
                    message = f"cannot read {self._config.ca_file}: {error.strerror or error}"
                    raise UnreadableError(message) from error
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trusted, limit=2)
            )
        return self._http


def _imported(published: list[Any]) -> dict[str, PublicKey]:
    """Return the keys that signatures can be checked with, leaving out all others."""
    keys: dict[str, PublicKey] = {}
    for one in published[:_KEYS_COUNT_MAX]:
        if not isinstance(one, dict) or one.get("kty") not in _TYPES or "d" in one:
            continue
        if one.get("use", "sig") != "sig":
            continue
        try:
            key = import_key(one)
            kid = one.get("kid") or key.thumbprint()
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if not isinstance(key, PublicKey) or not isinstance(kid, str):
            continue
        if isinstance(key, RSAKey) and key.public_key.key_size < _RSA_BITS_MIN:
            continue
        keys[kid] = key
    return keys


def _changed(old: PublicKey, new: PublicKey | None) -> bool:
    return new is None or new.thumbprint() != old.thumbprint()
