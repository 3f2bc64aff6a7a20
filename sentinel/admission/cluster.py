"""The API server, asked as a pod asks it: by the service account's token, over TLS with the cluster's authority.

Token and authority are rotated under a running process, so both are read again: the token for each question, the
authority for each session. Nothing is followed, nothing is taken from a proxy, and every wait and every answer has a bound.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from sentinel.admission.config import ClusterConfig
from sentinel.core.redact import redact
from sentinel.errors import (
    ConfigError,
    ConfigProblem,
    InputTooLargeError,
    MalformedInputError,
    RefusedError,
    UnreachableError,
    UntrustedError,
)
from sentinel.ports import Clock
from sentinel.runtime.distrust import distrust_of
from sentinel.runtime.http.client import ClientConfig, client_context, new_session, place_of
from sentinel.runtime.settings import Duration, FilePath

ANSWER_BYTES_MAX = 32 * 2**20
JSON_PATCH = "application/json-patch+json"
_TOKEN_BYTES_MAX = 64 * 1024
_REASON_CHARS_MAX = 200
_CONNECT_TIMEOUT_S = 5.0


class Cluster:
    """Asks one API server.

    Args:
        config: how.
        environment: where a pod is told of it (KUBERNETES_SERVICE_HOST and its like).
        answer_bytes_max: the largest answer that is read.
        clock: by which the API server's own time is told from its last answer; without one it is not.
    """

    def __init__(
        self,
        config: ClusterConfig,
        environment: Mapping[str, str],
        *,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
        clock: Clock | None = None,
    ) -> None:
        self._config = config
        self._url = _url_of(config, environment)
        self._answer_bytes_max = answer_bytes_max
        self._namespace = environment.get("POD_NAMESPACE", "")
        self._clock = clock
        self._told: tuple[float, float] | None = None

    def namespace(self) -> str:
        """The injector's own namespace; "" where nothing says it."""
        try:
            text = Path(self._config.namespace_file).read_text("utf-8")
        except (OSError, ValueError):
            return self._namespace
        return text.strip()[:63] or self._namespace

    @asynccontextmanager
    async def session(self) -> AsyncIterator[ClusterSession]:
        """For a few questions that belong together.

        Raises:
            UnreachableError: it is not known where the API server is, or the file of its authority cannot be used.
        """
        if not self._url:
            msg = "no API server is known: not in a pod, and cluster.url is not given"
            raise UnreachableError(msg)
        is_secure = self._url.startswith("https:")
        timeout = self._config.timeout
        asking = ClientConfig(
            ca_file=self._config.ca_file if is_secure else FilePath(""),
            connect_timeout=Duration(min(_CONNECT_TIMEOUT_S, timeout)),
            timeout=timeout,
        )
        try:
            tls = client_context(asking, self._url)
        except ConfigError as error:
            raise UnreachableError(error.problems[0].message) from None
        async with new_session(asking, {}, tls=tls) as session:
            yield ClusterSession(self, session, url=self._url)

    def authorization(self) -> dict[str, str]:
        """The header with the token as it is now."""
        try:
            with Path(self._config.token_file).open("rb") as file:
                token = file.read(_TOKEN_BYTES_MAX).decode("ascii").strip()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is not ASCII"
            msg = f"the service account's token cannot be read: {why}"
            raise UnreachableError(msg) from None
        if not token or not token.isprintable() or " " in token:
            msg = "the service account's token is empty or is none"
            raise UnreachableError(msg)
        return {"Authorization": f"Bearer {token}"}

    def take_time(self, date: str | None) -> None:
        """Remember what an answer says of the time; what is no date says nothing."""
        if date is None or self._clock is None:
            return
        try:
            told_s = parsedate_to_datetime(date).timestamp()
        except (ValueError, OverflowError):
            return
        # With the monotonic clock beside it: the other one may be set meanwhile.
        self._told = (told_s, self._clock.monotonic_s())

    def now_s(self) -> float | None:
        """The time (Unix) by the API server's clock, to a second or two; None before its first answer."""
        if self._told is None or self._clock is None:
            return None
        told_s, at_s = self._told
        return told_s + self._clock.monotonic_s() - at_s

    @property
    def timeout_s(self) -> float:
        """Longest time of one question."""
        return self._config.timeout

    @property
    def answer_bytes_max(self) -> int:
        """The largest answer that is read."""
        return self._answer_bytes_max


class ClusterSession:
    """Questions over the connections of one session."""

    def __init__(self, cluster: Cluster, session: aiohttp.ClientSession, *, url: str) -> None:
        self._cluster = cluster
        self._session = session
        self._url = url

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """An object, or a list of them; raises as `ask` does."""
        return decoded(await self.ask("GET", path, query=query))

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        content: object = None,
        content_type: str = "application/json",
    ) -> bytes:
        """One question; the answer's body.

        Raises:
            UnreachableError: no answer, a broken one, none in time, or a status that may pass (429, 5xx).
            UntrustedError: its certificate is not believed.
            RefusedError: any other status but 2xx; its text is the API server's reason.
            InputTooLargeError: the answer is over the bound.
        """
        # The service account's other files may be away for a moment while they are swapped; read beside the loop.
        headers = await asyncio.to_thread(self._cluster.authorization)
        headers["Accept"] = "application/json"
        # Inflating what is large would cost more here than reading it.
        headers["Accept-Encoding"] = "identity"
        data = None
        if content is not None:
            data = orjson.dumps(content)
            headers["Content-Type"] = content_type
        place = place_of(self._url)
        try:
            async with asyncio.timeout(self._cluster.timeout_s):
                async with self._session.request(
                    method,
                    f"{self._url}{path}",
                    params=query,
                    data=data,
                    headers=headers,
                    allow_redirects=False,
                ) as response:
                    self._cluster.take_time(response.headers.get("Date"))
                    body = await self._bounded(response)
                    if 200 <= response.status < 300:
                        return body
                    raise _refusal(response, body, place)
        except TimeoutError:
            msg = f"no whole answer from {place} within {self._cluster.timeout_s:g} s"
            raise UnreachableError(msg) from None
        except (aiohttp.ClientError, OSError) as error:
            if distrust := distrust_of(error):
                msg = f"{distrust} at {place}"
                raise UntrustedError(msg) from None
            # The class and the place say enough; an error's own text may quote more.
            msg = f"{type(error).__name__} at {place}"
            raise UnreachableError(msg) from None

    async def _bounded(self, response: aiohttp.ClientResponse) -> bytes:
        read = bytearray()
        limit = self._cluster.answer_bytes_max
        async for chunk in response.content.iter_chunked(2**16):
            read += chunk
            if len(read) > limit:
                response.close()
                msg = "the API server's answer is too large"
                raise InputTooLargeError(msg, size_bytes=len(read), limit_bytes=limit)
        return bytes(read)


def decoded(body: bytes) -> dict[str, Any]:
    """An answer's object; MalformedInputError when it is none."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        msg = "the API server's answer is not a JSON object"
        raise MalformedInputError(msg)
    return value


def status_of(body: bytes) -> dict[str, Any]:
    """The Status that a refusal carries, or {}."""
    try:
        return decoded(body)
    except MalformedInputError:
        return {}


def _refusal(
    response: aiohttp.ClientResponse, body: bytes, place: str
) -> RefusedError | UnreachableError:
    told = status_of(body).get("message")
    reason = str(told) if isinstance(told, str) else response.reason or "refused"
    reason = "".join(one if one.isprintable() else " " for one in redact(reason))
    reason = reason[:_REASON_CHARS_MAX]
    if response.status == 429 or response.status >= 500:
        msg = f"{place} cannot answer now: {reason} (status {response.status})"
        return UnreachableError(msg)
    return RefusedError(reason, status=response.status, endpoint=place)


def _url_of(config: ClusterConfig, environment: Mapping[str, str]) -> str:
    """Where the API server is, without a slash at the end; "" when nothing says it.

    Raises:
        ConfigError: a URL that is none, or that would carry the token in the open.
    """
    if not config.url:
        host = environment.get("KUBERNETES_SERVICE_HOST", "")
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            return ""
        return f"https://{f'[{host}]' if ':' in host else host}:{port}"
    parts = urlsplit(config.url)
    plain_is_safe = parts.scheme == "http" and _is_loopback(parts.hostname or "")
    if not parts.hostname or not (parts.scheme == "https" or plain_is_safe) or parts.query:
        message = "must be an https:// URL; http:// is for loopback, for the token goes with it"
        raise ConfigError([ConfigProblem(path="cluster.url", message=message)])
    return config.url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
