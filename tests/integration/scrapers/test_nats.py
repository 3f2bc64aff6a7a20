"""Goal: one NATS server of Debian (2.9) is watched as it is: streams, consumers, advisories, with every way to prove who we are.

Method: a real server for the module, others for single tests; a client beside it works as an application does. Polls come when a test says so.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig

from sentinel.errors import RefusedError, UnreachableError
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.polling.reach import ReachStatus
from sentinel.runtime.settings import Duration, FilePath, Secret
from tests.support.nats_keys import Key, credentials, jwt
from tests.support.nats_scene import (
    NatsScene,
    advisories_of,
    config_of,
    eventually,
    nats_client,
    nats_scene,
)
from tests.support.nats_servers import WHEEL, NatsProcess, debian_binary, jetstream, nats_server
from tests.support.tls import make_certificate

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsProcess]:
    with nats_server(tmp_path_factory.mktemp("nats"), binary=debian_binary()) as running:
        yield running


async def test_a_consumer_that_falls_behind_and_delivers_again_is_seen(
    server: NatsProcess,
) -> None:
    async with nats_client(server) as client, nats_scene(config_of(server)) as scene:
        js = client.jetstream()
        await js.add_stream(StreamConfig(name="ORDERS", subjects=["orders"], max_msgs=1000))
        own = ConsumerConfig(ack_wait=0.5, max_ack_pending=20)
        reader = await js.pull_subscribe("orders", durable="poster", stream="ORDERS", config=own)
        first = await scene.values()
        assert first["ORDERS/poster", "consumer_backlog_count"] == 0
        for _ in range(50):
            await js.publish("orders", b"x" * 100)
        for message in await reader.fetch(10, timeout=5):
            await message.ack_sync()
        taken = await reader.fetch(5, timeout=5)
        found = await scene.values()
        assert found["ORDERS", "stream_message_count"] == 50
        assert found["ORDERS", "stream_limit_ratio"] == 0.05
        assert found["ORDERS", "stream_stored_per_s"] == 50
        assert found["ORDERS/poster", "consumer_pending_count"] == 35
        assert found["ORDERS/poster", "consumer_ack_pending_count"] == 5
        assert found["ORDERS/poster", "consumer_backlog_count"] == 40
        assert found["ORDERS/poster", "consumer_ack_pending_ratio"] == 0.25
        assert found["ORDERS/poster", "consumer_delivered_per_s"] == 15
        assert found["ORDERS/poster", "consumer_redelivered_per_s"] == 0
        assert found["server/one", "server_connection_count"] == 1
        assert found["server/one", "server_in_messages_per_s"] > 50
        assert scene.missing() == []
        # Nobody acknowledges, so the same five come again.
        await asyncio.sleep(0.7)
        again = await reader.fetch(5, timeout=5)
        assert {one.metadata.sequence.stream for one in again} == {
            one.metadata.sequence.stream for one in taken
        }
        found = await scene.values()
        assert found["ORDERS/poster", "consumer_redelivered_count"] == 5
        assert found["ORDERS/poster", "consumer_redelivered_per_s"] == 5
        assert found["ORDERS/poster", "consumer_oldest_unacked_age_s"] > 5
        for message in again:
            await message.ack_sync()
        while waiting := await _fetched(reader):
            for message in waiting:
                await message.ack_sync()
        found = await scene.values()
        assert found["ORDERS/poster", "consumer_backlog_count"] == 0
        assert found["ORDERS/poster", "consumer_oldest_unacked_age_s"] == 0


async def _fetched(reader: Any) -> list[Any]:
    try:
        return list(await reader.fetch(20, timeout=0.3))
    except TimeoutError:
        return []


async def test_a_server_that_restarts_and_a_stream_made_anew_make_no_fall(tmp_path: Path) -> None:
    """After a restart counters begin at 0, and a stream of the same name is another: neither is a negative rate."""
    with nats_server(tmp_path, binary=debian_binary()) as server:
        async with nats_scene(config_of(server)) as scene:
            async with nats_client(server) as client:
                js = client.jetstream()
                config = StreamConfig(
                    name="WORK", subjects=["work"], retention=RetentionPolicy.WORK_QUEUE
                )
                await js.add_stream(config)
                for _ in range(20):
                    await js.publish("work", b"x")
            before = await scene.poll()
            server.stop()
            with pytest.raises(UnreachableError):
                await scene.poll()
            server.start()
            after = await scene.poll()
            key = ("server/one", "server_in_messages_per_s")
            assert after[key].value < before[key].value
            assert after[key].start_ns > before[key].time_ns
            assert after["WORK", "stream_stored_per_s"].value == 0
            assert after["WORK", "stream_message_count"].value == 20
            async with nats_client(server) as client:
                js = client.jetstream()
                await js.delete_stream("WORK")
                await js.add_stream(config)
                await js.publish("work", b"x")
            anew = await scene.values()
            assert anew["WORK", "stream_stored_per_s"] == 1
            assert anew["WORK", "stream_message_count"] == 1


async def test_a_server_that_is_held_is_given_up_in_time_and_is_back_at_once(
    server: NatsProcess,
) -> None:
    quick = ClientConfig(connect_timeout=Duration(1.5), timeout=Duration(1.5))
    async with nats_scene(config_of(server, client=quick)) as scene:
        await scene.poll()
        server.hold()
        try:
            with pytest.raises(UnreachableError, match="within"):
                await scene.poll()
        finally:
            server.go_on()
        assert ("server/one", "server_memory_bytes") in await scene.poll()


async def test_jetstream_that_is_off_is_said_and_the_server_is_watched(tmp_path: Path) -> None:
    with nats_server(tmp_path, binary=debian_binary(), config="") as server:
        async with nats_scene(
            config_of(server), config_of(server, name="plain", jetstream=False)
        ) as scene:
            found = await scene.values()
            assert ("server/one", "server_connection_count") in found
            assert scene.missing() == ["JetStream is off, so there are no streams and consumers"]
            await scene.values("plain")
            assert scene.missing() == []
            told = [one.sentence for one in await scene.scraping.reach()]
            assert "nats-server 2.9.10 has known weaknesses" in told
            assert told.count("JetStream is off, so there are no streams and consumers") == 1


async def test_messages_given_up_and_terminated_are_counted_and_told(server: NatsProcess) -> None:
    configs = [
        config_of(server, advisories=advisories_of(server)),
        # A second listener of the same service: what it hears as well is not counted again.
        config_of(server, name="again", advisories=advisories_of(server)),
    ]
    async with nats_client(server) as client, nats_scene(*configs) as scene:
        await scene.poll("main-advisories")
        await scene.poll("again-advisories")
        js = client.jetstream()
        await js.add_stream(StreamConfig(name="PAY", subjects=["pay"]))
        own = ConsumerConfig(ack_wait=0.3, max_deliver=1)
        reader = await js.pull_subscribe("pay", durable="booker", stream="PAY", config=own)
        await js.publish("pay", b"poison")
        await js.publish("pay", b"bad")
        poison, bad = await reader.fetch(2, timeout=5)
        await bad.term()
        await asyncio.sleep(0.4)
        # The last wait is over when the next one asks; there is nothing for it.
        await _fetched(reader)

        def told(event: str) -> list[str]:
            return [line.body for line in scene.lines() if line.event == event]

        async def arrived() -> bool:
            await scene.poll("main-advisories", after_s=2.0)
            return bool(told("nats.max_deliveries") and told("nats.terminated"))

        await eventually(arrived, what="the advisories")
        assert poison.metadata.sequence.stream == 1
        assert told("nats.max_deliveries") == [
            "consumer booker of stream PAY: message 1 is given up after 1 deliveries; it stays in the stream"
        ]
        assert told("nats.terminated") == [
            "consumer booker of stream PAY: message 2 was terminated by its reader"
        ]
        assert "stream PAY was created" in told("nats.created")
        gained = [
            one
            for batch in scene.batches
            for one in batch.numbers
            if one.signal == "events_max_deliveries_per_s"
        ]
        assert {one.scope.route for one in gained} == {"PAY/booker"}
        assert sum(one.value for one in gained) == 1
        reach = {one.what: one for one in await scene.scraping.reach()}
        assert reach["scrapers.nats main-advisories"].status is ReachStatus.OK


async def test_a_connection_that_is_lost_is_made_again(tmp_path: Path) -> None:
    with nats_server(tmp_path, binary=debian_binary()) as server:
        config = config_of(server, advisories=advisories_of(server))
        async with nats_scene(config) as scene:
            await scene.poll("main-advisories")
            server.stop()

            async def gone() -> bool:
                try:
                    await scene.poll("main-advisories", after_s=2.0)
                except UnreachableError:
                    return True
                return False

            await eventually(gone, what="the loss to be noticed")
            server.start()

            async def back() -> bool:
                return not await gone()

            await eventually(back, what="the connection to be back")


USERS = """
jetstream {{ store_dir: "{store}" }}
accounts {{
  $SYS {{ users: [] }}
  APP {{ jetstream: enabled, users: [
    {{ user: app, password: app }}
    {{ user: sentinel, password: "hunter2secret", permissions: {{ publish: {{ deny: ">" }}, subscribe: {{ allow: ["$JS.EVENT.ADVISORY.>"] }} }} }}
    {{ user: narrow, password: narrow, permissions: {{ subscribe: {{ deny: "$JS.>" }} }} }}
    {{ nkey: {nkey} }}
  ] }}
}}
"""


async def _arrives(scene: NatsScene, event: str) -> None:
    async def arrived() -> bool:
        await scene.poll("main-advisories", after_s=2.0)
        return any(line.event == event for line in scene.lines())

    await eventually(arrived, what=event)


async def test_users_passwords_and_keys_prove_who_we_are(tmp_path: Path) -> None:
    key = Key("user", "sentinel")
    config = USERS.format(store=tmp_path / "js", nkey=key.public)
    seed = tmp_path / "sentinel.nk"
    seed.write_text(key.seed + "\n")
    with nats_server(tmp_path, binary=debian_binary(), config=config) as server:
        proofs: tuple[dict[str, Any], ...] = (
            {"user": "sentinel", "password": Secret("hunter2secret")},
            {"nkey_seed_file": FilePath(str(seed))},
        )
        for number, ways in enumerate(proofs):
            target = config_of(server, account="APP", advisories=advisories_of(server, **ways))
            async with nats_scene(target) as scene:
                await scene.poll("main-advisories")
                async with nats_client(server, user="app", password="app") as client:
                    await client.jetstream().add_stream(name=f"S{number}", subjects=[f"s{number}"])
                await _arrives(scene, "nats.created")
                assert (f"S{number}", "stream_message_count") in await scene.values()
        wrong = {"user": "sentinel", "password": Secret("not-the-password")}
        async with nats_scene(
            config_of(server, advisories=advisories_of(server, **wrong))
        ) as scene:
            with pytest.raises(UnreachableError, match=r"(?i)authorization") as told:
                await scene.poll("main-advisories")
            assert "not-the-password" not in str(told.value)
        narrow = {"user": "narrow", "password": Secret("narrow")}
        async with nats_scene(
            config_of(server, advisories=advisories_of(server, **narrow))
        ) as scene:
            await scene.poll("main-advisories")
            assert "not permitted" in scene.missing()[0]
            assert scene.error_count("read", "denied") == 1
            (reach,) = [
                one for one in await scene.scraping.reach() if one.what.endswith("-advisories")
            ]
            assert reach.status is ReachStatus.DEGRADED
            assert "$JS.EVENT.ADVISORY.>" in reach.remedy


async def test_a_credentials_file_proves_who_we_are(tmp_path: Path) -> None:
    operator, account = Key("operator", "O"), Key("account", "APP")
    limits = {"mem_storage": -1, "disk_storage": 10**8, "streams": -1, "consumer": -1}
    of_account = {
        "limits": {
            "subs": -1,
            "conn": -1,
            "leaf": -1,
            "imports": -1,
            "exports": -1,
            "data": -1,
            "payload": -1,
            **limits,
        }
    }
    system = Key("account", "SYS")
    of_system = {"limits": {**of_account["limits"], "mem_storage": 0, "disk_storage": 0}}
    account_jwts = {
        account.public: jwt(operator, account, of_account),
        system.public: jwt(operator, system, of_system),
    }
    users = {name: Key("user", name) for name in ("app", "sentinel")}
    files = {}
    for name, user in users.items():
        files[name] = tmp_path / f"{name}.creds"
        files[name].write_text(
            credentials(user, jwt(account, user, {"subs": -1, "data": -1, "payload": -1}))
        )
    config = (
        f"operator: {jwt(operator, operator, {})}\nsystem_account: {system.public}\nresolver: MEMORY\n"
        f"resolver_preload: {json.dumps(account_jwts)}\n{jetstream(tmp_path)}"
    )
    with nats_server(tmp_path, binary=debian_binary(), config=config) as server:
        ways = {"credentials_file": FilePath(str(files["sentinel"]))}
        target = config_of(
            server, account=account.public, advisories=advisories_of(server, **ways)
        )
        async with nats_scene(target) as scene:
            await scene.poll("main-advisories")
            own = advisories_of(server, credentials_file=FilePath(str(files["app"])))
            async with _client_of(own) as client:
                await client.jetstream().add_stream(name="S", subjects=["s"])
            await _arrives(scene, "nats.created")
            assert ("S", "stream_message_count") in await scene.values()


def _client_of(config: Any) -> Any:
    """A client with the credentials of a file; the library's own way needs a package that is to be had as source alone."""
    from contextlib import asynccontextmanager

    from nats.aio.client import Client

    from sentinel.runtime.nats.nkey import Signer

    @asynccontextmanager
    async def connected() -> Any:
        signer = Signer(config.credentials_file, setting="credentials_file")
        client = Client()
        await client.connect(
            config.urls[0], user="x", signature_cb=signer.sign, user_jwt_cb=signer.jwt
        )
        try:
            yield client
        finally:
            await client.close()

    return connected()


async def test_tls_a_base_path_and_a_token(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "server")
    tls = f'tls {{ cert_file: "{cert}", key_file: "{key}" }}\n'
    config = f"{jetstream(tmp_path)}{tls}authorization {{ token: hunter2secret }}\n"
    with nats_server(
        tmp_path, binary=debian_binary(), config=config, monitor_tls=True, base_path="/ops"
    ) as server:
        trusted = FilePath(str(cert))
        secure = advisories_of(server, token=Secret("hunter2secret"), ca_file=trusted)
        client = ClientConfig(
            ca_file=trusted, timeout=Duration(4.0), connect_timeout=Duration(2.0)
        )
        async with nats_scene(config_of(server, client=client, advisories=secure)) as scene:
            assert ("server/one", "server_connection_count") in await scene.values()
            await scene.poll("main-advisories")
        strangers = advisories_of(
            server, token=Secret("hunter2secret"), urls=(f"tls://127.0.0.1:{server.port}",)
        )
        async with nats_scene(config_of(server, advisories=strangers)) as scene:
            with pytest.raises(UnreachableError, match=r"(?i)certificate"):
                await scene.poll("main-advisories")
            with pytest.raises((UnreachableError, RefusedError)):
                await scene.poll("main")


async def test_nothing_is_sent_to_a_server_that_offers_no_tls(tmp_path: Path) -> None:
    """The library goes on in plain text when a server says nothing of TLS, whatever it was told: the password would be read by anyone."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b'INFO {"server_id":"x","version":"2.12.8","max_payload":1024,"auth_required":true}\r\n'
        )
        await writer.drain()
        heard.extend(await reader.read(4096))
        writer.close()

    listener = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    with nats_server(tmp_path, binary=debian_binary(), config="") as server:
        own = advisories_of(
            server, urls=(f"tls://127.0.0.1:{port}",), user="u", password=Secret("hunter2secret")
        )
        async with nats_scene(config_of(server, advisories=own)) as scene:
            with pytest.raises(UnreachableError, match="offers no TLS"):
                await scene.poll("main-advisories")
    listener.close()
    await listener.wait_closed()
    assert b"hunter2secret" not in heard


async def test_an_answer_that_is_too_large_costs_the_streams_and_is_said(
    server: NatsProcess,
) -> None:
    async with (
        nats_client(server) as client,
        nats_scene(config_of(server, body_max=64 * 1024)) as scene,
    ):
        js = client.jetstream()
        await js.add_stream(name="WIDE", subjects=["wide"], description="x")
        for number in range(120):
            own = ConsumerConfig(durable_name=f"c{number}", description="x" * 200)
            await js.add_consumer("WIDE", own)
        found = await scene.values()
        assert ("server/one", "server_connection_count") in found
        assert not [route for route, _ in found if route.startswith("WIDE")]
        assert "cannot be read" in scene.missing()[0]
        assert scene.error_count("read", "too_large") == 1
        await js.delete_stream("WIDE")


@pytest.mark.parametrize("binary", ["debian", "wheel"])
async def test_many_accounts_come_page_by_page(tmp_path: Path, binary: str) -> None:
    """The first page of 2.9 is in another order than those after it: one account in five was on no page."""
    accounts = "".join(
        f"A{at} {{ jetstream: enabled, users: [{{ user: u{at}, password: p }}] }}\n"
        for at in range(5)
    )
    config = f"{jetstream(tmp_path)}accounts {{ $SYS {{ users: [] }}\n{accounts} }}\n"
    path = debian_binary() if binary == "debian" else str(WHEEL)
    with nats_server(tmp_path, binary=path, config=config) as server:
        for at in range(5):
            async with nats_client(server, user=f"u{at}", password="p") as client:
                await client.jetstream().add_stream(name="SAME", subjects=["s"])
        async with nats_scene(config_of(server, accounts_per_page=2)) as scene:
            found = await scene.values()
        assert {route for route, signal in found if signal == "stream_message_count"} == {
            f"A{at}:SAME" for at in range(5)
        }
