"""Whether servers do what a mode of durability asks of them, by their own word."""

from __future__ import annotations

from typing import Final

import aiohttp

from sentinel.reference.ledger.domain import LedgerError, UnavailableError
from sentinel.reference.ledger.domain.durability import DATABASE_SETTINGS, Durability, lacking
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import session

_TIMEOUT_S: Final = 5.0


async def check_database(durability: Durability, config: PostgresConfig) -> None:
    """Refuse a database that would lose commits with the machine's power, when none may be lost.

    Asked as the user who commits: a setting may be that user's own.

    Raises:
        LedgerError: it would.
        UnavailableError: it does not answer in time.
    """
    if durability is Durability.PROCESS:
        return
    async with session(config, application_name="ledger-durability") as connection:
        rows = await connection.fetch(
            "select name, setting from pg_settings where name = any($1)", list(DATABASE_SETTINGS)
        )
    if wrong := lacking({row["name"]: row["setting"] for row in rows}):
        message = (
            f"durability {durability} is asked for, and PostgreSQL has {', '.join(wrong)}: "
            "a commit could be lost with the machine's power"
        )
        raise LedgerError(message)


async def check_queue(durability: Durability, monitor_urls: list[str]) -> None:
    """Refuse NATS servers that answer before a message is on the disk, when that is not enough.

    Raises:
        LedgerError: one does, or none of them can be asked.
        UnavailableError: one does not answer in time.
    """
    if durability is Durability.PROCESS:
        return
    if not monitor_urls:
        message = f"durability {durability} of a NATS that is given can be seen on its monitoring port alone: give its address"
        raise LedgerError(message)
    for url in monitor_urls:
        if not await syncs_always(url):
            message = (
                f"durability {durability} is asked for, and the NATS at {url} answers before a message is on the disk: "
                "it needs `sync_interval: always` in its block `jetstream`"
            )
            raise LedgerError(message)


async def syncs_always(monitor_url: str) -> bool:
    """Say whether a NATS server has each message on its disk before it answers.

    Raises:
        UnavailableError: it does not answer in time.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S)) as http,
            http.get(f"{monitor_url.rstrip('/')}/varz") as answer,
        ):
            answer.raise_for_status()
            found = await answer.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        message = f"NATS' monitoring at {monitor_url} does not answer: {type(error).__name__}"
        raise UnavailableError(message) from error
    return bool(found.get("jetstream", {}).get("config", {}).get("sync_always", False))
