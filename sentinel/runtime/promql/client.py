"""A client of Prometheus' query API, as Prometheus, Thanos, Mimir and VictoriaMetrics speak it.

It asks once and says how that ended in terms of what can be done about it: ask again later, ask for less, mend the query. Whether
to do so is its caller's to decide.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import urlencode

from sentinel.core.normalise.promql.answer import Answer, decode_answer, error_of
from sentinel.errors import (
    InputTooLargeError,
    QueryRefusedError,
    RefusedError,
    TooMuchAskedError,
    TooSlowError,
    UnreachableError,
)
from sentinel.runtime.echo import secrets_of, without_secrets
from sentinel.runtime.http.client import authorization_of, place_of, retry_after_of
from sentinel.runtime.http.fetch import Fetched, Fetcher
from sentinel.runtime.promql.config import QueryServerConfig

ANSWER_BYTES_MAX = 48 * 2**20
_INLINE_BYTES_MAX = 256 * 1024
_URL_CHARS_MAX = 2000
_SAID_CHARS_MAX = 200
_TOLD = frozenset({400, 413, 422, 429, 500, 502, 503, 504})
_NOT_ITS_FAULT = ("timeout", "canceled", "unavailable")
_TOO_MUCH = re.compile(
    r"too many (?:samples|points|series|chunks|datapoints)|maximum resolution|max(?:imum)? (?:number of|samples|series|points)"
    r"|maxsamples|max-samples|exceed\w* .{0,40}limit|limit .{0,40}exceed|over the limit|too large|out of memory|memory limit",
    re.IGNORECASE | re.DOTALL,
)


class PromqlClient:
    """One server's client; its connections are made on first use and again after `close`."""

    def __init__(self, server: QueryServerConfig) -> None:
        """Make it; ConfigError when a file of its TLS cannot be used."""
        self._server = server
        self._base = server.url.rstrip("/")
        self._place = place_of(server.url)
        self._fetcher = Fetcher(server.client, server.url, body_bytes_max=ANSWER_BYTES_MAX)
        self._headers = {"X-Scope-OrgID": server.tenant} if server.tenant else {}
        # The server gives up a little earlier than we do, so that its reason is heard.
        self._timeout_s = max(1.0, server.client.timeout - 1.0)
        self._decoding = asyncio.Lock()

    async def instant(self, query: str, *, at_ns: int) -> Answer:
        """The query's value at an instant.

        Raises:
            UnreachableError: no answer, or the wish to be asked later, which it carries; TooSlowError: none in time.
            QueryRefusedError: the query is wrong.
            TooMuchAskedError: over a limit of the server, or a larger answer than is read.
            RefusedError: anything else that asking again does not mend, such as missing permission.
            MalformedInputError, UnsupportedInputError: the answer is no such answer.
        """
        return await self._ask("query", {"query": query, "time": _seconds(at_ns)})

    async def over_range(self, query: str, *, first_ns: int, last_ns: int, step_ns: int) -> Answer:
        """The query's values at `first_ns`, a step later, and so on until `last_ns`, both included; raises as `instant`."""
        return await self._ask(
            "query_range",
            {
                "query": query,
                "start": _seconds(first_ns),
                "end": _seconds(last_ns),
                "step": _seconds(step_ns),
            },
        )

    async def close(self) -> None:
        """Release connections; idempotent."""
        await self._fetcher.close()

    async def _ask(self, what: str, given: Mapping[str, str]) -> Answer:
        url = f"{self._base}/api/v1/{what}"
        asked = {**given, "timeout": f"{self._timeout_s:g}s"}
        query = urlencode(asked)
        form = None
        # Some proxies let nothing but GET through, and some servers take no long URL.
        if len(url) + len(query) < _URL_CHARS_MAX:
            url = f"{url}?{query}"
        else:
            form = asked
        try:
            fetched = await self._fetcher.get(url, self._headers, also=_TOLD, form=form)
        except InputTooLargeError as error:
            msg = f"the answer is larger than {ANSWER_BYTES_MAX >> 20} MiB"
            raise TooMuchAskedError(msg, status=200, endpoint=self._place) from error
        except RefusedError as error:
            raise self._refused(error) from None
        if fetched.status not in _TOLD:
            return await self._decoded(fetched.body)
        raise self._error(fetched)

    async def _decoded(self, body: bytes) -> Answer:
        if len(body) <= _INLINE_BYTES_MAX:
            return decode_answer(body)
        # One at a time: together they would take that much more memory and be no faster.
        async with self._decoding:
            return await asyncio.to_thread(decode_answer, body)

    def _error(self, fetched: Fetched) -> Exception:
        kind, text = error_of(fetched.body)
        said = self._said(text) or f"status {fetched.status}"
        status, place = fetched.status, self._place
        if status == 413 or _TOO_MUCH.search(text):
            return TooMuchAskedError(said, status=status, endpoint=place)
        if status == 400 or (status == 422 and kind not in _NOT_ITS_FAULT):
            return QueryRefusedError(said, status=status, endpoint=place)
        if kind == "timeout" or status == 504:
            # Prometheus says 503, others 422 and 504.
            return TooSlowError(f"{said} (status {status} from {place})")
        wait_s = retry_after_of({name.title(): value for name, value in fetched.headers.items()})
        msg = f"{said} (status {status} from {place})"
        return UnreachableError(msg, retry_after_s=wait_s or 0.0)

    def _refused(self, error: RefusedError) -> RefusedError:
        advice = {
            401: "credentials are missing or wrong: bearer_token_file, basic_username and basic_password_file",
            403: "not permitted for these credentials",
            404: "there is no query API: is the prefix of the url right?",
        }.get(error.status)
        if advice is None:
            return error
        return RefusedError(advice, status=error.status, endpoint=error.endpoint)

    def _said(self, text: str) -> str:
        """What the server says, in one line, without what we told it in confidence and nothing a terminal would obey."""
        headers = {**self._headers, **authorization_of(self._server.client)}
        secrets = secrets_of(self._server.url, headers, ())
        visible = "".join(
            one if one.isprintable() else " " for one in without_secrets(text, secrets)
        )
        return " ".join(visible.split())[:_SAID_CHARS_MAX]


def _seconds(time_ns: int) -> str:
    """Seconds, exactly as decimal text.

    >>> _seconds(1_500_000_000), _seconds(60_000_000_000)
    ('1.5', '60')
    """
    whole, rest = divmod(time_ns, 1_000_000_000)
    return str(whole) if not rest else f"{whole}.{rest:09d}".rstrip("0")
