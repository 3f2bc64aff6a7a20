"""Goal: durability is a mode that is stated, kept and refused where it cannot be. Method: the pure parts, options and the environment."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import pytest

from sentinel.reference.ledger.domain import LedgerError, UnavailableError, UsageError
from sentinel.reference.ledger.domain.durability import DATABASE_SETTINGS, Durability, lacking
from sentinel.reference.ledger.operate.cli import run
from sentinel.reference.ledger.operate.cli.main import build_parser
from sentinel.reference.ledger.operate.cli.servers import durability, stream_replicas
from sentinel.reference.ledger.operate.servers.nats import jetstream_block
from sentinel.reference.ledger.operate.servers.nats_cluster import plan_nodes
from sentinel.reference.ledger.wire.config import NatsConfig, check_url, resolve_url
from sentinel.reference.ledger.wire.durability import check_queue
from sentinel.reference.ledger.wire.nats.declared import declared_streams

_SERVERS = ("--nats-url", "nats://127.0.0.1:1", "--postgres-url", "postgresql://127.0.0.1:1/x")


def poster(*arguments: str) -> argparse.Namespace:
    return build_parser().parse_args(["poster", *_SERVERS, *arguments])


@pytest.mark.parametrize("name", DATABASE_SETTINGS)
def test_each_setting_that_loses_a_commit_is_named(name: str) -> None:
    sound = dict.fromkeys(DATABASE_SETTINGS, "on")
    assert lacking(sound) == []
    assert lacking({**sound, name: "off"}) == [f"{name}=off"]
    assert lacking({**sound, "synchronous_commit": "remote_apply"}) == []


def test_a_mode_is_what_is_said_then_what_the_environment_says_then_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert durability(poster()) is Durability.PROCESS
    monkeypatch.setenv("LEDGER_DURABILITY", "machine")
    assert durability(poster()) is Durability.MACHINE
    assert durability(poster("--durability", "process")) is Durability.PROCESS
    monkeypatch.setenv("LEDGER_DURABILITY", "for ever")
    with pytest.raises(UsageError, match="process or machine"):
        durability(poster())


def test_replicas_are_what_is_said_then_what_the_environment_says_then_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert stream_replicas(poster()) == 1
    monkeypatch.setenv("LEDGER_STREAM_REPLICAS", "3")
    assert stream_replicas(poster()) == 3
    assert stream_replicas(poster("--stream-replicas", "5")) == 5
    monkeypatch.setenv("LEDGER_STREAM_REPLICAS", "2")
    with pytest.raises(UsageError, match="LEDGER_STREAM_REPLICAS: '2' is not 1, 3 or 5"):
        stream_replicas(poster())


def test_every_stream_is_kept_by_as_many_servers_as_are_asked_for() -> None:
    config = NatsConfig(url="nats://a", stream_replicas_count=3)
    assert {stream.num_replicas for stream in declared_streams(config)} == {3}
    assert {stream.num_replicas for stream in declared_streams(NatsConfig(url="nats://a"))} == {1}


def test_a_cluster_is_a_list_of_addresses_of_which_none_has_a_password() -> None:
    assert NatsConfig(url="nats://a:1, nats://b:2").servers == ["nats://a:1", "nats://b:2"]

    def given(argument: str) -> str | None:
        return resolve_url(
            argument=argument, file=None, variable="V", environ={}, what="it", schemes=("nats",)
        )

    assert given("nats://a:1,nats://b:2") == "nats://a:1,nats://b:2"
    with pytest.raises(UsageError, match="may not be an argument"):
        given("nats://a:1,nats://u:secret@b:2")
    for wrong in ("nats://a:1,http://b:2", ",", "nats://a:1,nats://"):
        with pytest.raises(UsageError, match="not a URL"):
            given(wrong)


def test_a_comma_in_a_databases_password_is_none_between_two_addresses() -> None:
    check_url("postgresql://u:a,b@h/d", what="it", schemes=("postgresql",))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--nats-nodes", "3", "--nats-url", "nats://127.0.0.1:1"], "--nats-nodes is of the"),
        (["--stream-replicas", "3"], "--nats-nodes 3"),
        (["--nats-nodes", "3", "--stream-replicas", "5"], "--nats-nodes 5"),
    ],
)
def test_what_cannot_be_together_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["up", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_server_is_told_to_sync_always_by_the_mode_machine_alone(tmp_path: Path) -> None:
    assert "sync_interval: always" in jetstream_block(tmp_path, Durability.MACHINE)
    assert "sync_interval" not in jetstream_block(tmp_path, Durability.PROCESS)


def test_servers_of_a_cluster_know_one_another_and_share_nothing(tmp_path: Path) -> None:
    nodes = plan_nodes(tmp_path, 3, Durability.MACHINE)
    assert list(nodes) == ["nats-1", "nats-2", "nats-3"]
    assert len({port for one in nodes.values() for port in (one.port, one.monitor_port)}) == 6
    files = [(one.folder / "nats.conf").read_text() for one in nodes.values()]
    routes = {line.partition("routes:")[2] for text in files for line in text.splitlines()} - {""}
    assert len(routes) == 1
    assert all(
        f'store_dir: "{one.folder}"' in text
        for one, text in zip(nodes.values(), files, strict=True)
    )
    assert all("sync_interval: always" in text for text in files)


def test_nats_that_cannot_be_asked_is_believed_by_the_mode_process_alone() -> None:
    asyncio.run(check_queue(Durability.PROCESS, []))
    with pytest.raises(LedgerError, match="monitoring port"):
        asyncio.run(check_queue(Durability.MACHINE, []))
    with pytest.raises(UnavailableError, match="does not answer"):
        asyncio.run(check_queue(Durability.MACHINE, ["http://127.0.0.1:1"]))
