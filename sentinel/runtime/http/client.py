"""Talking to another system: bounded in time and bytes, no redirects, no proxy from the environment.

What senders share, and what fetching builds on. Every way an attempt can end is one `Reply`; nothing here decides whether to try again.
"""

from __future__ import annotations

import asyncio
import functools
import io
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp

from sentinel.runtime.distrust import distrust_of
from sentinel.runtime.echo import secrets_of, without_secrets
from sentinel.runtime.settings import Duration, FilePath, Secret, setting
from sentinel.runtime.tls import load_authorities, load_pair

REPLY_BYTES_MAX = 64 * 1024
_RETRY_AFTER_MAX_S = 300.0
_CONNECTIONS_MAX = 4
_WRITTEN_WHOLE_MAX = 2**20
_DETAIL_CHARACTERS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """How to prove who we are, and whom to trust."""

    bearer_token: Secret | None = setting(None, help="Sent as `Authorization: Bearer`.")
    basic_username: str = setting("", help="User name for basic authentication.")
    basic_password: Secret | None = setting(None, help="Its password.")
    ca_file: FilePath = setting(
        FilePath(""), help="PEM file of the authority to trust; empty for the system's own."
    )
    cert_file: FilePath = setting(
        FilePath(""), help="PEM file of our own certificate, for mutual TLS."
    )
    key_file: FilePath = setting(FilePath(""), help="PEM file of its key.")
    connect_timeout: Duration = setting(
        Duration(5.0), help="Longest time to connect and to shake hands."
    )
    timeout: Duration = setting(
        Duration(10.0), help="Longest time of one attempt from start to the end of the reply."
    )

    def __post_init__(self) -> None:
        if not 0 < self.connect_timeout <= self.timeout <= 60.0:
            msg = "connect_timeout must be above 0 and not above timeout, which is at most 60s"
            raise ValueError(msg)
        if self.bearer_token is not None and self.basic_username:
            msg = "give a bearer_token or a basic_username, not both"
            raise ValueError(msg)
        if ":" in self.basic_username:
            msg = "basic_username must not have a colon"
            raise ValueError(msg)
        if bool(self.basic_username) != (self.basic_password is not None):
            msg = "basic_username and basic_password belong together"
            raise ValueError(msg)
        if bool(self.cert_file) != bool(self.key_file):
            msg = "cert_file and key_file belong together"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How one attempt ended.

    Attributes:
        status: of the answer, or 0 when there was none.
        text: what the other side said, bounded, for programs; or what went wrong, without credentials.
        retry_after_s: its wish, or None.
        secrets: what was sent that must not be shown where the other side says it back.
        headers: of the answer, names in lower case; of a name that came twice the last.
    """

    status: int
    text: str = ""
    retry_after_s: float | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether it was taken: 2xx and nothing else. A redirect is a failure; following it loses the body."""
        return 200 <= self.status < 300

    @property
    def detail(self) -> str:
        """What went wrong, in one short line for a person.

        It is the other side's text, and is shown in health, logs and terminals: nothing in it may move a cursor, and
        nothing in it may be a secret of ours that the other side says back.
        """
        text = without_secrets(self.text, self.secrets)
        visible = "".join(one if one.isprintable() else " " for one in text)
        text = " ".join(visible.split())[:_DETAIL_CHARACTERS_MAX]
        return f"status {self.status}: {text}" if self.status else text


def checked_url(url: str) -> str:
    """The URL, if a page may be posted to it.

    Raises:
        ValueError: it is not an absolute http(s) URL, or carries credentials.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        msg = f"not a URL: {error}"
        raise ValueError(msg) from None
    if parts.username is not None or parts.password is not None:
        msg = "a URL must not carry credentials; use basic_username and basic_password_file"
        raise ValueError(msg)
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        msg = "a URL must be absolute and start with http:// or https://"
        raise ValueError(msg)
    if parts.fragment:
        msg = "a URL must not have a fragment"
        raise ValueError(msg)
    return url


def place_of(url: str) -> str:
    """Host and port, for names and messages; never a path, which may be a secret of its own.

    >>> place_of("https://hooks.example.com/T0/B0/secret")
    'hooks.example.com:443'
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def instant(at_ns: int) -> str:
    """RFC 3339 in UTC, to the microsecond.

    >>> instant(1_500_000_000)
    '1970-01-01T00:00:01.500000Z'
    """
    whole = datetime.fromtimestamp(at_ns // 1_000_000_000, tz=UTC)
    return whole.strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ns % 1_000_000_000 // 1000:06d}Z"


class HttpClient:
    """One destination's client; its session is made on first use and again after `close`.

    Its TLS files are read when it is made: found missing at the first page, they would leave that waiting for ever.
    """

    def __init__(self, config: ClientConfig, url: str) -> None:
        """Make it for a place like `url`; ConfigError when a file of its TLS cannot be used."""
        self._config = config
        self._tls = client_context(config, url)
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> Reply:
        """Post once; never raises for a failed attempt, and ends within the time limit."""
        return await self._ask("POST", url, body, headers)

    async def get(self, url: str) -> Reply:
        """Get once, as `post` does."""
        return await self._ask("GET", url, None, {})

    async def _ask(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str]
    ) -> Reply:
        try:
            session = self._ready_session()
            secrets = secrets_of(url, {**session.headers, **headers}, self._credentials())
            # The library warns of larger bodies that are handed over as they are: they are written in one piece.
            is_large = body is not None and len(body) > _WRITTEN_WHOLE_MAX
            data = io.BytesIO(body) if is_large and body is not None else body
            async with asyncio.timeout(self._config.timeout):
                async with session.request(
                    method, url, data=data, headers=headers, allow_redirects=False
                ) as response:
                    text = await _bounded_text(response)
                    return Reply(
                        status=response.status,
                        text=text,
                        retry_after_s=retry_after_of(response.headers),
                        secrets=secrets,
                        headers={name.lower(): value for name, value in response.headers.items()},
                    )
        except TimeoutError:
            return Reply(status=0, text=f"no answer from {place_of(url)} in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # The class and the place say enough; an error's own text may quote the URL.
            what = distrust_of(error) or type(error).__name__
            return Reply(status=0, text=f"{what} at {place_of(url)}")

    async def close(self) -> None:
        """Release connections; idempotent."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _credentials(self) -> list[str]:
        """What proves who we are, as it is configured; basic credentials are sent encoded."""
        known = (self._config.bearer_token, self._config.basic_password)
        return [one.reveal() for one in known if one is not None]

    def _ready_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = new_session(self._config, {}, tls=self._tls)
        return self._session


def new_session(
    config: ClientConfig, headers: Mapping[str, str], *, tls: ssl.SSLContext | bool
) -> aiohttp.ClientSession:
    """A session for one system, with what proves who we are: few connections, no proxy, no cookies, nothing inflated unasked."""
    return aiohttp.ClientSession(
        # A name is looked up with each new connection: that it has moved may be why the last one ended.
        connector=aiohttp.TCPConnector(ssl=tls, limit=_CONNECTIONS_MAX, use_dns_cache=False),
        timeout=aiohttp.ClientTimeout(total=config.timeout, sock_connect=config.connect_timeout),
        headers={"User-Agent": "sentinel", **headers, **authorization_of(config)},
        trust_env=False,
        # What is inflated is bounded by who reads it, or it is only quoted.
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def authorization_of(config: ClientConfig) -> dict[str, str]:
    """The header that proves who we are, or none."""
    if config.bearer_token is not None:
        return {"Authorization": f"Bearer {config.bearer_token.reveal()}"}
    if config.basic_password is not None:
        pair = f"{config.basic_username}:{config.basic_password.reveal()}"
        return {"Authorization": f"Basic {b64encode(pair.encode()).decode('ascii')}"}
    return {}


def client_context(config: ClientConfig, *urls: str) -> ssl.SSLContext | bool:
    """How to shake hands at these URLs, from the files as they are now; True when nobody will, because none is https.

    Raises:
        ConfigError: a file cannot be used; its `path` is the name of the setting. Files are looked at in any case.
    """
    if not config.ca_file and not config.cert_file:
        is_secure = any(urlsplit(url).scheme == "https" for url in urls)
        return _system_context() if is_secure else True
    if config.ca_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load_authorities(context, "ca_file", config.ca_file)
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.cert_file:
        load_pair(context, config.cert_file, config.key_file)
    return context


@functools.cache
def _system_context() -> ssl.SSLContext:
    """For those whom the system trusts; one for all, because its authorities take 2 MB.

    aiohttp has one such, which in a sidecar has no authorities: see `lean_imports`.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


async def _bounded_text(response: aiohttp.ClientResponse) -> str:
    read = bytearray()
    async for chunk in response.content.iter_chunked(8192):
        read += chunk
        if len(read) >= REPLY_BYTES_MAX:
            # The rest is not read, so the connection cannot be used again.
            response.close()
            break
    return bytes(read[:REPLY_BYTES_MAX]).decode("utf-8", "replace")


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """How long the other side asks to wait, in seconds or by a date, at most five minutes; None when it does not."""
    wish = headers.get("Retry-After", "").strip()
    if wish.isascii() and wish.isdigit():
        return min(float(wish[:9]), _RETRY_AFTER_MAX_S)
    try:
        # A date is meant by the other side's clock, which it tells in the same reply.
        wait = parsedate_to_datetime(wish) - parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError):
        return None
    return min(max(0.0, wait.total_seconds()), _RETRY_AFTER_MAX_S)
