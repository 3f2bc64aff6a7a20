"""Goal: `sentinel check ready` says of a collector whether its windows get to the scorer.

Method: the look of the command at configurations of a collector: towards a scorer's listener, nobody, a JetStream with and without the stream.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.app.config import SentinelConfig
from sentinel.app.ready.look import look
from sentinel.app.role import Role
from sentinel.runtime.nats.config import NatsStreamConfig
from sentinel.runtime.nats.stream import StreamConnection
from sentinel.runtime.polling.reach import Reach
from sentinel.runtime.settings import ByteSize
from sentinel.senders.windows.config import CollectConfig
from tests.support.nats_servers import debian_binary, nats_server
from tests.support.whole_app import config_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


async def told(folder: Path, collect: CollectConfig) -> Reach:
    """What is said of the way to the scorer."""
    config: SentinelConfig = replace(config_of(folder), role=Role.COLLECT, collect=collect)
    found = await look(config, is_running=False)
    assert not [one for one in found if "windows_http" in one.what], "a collector listens for none"
    (reach,) = [one for one in found if one.what == "collect"]
    return reach


async def test_a_scorer_is_there_or_not(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        reach = await told(tmp_path, CollectConfig(url=url))
        assert reach.status.value == "ok"
        assert "takes connections" in reach.sentence
    reach = await told(tmp_path, CollectConfig(url=url))
    assert reach.status.value == "failing"
    assert "windows wait on disk" in reach.remedy


async def test_a_stream_is_there_or_will_be_or_cannot_be_reached(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats", binary=debian_binary()) as server:
        stream = NatsStreamConfig(urls=(server.url,), max_bytes=ByteSize(64 << 20))
        reach = await told(tmp_path, CollectConfig(nats=stream))
        assert "is not there yet" in reach.sentence
        connection = StreamConnection(stream, name="test")
        await connection.context()
        await connection.close()
        reach = await told(tmp_path, CollectConfig(nats=stream))
        assert (reach.status.value, reach.sentence) == (
            "ok",
            "stream SENTINEL_WINDOWS takes windows",
        )
    reach = await told(tmp_path, CollectConfig(nats=stream))
    assert reach.status.value == "failing"
