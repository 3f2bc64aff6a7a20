"""Pages to one Alertmanager instance through its API v2.

Alertmanager knows an alert by its labels, keeps it in memory only, and resolves it by itself when `endsAt` has
passed. So every page of an incident carries the same labels, firing alerts are sent again and again with an
`endsAt` in the future, and every instance of a cluster is a sender of its own.

    answer                          means for the batch
    2xx                             delivered
    400, 413, 422                   something in it is bad: cut in halves until the bad alert stands alone
    408, 425, 429, 5xx, no answer   try again, not before Retry-After
    3xx, 401, 403, 404, other       the address or the access is wrong, not the page: try again slowly
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from sentinel.core.model import Page, PageStatus
from sentinel.ports import SendOutcome, SendResult
from sentinel.runtime.http.client import ClientConfig, HttpClient, checked_url, instant, place_of
from sentinel.runtime.settings import Duration, setting

_BAD_CONTENT = frozenset({400, 413, 422})
_TRY_AGAIN = frozenset({408, 425, 429})
_SLOWLY_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerConfig:
    """Every instance of one Alertmanager cluster; never a load balancer in front of it."""

    urls: tuple[str, ...] = setting(
        (),
        help="Base URL of every instance, such as `http://127.0.0.1:9093`; each gets every page.",
    )
    resend: Duration = setting(
        Duration(60.0), help="A firing alert is sent again this often, so that it does not expire."
    )
    firing_lifetime: Duration = setting(
        Duration(300.0),
        help="How long an instance keeps an alert firing without hearing of it again.",
    )
    batch_max: int = setting(64, help="Alerts in one request.")
    heartbeat: bool = setting(
        default=True,
        help="Whether an always firing alert `SentinelHeartbeat` is sent, whose absence a watcher can page for.",
    )
    client: ClientConfig = setting(ClientConfig(), help="Credentials and TLS.")

    def __post_init__(self) -> None:
        for url in self.urls:
            checked_url(url)
            if "?" in url:
                msg = "the URL of an Alertmanager must not have a query"
                raise ValueError(msg)
        if len(set(map(place_of, self.urls))) != len(self.urls):
            msg = "the same Alertmanager is listed twice"
            raise ValueError(msg)
        if self.resend < 1.0 or self.firing_lifetime < 4 * self.resend:
            msg = "firing_lifetime must be at least four times resend, and resend at least 1s"
            raise ValueError(msg)
        if not 1 <= self.batch_max <= 1000:
            msg = "batch_max must be between 1 and 1000"
            raise ValueError(msg)


class AlertmanagerSender:
    """One instance."""

    def __init__(self, config: AlertmanagerConfig, url: str) -> None:
        self._config = config
        self._url = url.rstrip("/") + "/api/v2/alerts"
        self._name = f"alertmanager:{place_of(url)}"
        self._client = HttpClient(config.client, url)

    @property
    def name(self) -> str:
        """Unique name of this destination, without credentials."""
        return self._name

    @property
    def wants_resend(self) -> bool:
        """Alertmanager forgets what it is not told again."""
        return True

    @property
    def resend_s(self) -> float:
        """How often a firing page is sent again."""
        return self._config.resend

    @property
    def heartbeat(self) -> bool:
        """Whether this destination gets the heartbeat."""
        return self._config.heartbeat

    async def send(self, pages: Sequence[Page], *, now_ns: int) -> list[SendOutcome]:
        """Try once; one outcome a page, in order."""
        outcomes: list[SendOutcome] = []
        for first in range(0, len(pages), self._config.batch_max):
            batch = pages[first : first + self._config.batch_max]
            if outcomes and outcomes[-1].result is SendResult.RETRY:
                # The instance is gone or busy: the rest would only wait for the same time limit again.
                outcomes.extend(_same(batch, outcomes[-1]))
            else:
                outcomes.extend(await self._post(batch, now_ns=now_ns))
        return outcomes

    async def has_forgotten(self, page: Page) -> bool:
        """Whether the instance says for certain that it does not know the page's alert; a restart forgets all."""
        filters = urlencode(
            [("filter", f"{name}={_quoted(value)}") for name, value in sorted(page.labels.items())]
        )
        reply = await self._client.get(f"{self._url}?{filters}")
        if reply.status != 200:
            return False
        try:
            known = orjson.loads(reply.text)
            return not any(alert["labels"] == page.labels for alert in known)
        except (orjson.JSONDecodeError, TypeError, KeyError):
            return False

    async def close(self) -> None:
        """Release connections; idempotent."""
        await self._client.close()

    async def _post(self, batch: Sequence[Page], *, now_ns: int) -> list[SendOutcome]:
        body = orjson.dumps([self._alert(page, now_ns=now_ns) for page in batch])
        reply = await self._client.post(self._url, body, {"Content-Type": "application/json"})
        if reply.ok:
            return [
                SendOutcome(page_id=page.page_id, result=SendResult.DELIVERED) for page in batch
            ]
        detail = reply.detail
        if reply.status in _BAD_CONTENT:
            if len(batch) > 1:
                middle = len(batch) // 2
                return [
                    *await self._post(batch[:middle], now_ns=now_ns),
                    *await self._post(batch[middle:], now_ns=now_ns),
                ]
            result, retry_after_s = SendResult.REFUSED, None
        elif reply.status == 0 or reply.status in _TRY_AGAIN or reply.status >= 500:
            result, retry_after_s = SendResult.RETRY, reply.retry_after_s
        else:
            result, retry_after_s = SendResult.RETRY, max(reply.retry_after_s or 0.0, _SLOWLY_S)
        return [
            SendOutcome(
                page_id=page.page_id, result=result, detail=detail, retry_after_s=retry_after_s
            )
            for page in batch
        ]

    def _alert(self, page: Page, *, now_ns: int) -> dict[str, Any]:
        # A start in the future would be paged at once, however far off it is.
        starts_ns = min(page.starts_ns, now_ns)
        if page.status is PageStatus.RESOLVED and page.ends_ns is not None:
            ends_ns = max(starts_ns, min(page.ends_ns, now_ns))
        else:
            ends_ns = now_ns + round(self._config.firing_lifetime * 1e9)
        return {
            "labels": page.labels,
            "annotations": page.annotations,
            "startsAt": instant(starts_ns),
            "endsAt": instant(ends_ns),
        }


def alertmanager_senders(config: AlertmanagerConfig) -> tuple[AlertmanagerSender, ...]:
    """A sender for every instance."""
    return tuple(AlertmanagerSender(config, url) for url in config.urls)


def _same(batch: Sequence[Page], outcome: SendOutcome) -> list[SendOutcome]:
    return [
        SendOutcome(
            page_id=page.page_id,
            result=outcome.result,
            detail=outcome.detail,
            retry_after_s=outcome.retry_after_s,
        )
        for page in batch
    ]


def _quoted(value: str) -> str:
    """A matcher's value in double quotes."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
