"""HTTP of the authorization server: `/authorize`, `/token`, `/jwks`, and where to find them.

It listens on loopback, keeps everything in memory and forgets it at its end. It gives access tokens, no ID tokens.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import orjson
from aiohttp import web

from sentinel.reference.ledger.authorize.accounts import SCOPES, Accounts, Client, same
from sentinel.reference.ledger.authorize.granting import (
    GRANTS,
    METHODS,
    Answer,
    Asked,
    Granting,
    claimed_client,
)
from sentinel.reference.ledger.authorize.memory import Failures, Kept
from sentinel.reference.ledger.authorize.pages import consent_page, headers, problem_page
from sentinel.reference.ledger.authorize.signing import SigningKeys
from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.telemetry import Telemetry

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_COOKIE: Final = "consent"
_HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizeConfig:
    """Times and bounds; it listens on loopback alone."""

    port: int = 0
    audience: str = "ledger"
    token_s: int = 600
    code_s: float = 30.0
    consent_s: float = 300.0
    rotate_s: float = 3600.0
    codes_count_max: int = 1000
    consents_count_max: int = 1000
    body_bytes_max: int = 8 * 1024
    body_timeout_s: float = 5.0
    inflight_count_max: int = 64
    stop_timeout_s: float = 2.0


@dataclass(slots=True)
class _Consent:
    """A request that waits for a person, in the one browser that has its cookie."""

    given: list[tuple[str, str]]
    client: Client
    scope: str
    redirect_uri: str
    browser: str = field(repr=False)


class AuthorizeServer:
    """`start` returns the issuer's URL, `stop` forgets everything."""

    def __init__(
        self,
        config: AuthorizeConfig,
        accounts: Accounts,
        *,
        telemetry: Telemetry,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._accounts = accounts
        self._telemetry = telemetry
        self._monotonic_s = monotonic_s
        self._keys = SigningKeys(
            rotate_s=config.rotate_s, token_s=config.token_s, now_s=monotonic_s()
        )
        self._failures = Failures()
        self._consents: Kept[_Consent] = Kept(
            lasts_s=config.consent_s,
            count_max=config.consents_count_max,
            on_dropped=lambda: telemetry.access.dropped("consent"),
        )
        self._inflight_count = 0
        self._runner: web.AppRunner | None = None
        self._granting: Granting | None = None
        self.url = ""

    async def start(self) -> str:
        """Listen, and return the issuer's URL.

        Raises:
            UnavailableError: the port is taken.
        """
        app = web.Application(
            middlewares=[self._observe], client_max_size=self._config.body_bytes_max
        )
        app.router.add_get("/authorize", self._ask)
        app.router.add_post("/authorize", self._decide)
        app.router.add_post("/token", self._token)
        app.router.add_get("/jwks", self._jwks)
        for path in ("openid-configuration", "oauth-authorization-server"):
            app.router.add_get(f"/.well-known/{path}", self._discover)
        app.router.add_get("/healthz", self._health)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=self._config.stop_timeout_s
        )
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, _HOST, self._config.port).start()
        except OSError as error:
            message = f"cannot listen on {_HOST}:{self._config.port}: {error.strerror}"
            raise UnavailableError(message) from error
        self.url = f"http://{_HOST}:{self._runner.addresses[0][1]}"
        self._granting = Granting(
            self._accounts,
            keys=self._keys,
            issuer=self.url,
            audience=self._config.audience,
            token_s=self._config.token_s,
            code_s=self._config.code_s,
            codes_count_max=self._config.codes_count_max,
            on_code_dropped=lambda: self._telemetry.access.dropped("code"),
            monotonic_s=self._monotonic_s,
        )
        return self.url

    async def stop(self) -> None:
        """Stop listening; idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def rotate(self) -> None:
        """Sign with another key from now on."""
        self._keys.rotate(self._monotonic_s())

    @web.middleware
    async def _observe(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else ""
        with self._telemetry.request(
            method=request.method, route=route, path=request.path, headers=request.headers
        ) as span:
            self._inflight_count += 1
            try:
                response = await self._answer(request, handler)
            finally:
                self._inflight_count -= 1
            span.status = response.status
            return response

    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if self._inflight_count > self._config.inflight_count_max:
            return self._refused(503, "temporarily_unavailable", "Try again.", wait_s=1)
        if f"http://{request.host}" != self.url:
            # A name of somebody else's that leads here (DNS rebinding) is not this server.
            return self._refused(421, "invalid_request", "This is another server.")
        try:
            return await asyncio.wait_for(handler(request), timeout=self._config.body_timeout_s)
        except TimeoutError:
            return self._refused(408, "invalid_request", "The body did not arrive in time.")
        except web.HTTPException as error:
            return self._refused(error.status, "invalid_request", error.reason)
        except (ValueError, LookupError):
            return self._refused(400, "invalid_request", "The request cannot be read.")

    async def _ask(self, request: web.Request) -> web.Response:
        """Show the person what the client wants, if it may want it."""
        given = list(request.query.items())
        asked = Asked(request.method, self.url + request.path, given, request.headers)
        client = self._granted.checked(asked)
        if isinstance(client, Answer):
            return self._turned_away(client)
        redirect_uri = str(asked.payload.redirect_uri)
        consent, browser = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        waiting = _Consent(given, client, str(asked.scope), redirect_uri, browser)
        self._consents.keep(consent, waiting, self._monotonic_s())
        response = _consent(consent, waiting)
        response.set_cookie(
            _COOKIE,
            browser,
            max_age=int(self._config.consent_s),
            path="/authorize",
            httponly=True,
            samesite="Strict",
        )
        return response

    async def _decide(self, request: web.Request) -> web.Response:
        """Send the browser back with a code, or with the person's refusal."""
        form = dict(await _form(request))
        name, now_s = form.get("consent", ""), self._monotonic_s()
        waiting = self._consents.see(name, now_s)
        foreign = request.headers.get("Origin", self.url) not in (self.url, "null")
        if (
            waiting is None
            or foreign
            or not same(waiting.browser, request.cookies.get(_COOKIE, ""))
        ):
            self._telemetry.access.grant_refused("unknown_consent")
            return _page(400, problem_page("It was begun too long ago, or in another browser."))
        user = None
        if form.get("decision") == "allow":
            who = f"user {form.get('name', '')[:63]}"
            wait_s = self._failures.wait_s(who, self._monotonic_s())
            if wait_s > 0:
                self._telemetry.access.grant_refused("too_many_failures")
                return _consent(name, waiting, "Too many tries: wait a minute.", wait_s=wait_s)
            user = self._accounts.user_of(form.get("name", ""), form.get("password", ""))
            if user is None:
                self._failures.add(who, self._monotonic_s())
                self._telemetry.access.grant_refused("wrong_password")
                return _consent(name, waiting, "Name or password is wrong.")
        self._consents.take(name, now_s)
        asked = Asked("GET", f"{self.url}/authorize", waiting.given, {})
        answer = self._granted.decided(asked, user)
        if user is None:
            self._telemetry.access.grant_refused("access_denied")
        # 303: what follows is a GET, and the password stays here (RFC 9700, 4.12).
        return web.Response(status=303, headers={**headers(), "Location": answer.location})

    async def _token(self, request: web.Request) -> web.Response:
        """Give a token for a code, or to a client for itself."""
        form = await _form(request)
        asked = Asked("POST", self.url + request.path, form, request.headers)
        who = f"client {claimed_client(asked)[:63]}"
        wait_s = self._failures.wait_s(who, self._monotonic_s())
        if wait_s > 0:
            return self._refused(429, "too_many_failures", "Wait.", wait_s=wait_s)
        names = [name for name, _ in form]
        if len(set(names)) < len(names):
            return self._refused(400, "invalid_request", "A parameter was given twice.")
        answer = self._granted.token(asked)
        if answer.error:
            self._telemetry.access.grant_refused(answer.error)
            if answer.error in ("invalid_client", "invalid_grant"):
                self._failures.add(who, self._monotonic_s())
        else:
            self._telemetry.access.token_issued(dict(form)["grant_type"])
        told = {**answer.headers, "Cache-Control": "no-store"}
        told.pop("Content-Type", None)
        return web.Response(
            status=answer.status,
            body=orjson.dumps(answer.body),
            headers=told,
            content_type="application/json",
        )

    async def _jwks(self, _: web.Request) -> web.Response:
        return web.json_response(self._keys.published(self._monotonic_s()))

    async def _discover(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/jwks",
                "scopes_supported": list(SCOPES),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": [grant.value for grant in GRANTS],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": list(METHODS),
                "authorization_response_iss_parameter_supported": True,
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
            }
        )

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    @property
    def _granted(self) -> Granting:
        assert self._granting is not None
        return self._granting

    def _turned_away(self, answer: Answer) -> web.Response:
        self._telemetry.access.grant_refused(answer.error or "invalid_request")
        if answer.location:
            return web.Response(status=302, headers={**headers(), "Location": answer.location})
        what = str(answer.body.get("error_description") or "The request is wrong.")
        return _page(400, problem_page(what))

    def _refused(self, status: int, error: str, what: str, *, wait_s: float = 0.0) -> web.Response:
        self._telemetry.access.grant_refused(error)
        return web.json_response(
            {"error": error, "error_description": what},
            status=status,
            headers={"Cache-Control": "no-store", **_retry(wait_s)},
        )


async def _form(request: web.Request) -> list[tuple[str, str]]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType(reason="A form is to be sent.")
    return [
        (name, value) for name, value in (await request.post()).items() if isinstance(value, str)
    ]


def _consent(
    name: str, waiting: _Consent, problem: str = "", *, wait_s: float = 0.0
) -> web.Response:
    page = consent_page(
        client=waiting.client.name or waiting.client.id,
        scope=waiting.scope,
        redirect_uri=waiting.redirect_uri,
        consent=name,
        problem=problem,
    )
    status = 429 if wait_s > 0 else 403 if problem else 200
    return _page(status, page, redirect_uri=waiting.redirect_uri, wait_s=wait_s)


def _page(status: int, page: str, *, redirect_uri: str = "", wait_s: float = 0.0) -> web.Response:
    told = {**headers(redirect_uri), **_retry(wait_s)}
    return web.Response(status=status, text=page, content_type="text/html", headers=told)


def _retry(wait_s: float) -> dict[str, str]:
    return {"Retry-After": str(math.ceil(wait_s))} if wait_s > 0 else {}
