"""`sentinel-ledger authorize`: the demo's authorization server as a process, and the accounts that `up` makes for it."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sentinel.reference.ledger.authorize import (
    Accounts,
    Client,
    User,
    read_accounts,
    write_accounts,
)
from sentinel.reference.ledger.operate.single import say, stop_on_signals
from sentinel.reference.ledger.telemetry import AUTHORIZE_SERVICE, Event, start_telemetry

if TYPE_CHECKING:
    from sentinel.reference.ledger.authorize.server import AuthorizeConfig

# Where a program of the person's own would listen; nothing of ours does.
_REDIRECT_URI: Final = "http://127.0.0.1:8765/callback"
BROWSER_CLIENT: Final = "browser"


async def run_authorize(config: AuthorizeConfig, accounts_file: Path) -> None:
    """Give tokens until SIGTERM or SIGINT; SIGHUP changes the key that signs.

    Raises:
        UnavailableError: the port is taken.
        UnreadableError: the accounts cannot be read.
        LedgerError: they make no sense, or others can read them too.
    """
    # Late: it loads Authlib, and those who write and read accounts do without.
    from sentinel.reference.ledger.authorize.server import AuthorizeServer

    accounts = read_accounts(accounts_file)
    telemetry = start_telemetry(AUTHORIZE_SERVICE)
    server = AuthorizeServer(config, accounts, telemetry=telemetry)

    def rotate() -> None:
        server.rotate()
        telemetry.info(Event.AUTHORIZE_ROTATED, "Another key signs from now on")

    try:
        url = await server.start()
        stop = stop_on_signals()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, rotate)
        try:
            telemetry.info(Event.AUTHORIZE_STARTED, "The authorization server listens", url=url)
            say({"event": "ready", "role": "authorize", "url": url, "pid": os.getpid()})
            await stop.wait()
        finally:
            await server.stop()
            telemetry.info(Event.AUTHORIZE_STOPPED, "The authorization server has stopped")
    finally:
        telemetry.stop()


def machine_client(tenant: str) -> str:
    """Return the id of a tenant's own program."""
    return f"machine-{tenant}"


def accounts_for(file: Path, tenants: Iterable[str]) -> bytes:
    """Return the accounts of a run: those that the file holds, and new ones for tenants that have none.

    A person and a program for each tenant, and one client that people use in a browser.

    Raises:
        LedgerError: the file is there and makes no sense.
    """
    clients: dict[str, Client] = {}
    users: dict[str, User] = {}
    if file.exists():
        known = read_accounts(file)
        clients, users = dict(known.clients), dict(known.users)
    clients.setdefault(
        BROWSER_CLIENT,
        Client(id=BROWSER_CLIENT, name="A program", redirect_uris=(_REDIRECT_URI,)),
    )
    for tenant in tenants:
        machine = machine_client(tenant)
        if machine not in clients:
            secret = secrets.token_urlsafe(24)
            clients[machine] = Client(id=machine, tenant=tenant, secret=secret)
        if tenant not in users:
            users[tenant] = User(name=tenant, password=secrets.token_urlsafe(12), tenant=tenant)
    return write_accounts(Accounts(clients=clients, users=users))
