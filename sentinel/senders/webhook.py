"""Pages to any HTTP receiver, in the payload Alertmanager's webhooks have (version 4): one page a request.

A page is sent once, until it was taken: 2xx and nothing else. `Idempotency-Key` is the page's id, because a
reply can be lost and the page come again. With a secret, `Sentinel-Signature` is an HMAC over time and body.

    answer                          means for the page
    2xx                             delivered
    408, 425, 429, 5xx, no answer   try again, not before Retry-After
    3xx, 401, 403, 404, 407         the address or the access is wrong, not the page: try again slowly
    other 4xx                       refused for good
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sentinel.core.model import Page, PageStatus
from sentinel.ports import SendOutcome, SendResult
from sentinel.runtime.http.client import ClientConfig, HttpClient, checked_url, instant
from sentinel.runtime.settings import Secret, setting

_TRY_AGAIN = frozenset({408, 425, 429})
_GONE = frozenset({0, 429, 503})
_WRONG_ADDRESS = frozenset({401, 403, 404, 407})
_SLOWLY_S = 60.0
_NOT_ENDED = "0001-01-01T00:00:00Z"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfig:
    """One receiver of pages."""

    name: str = setting(
        "webhook", help="Name of the destination in metrics and logs; also the payload's receiver."
    )
    url: str = setting("", help="Where pages are posted.")
    external_url: str = setting("", help="The payload's `externalURL`, for links back.")
    hmac_secret: Secret | None = setting(
        None, help="Signs every request, so that the receiver can tell it is ours."
    )
    client: ClientConfig = setting(ClientConfig(), help="Credentials and TLS.")

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            msg = "a webhook's name has lower-case letters, digits, - and _, at most 63"
            raise ValueError(msg)
        if self.url:
            checked_url(self.url)


class WebhookSender:
    """One receiver."""

    def __init__(self, config: WebhookConfig) -> None:
        checked_url(config.url)
        self._config = config
        self._client = HttpClient(config.client, config.url)

    @property
    def name(self) -> str:
        """Unique name of this destination, without credentials."""
        return f"webhook:{self._config.name}"

    @property
    def wants_resend(self) -> bool:
        """A receiver keeps what it was told."""
        return False

    @property
    def resend_s(self) -> float:
        """Not used: a page goes out once."""
        return 0.0

    @property
    def heartbeat(self) -> bool:
        """A heartbeat is for who notices that it stopped, which a webhook need not."""
        return False

    async def send(self, pages: Sequence[Page], *, now_ns: int) -> list[SendOutcome]:
        """Try once each; when nobody answers or all must wait, the rest of this round is not tried."""
        outcomes: list[SendOutcome] = []
        gone: SendOutcome | None = None
        for page in pages:
            if gone is None:
                outcome, is_gone = await self._post(page, now_ns=now_ns)
                gone = outcome if is_gone else None
            else:
                outcome = SendOutcome(
                    page_id=page.page_id,
                    result=SendResult.RETRY,
                    detail=gone.detail,
                    retry_after_s=gone.retry_after_s,
                )
            outcomes.append(outcome)
        return outcomes

    async def has_forgotten(self, page: Page) -> bool:  # noqa: ARG002  # the port's
        """Never: a receiver keeps what it was told."""
        return False

    async def close(self) -> None:
        """Release connections; idempotent."""
        await self._client.close()

    async def _post(self, page: Page, *, now_ns: int) -> tuple[SendOutcome, bool]:
        """The outcome, and whether trying other pages now is in vain."""
        body = orjson.dumps(payload_of(page, self._config, now_ns=now_ns))
        headers = {"Content-Type": "application/json", "Idempotency-Key": page.page_id}
        if self._config.hmac_secret is not None:
            timestamp = str(now_ns // 1_000_000_000)
            headers["Sentinel-Timestamp"] = timestamp
            headers["Sentinel-Signature"] = signature_of(
                self._config.hmac_secret, timestamp=timestamp, body=body
            )
        reply = await self._client.post(self._config.url, body, headers)
        if reply.ok:
            return SendOutcome(page_id=page.page_id, result=SendResult.DELIVERED), False
        result, retry_after_s = SendResult.REFUSED, None
        if reply.status == 0 or reply.status in _TRY_AGAIN or reply.status >= 500:
            result, retry_after_s = SendResult.RETRY, reply.retry_after_s
        elif reply.status in _WRONG_ADDRESS or reply.status < 400:
            result, retry_after_s = SendResult.RETRY, max(reply.retry_after_s or 0.0, _SLOWLY_S)
        outcome = SendOutcome(
            page_id=page.page_id,
            result=result,
            detail=reply.detail,
            retry_after_s=retry_after_s,
        )
        return outcome, reply.status in _GONE


def payload_of(page: Page, config: WebhookConfig, *, now_ns: int) -> dict[str, Any]:
    """The page in Alertmanager's webhook payload."""
    status = page.status.value
    group = {name: page.labels[name] for name in ("alertname", "service") if name in page.labels}
    quoted = ", ".join(f'{name}="{value}"' for name, value in sorted(group.items()))
    resolved = page.status is PageStatus.RESOLVED and page.ends_ns is not None
    return {
        "version": "4",
        "groupKey": f"{{}}:{{{quoted}}}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": config.name,
        "groupLabels": group,
        "commonLabels": page.labels,
        "commonAnnotations": page.annotations,
        "externalURL": config.external_url,
        "alerts": [
            {
                "status": status,
                "labels": page.labels,
                "annotations": page.annotations,
                "startsAt": instant(min(page.starts_ns, now_ns)),
                "endsAt": instant(page.ends_ns or 0) if resolved else _NOT_ENDED,
                "generatorURL": "",
                "fingerprint": fingerprint_of(page.labels),
            }
        ],
    }


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """The fingerprint Alertmanager gives these labels: FNV-1a, 64 bits, names and values each ended by 255.

    >>> fingerprint_of({})
    'cbf29ce484222325'
    """
    digest = 0xCBF29CE484222325
    for name, value in sorted(labels.items()):
        for byte in (*name.encode(), 255, *value.encode(), 255):
            digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def signature_of(secret: Secret, *, timestamp: str, body: bytes) -> str:
    """`v1=` and the hexadecimal HMAC-SHA256 of time, full stop and body."""
    message = timestamp.encode("ascii") + b"." + body
    return "v1=" + hmac.new(secret.reveal().encode(), message, hashlib.sha256).hexdigest()
