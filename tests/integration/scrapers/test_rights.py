"""Goal: a right that is withdrawn while the program runs costs what it was for, is told with what gives it back, and needs no restart.

Method: a real PostgreSQL whose role loses `pg_monitor`, and then the right to connect; a real NATS that is told to read other permissions.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sentinel.errors import RefusedError, UnreachableError
from sentinel.runtime.settings import Secret
from sentinel.scrapers.postgres.queries import ABSENT_EVERY_S
from tests.support.nats_scene import advisories_of, config_of, eventually, nats_client, nats_scene
from tests.support.nats_servers import NatsProcess, debian_binary, nats_server
from tests.support.postgres_scene import config_for, scene
from tests.support.postgres_server import postgres_server

pytestmark = pytest.mark.integration


async def test_a_role_that_loses_its_rights_and_gets_them_back() -> None:
    with postgres_server(15) as server:
        server.make_role()
        async with scene(config_for(server)) as watched:
            found = await watched.polls(2)
            assert "pg_monitor" not in "; ".join(watched.notes)
            assert ("slots", "slots_count") in found
            await server.execute("REVOKE pg_monitor FROM sentinel")
            found = await watched.polls(2)
            assert "GRANT pg_monitor TO" in "; ".join(watched.notes)
            assert ("connections", "connections_used_count") in found, "the rest goes on"
            await server.execute("GRANT pg_monitor TO sentinel")
            await watched.poll(after_s=2 * ABSENT_EVERY_S)
            found = await watched.poll()
            assert "pg_monitor" not in "; ".join(watched.notes)
            assert ("slots", "slots_count") in found
            # Not even to connect: those who are in stay, and nobody comes in anew.
            await server.execute(
                "ALTER ROLE sentinel NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'sentinel'"
            )
            for match in (None, "not permitted to log in"):
                with pytest.raises((UnreachableError, RefusedError), match=match):
                    await watched.poll()
            await server.execute("ALTER ROLE sentinel LOGIN")
            assert ("connections", "connections_used_count") in await watched.poll()


PERMITTED = """
jetstream {{ store_dir: "{store}" }}
authorization {{ users: [
  {{ user: app, password: app }}
  {{ user: sentinel, password: "hunter2secret", permissions: {{ publish: {{ deny: ">" }}, subscribe: {{ {rule} }} }} }}
] }}
"""
ALLOWED = 'allow: ["$JS.EVENT.ADVISORY.>", "_INBOX.>"]'
DENIED = 'deny: ["$JS.>"]'


def give(server: NatsProcess, rule: str, store: Path) -> None:
    """Let the server read other permissions."""
    file = server.folder / "nats.conf"
    ours = file.read_text().split("jetstream {")[0]
    file.write_text(ours + PERMITTED.format(store=store, rule=rule))
    assert server.process is not None
    server.process.send_signal(signal.SIGHUP)


async def test_the_right_to_listen_is_withdrawn_and_given_back(tmp_path: Path) -> None:
    """The server takes the subscriptions of a user away and does not give them back: the connection heard nothing for ever."""
    store = tmp_path / "js"
    config = PERMITTED.format(store=store, rule=ALLOWED)
    with nats_server(tmp_path, binary=debian_binary(), config=config) as server:
        listening = advisories_of(server, user="sentinel", password=Secret("hunter2secret"))
        async with nats_scene(config_of(server, advisories=listening)) as scene:

            async def hears(number: int) -> bool:
                name = f"S{number}"
                async with nats_client(server, user="app", password="app") as client:
                    js = client.jetstream()
                    await js.add_stream(name=name, subjects=[name])
                    await js.delete_stream(name)
                before = len(scene.lines())
                await eventually_polled()
                return len(scene.lines()) > before

            async def eventually_polled() -> None:
                try:
                    await scene.poll("main-advisories", after_s=2.0)
                except UnreachableError:
                    scene.last = None

            await scene.poll("main-advisories")
            assert scene.missing() == []
            give(server, DENIED, store)

            async def is_told() -> bool:
                await eventually_polled()
                return scene.last is not None and any(
                    "not permitted" in one for one in scene.missing()
                )

            await eventually(is_told, what="the loss of the right to be told")
            assert ("server/one", "server_connection_count") in await scene.values()
            give(server, ALLOWED, store)
            numbers = iter(range(1000))

            async def hears_again() -> bool:
                return await hears(next(numbers))

            await eventually(hears_again, what="advisories to come again", timeout_s=15.0)
            await scene.poll("main-advisories", after_s=2.0)
            assert scene.missing() == []
