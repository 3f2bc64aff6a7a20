"""An OIDC issuer for tests: its keys, its tokens, good and bad, and how often it was asked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

SigningKey = ECKey | RSAKey | OctKey


@dataclass(slots=True)
class Issuer:
    """A running issuer; what it publishes can be changed while it runs."""

    url: str = ""
    keys: list[ECKey | RSAKey] = field(default_factory=list)
    discovery: dict[str, object] = field(default_factory=dict)
    asked_count: int = 0
    away: bool = False

    def claims(self, **changed: object) -> dict[str, Any]:
        """What a good token of the tenant `shop` says; None takes a claim out."""
        now_s = int(time.time())
        claims: dict[str, object] = {
            "iss": self.url,
            "aud": "ledger",
            "sub": "till-7",
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + 300,
            "tenant": "shop",
            "scope": "ledger.read ledger.write",
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, **changed: object) -> str:
        """A token of the first key, with these claims changed."""
        return signed(self.claims(**changed), self.keys[0])


def new_key(kid: str) -> ECKey:
    """A key of the kind that most issuers have."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


def signed(
    claims: dict[str, Any], key: SigningKey, *, alg: str = "ES256", **header: object
) -> str:
    """A token as nobody checks it before it is sent."""
    whole = {"alg": alg, "kid": key.kid, "typ": "at+jwt", **header}
    return jwt.encode(
        {name: value for name, value in whole.items() if value is not None},
        claims,
        key,
        algorithms=[alg],
    )


@asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    """An issuer on a free port, with one key called `first`."""
    issuer = Issuer(keys=[new_key("first")])

    async def discover(_: web.Request) -> web.Response:
        issuer.asked_count += 1
        if issuer.away:
            return web.Response(status=503)
        document = {"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys", **issuer.discovery}
        return web.json_response(document)

    async def publish(_: web.Request) -> web.Response:
        return web.json_response(KeySet(list(issuer.keys)).as_dict(private=False))

    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", discover)
    app.router.add_get("/keys", publish)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield issuer
    finally:
        await runner.cleanup()
