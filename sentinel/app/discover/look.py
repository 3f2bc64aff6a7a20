"""The look round itself: what was named, or what usually stands on this machine, all of it within a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sentinel.app.discover.asking import Asking
from sentinel.app.discover.findings import Finding, Outcome, told
from sentinel.app.discover.kong import look_at_kong
from sentinel.app.discover.logs import look_at_logs
from sentinel.app.discover.nats import look_at_nats
from sentinel.app.discover.pages import look_at_metrics, shown_url
from sentinel.app.discover.postgres import Login, look_at_postgres
from sentinel.app.discover.prometheus import look_at_prometheus

_PATIENCE = 10
"""How many times the limit of one request all requests of one place may take together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where to look; base URLs, pages of metrics, logins and folders."""

    prometheus: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    kong: tuple[str, ...] = ()
    nats: tuple[str, ...] = ()
    postgres: tuple[Login, ...] = ()
    logs: tuple[Path, ...] = ()

    @property
    def are_named(self) -> bool:
        """Whether there are any."""
        return any(getattr(self, name) for name in self.__slots__)


USUAL = Places(
    prometheus=("http://127.0.0.1:9090",),
    kong=("http://127.0.0.1:8007", "http://127.0.0.1:8100", "http://127.0.0.1:8001"),
    nats=("http://127.0.0.1:8222",),
    postgres=(Login(host="127.0.0.1", port=5432),),
    metrics=(
        "http://127.0.0.1:9464/metrics",
        "http://127.0.0.1:9100/metrics",
        "http://127.0.0.1:9113/metrics",
        "http://127.0.0.1:9187/metrics",
        "http://127.0.0.1:7777/metrics",
    ),
    logs=(
        Path("/var/log/kong"),
        Path("/var/log/nginx"),
        Path("/var/log/postgresql"),
        Path("/var/log/pods"),
    ),
)
"""What stands where by default: Kong's Status API (and the Helm chart's port of it), its Admin API, NATS' monitoring, exporters."""


async def look_round(
    places: Places, *, timeout_s: float, asked: bool, interval_s: float | None = None
) -> list[Finding]:
    """What was found, place by place in the order of the places.

    Args:
        places: where to look.
        timeout_s: longest time of one request.
        asked: whether a person named the places; what is only usual may be absent without being told.
        interval_s: how often queries are to be asked, where a person wishes so.
    """
    asking = Asking(timeout_s)
    looks: list[tuple[str, str, Coroutine[Any, Any, Finding]]] = []
    looks += [
        (
            "prometheus",
            shown_url(url),
            look_at_prometheus(asking, url, asked=asked, interval_s=interval_s),
        )
        for url in places.prometheus
    ]
    looks += [
        ("kong", shown_url(url), look_at_kong(asking, url, asked=asked)) for url in places.kong
    ]
    looks += [
        ("nats", shown_url(url), look_at_nats(asking, url, asked=asked)) for url in places.nats
    ]
    looks += [
        (
            "postgres",
            login.where,
            look_at_postgres(login, timeout_s=timeout_s, asked=asked),
        )
        for login in places.postgres
    ]
    looks += [
        ("metrics", shown_url(url), look_at_metrics(asking, url, asked=asked))
        for url in places.metrics
    ]
    looks += [
        ("logs", told(str(folder)), _aside(partial(look_at_logs, folder, asked=asked)))
        for folder in places.logs
    ]
    try:
        return list(
            await asyncio.gather(
                *(
                    _within(kind, where, look, limit_s=timeout_s * _PATIENCE, asked=asked)
                    for kind, where, look in looks
                )
            )
        )
    finally:
        await asking.close()


def of_interest(findings: Sequence[Finding]) -> list[Finding]:
    """Without what was only looked for because it is usual and is not there."""
    return [one for one in findings if one.asked or one.outcome is not Outcome.ABSENT]


async def _within(
    kind: str, where: str, look: Coroutine[Any, Any, Finding], *, limit_s: float, asked: bool
) -> Finding:
    try:
        async with asyncio.timeout(limit_s):
            return await look
    except TimeoutError:
        return Finding(
            kind=kind,
            where=where,
            outcome=Outcome.ABSENT,
            sentence="was not looked at to its end in time",
            asked=asked,
        )


async def _aside(look: Callable[[], Finding]) -> Finding:
    """Look in a thread that may be left behind: a folder of a file system that hangs must not hold up the rest."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Finding] = loop.create_future()

    def settle(found: Finding | None, error: BaseException | None) -> None:
        if done.done():
            return
        if found is not None:
            done.set_result(found)
        else:
            done.set_exception(error or RuntimeError("nothing was found"))

    def run() -> None:
        try:
            found, error = look(), None
        except BaseException as caught:  # noqa: BLE001  # handed to the waiting task
            found, error = None, caught
        try:
            loop.call_soon_threadsafe(settle, found, error)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    threading.Thread(target=run, name="discover.logs", daemon=True).start()
    return await done
