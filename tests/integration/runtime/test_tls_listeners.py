"""Goal: TLS on every listener, with certificates that can be replaced while it runs, and never plain instead.

Method: certificates from openssl, the receivers over TLS, files changed under them as an operator would.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
from pathlib import Path

import aiohttp
import grpc
import pytest

from sentinel.errors import ConfigError
from sentinel.receivers.otlp_grpc import OtlpGrpcConfig, OtlpGrpcListenConfig
from sentinel.receivers.otlp_http import OtlpHttpConfig, OtlpHttpListenConfig
from sentinel.runtime import tls as tls_module
from sentinel.runtime.auth import TokensConfig
from sentinel.runtime.settings import Duration, FilePath, Secret
from sentinel.runtime.tls import ServerTls, TlsConfig, certificate_expiry_s
from tests.support.clock import ManualClock
from tests.support.otlp import grpc_receiver, http_receiver, traces_request
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings
from tests.support.tls import make_certificate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TOKEN = "ingest-token-01234567"  # made for the test
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def exposed(files: tuple[Path, Path]) -> dict[str, object]:
    cert, key = files
    return {
        "address": "0.0.0.0",
        "port": 0,
        "tls": TlsConfig(cert_file=FilePath(str(cert)), key_file=FilePath(str(key))),
        "tokens": TokensConfig(ingest=Secret(TOKEN)),
    }


async def shown_certificate(port: int) -> str:
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port), timeout=5)


def replace(target: tuple[Path, Path], source: tuple[Path, Path]) -> None:
    for old, new in zip(target, source, strict=True):
        old.write_bytes(new.read_bytes())


async def test_http_over_tls_follows_its_files(tmp_path: Path) -> None:
    first, second = make_certificate(tmp_path, "first"), make_certificate(tmp_path, "second")
    files = make_certificate(tmp_path, "live")
    replace(files, first)
    clock = ManualClock()
    surroundings = make_surroundings(clock)
    config = OtlpHttpConfig(listen=OtlpHttpListenConfig(**exposed(files)))  # type: ignore[arg-type]
    sink = ListSink()
    async with http_receiver(sink, config, surroundings) as receiver:
        context = ssl.create_default_context(cafile=str(first[0]))
        async with (
            aiohttp.ClientSession() as client,
            client.post(
                f"https://127.0.0.1:{receiver.port}/v1/traces",
                data=traces_request("a"),
                headers={
                    "Content-Type": "application/x-protobuf",
                    "Authorization": f"Bearer {TOKEN}",
                },
                ssl=context,
            ) as response,
        ):
            assert response.status == 200
        assert await shown_certificate(receiver.port) == first[0].read_text()

        # The key alone has changed yet: nothing may break meanwhile.
        files[1].write_bytes(second[1].read_bytes())
        await clock.advance(11)
        assert await shown_certificate(receiver.port) == first[0].read_text()
        replace(files, second)
        await clock.advance(11)
        assert await shown_certificate(receiver.port) == second[0].read_text()

        # Plain HTTP on the same port is not answered.
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in await asyncio.wait_for(reader.read(), 10)
        writer.close()
    labels = {"listener": "receivers.otlp_http"}
    metrics = surroundings.metrics
    assert metrics.value("sentinel_tls_reloads_total", result="kept_old", **labels) == 1
    assert metrics.value("sentinel_tls_reloads_total", result="taken", **labels) == 1
    assert sink.sample_count == 1


async def test_grpc_over_tls_follows_its_files(tmp_path: Path) -> None:
    first, second = make_certificate(tmp_path, "first"), make_certificate(tmp_path, "second")
    files = make_certificate(tmp_path, "live")
    replace(files, first)
    clock = ManualClock()
    sink = ListSink()
    config = OtlpGrpcConfig(listen=OtlpGrpcListenConfig(**exposed(files)))  # type: ignore[arg-type]
    async with grpc_receiver(sink, config, make_surroundings(clock)) as receiver:
        for files_in_use in (first, second):
            replace(files, files_in_use)
            await clock.advance(11)
            credentials = grpc.ssl_channel_credentials(files_in_use[0].read_bytes())
            # A name of its own keeps the channel from reusing the connection of the last one.
            options = [("grpc.use_local_subchannel_pool", 1)]
            async with grpc.aio.secure_channel(
                f"localhost:{receiver.port}", credentials, options
            ) as channel:
                call = channel.unary_unary(TRACES, bytes, bytes)
                answer = await call(
                    traces_request("a"),
                    metadata=(("authorization", f"Bearer {TOKEN}"),),
                    timeout=10,
                )
                assert answer == b""
    assert sink.sample_count == 2


async def test_clients_must_show_a_certificate_when_authorities_are_set(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "server")
    known, unknown = make_certificate(tmp_path, "known"), make_certificate(tmp_path, "unknown")
    tls = TlsConfig(
        cert_file=FilePath(str(cert)),
        key_file=FilePath(str(key)),
        client_ca_file=FilePath(str(known[0])),
    )
    config = OtlpHttpConfig(listen=OtlpHttpListenConfig(port=0, tls=tls))
    sink = ListSink()
    async with http_receiver(sink, config) as receiver, aiohttp.ClientSession() as client:
        for files, is_known in ((known, True), (unknown, False)):
            context = ssl.create_default_context(cafile=str(cert))
            context.load_cert_chain(*files)
            request = client.post(
                f"https://127.0.0.1:{receiver.port}/v1/traces",
                data=traces_request("a"),
                headers={"Content-Type": "application/x-protobuf"},
                ssl=context,
            )
            if is_known:
                async with request as response:
                    assert response.status == 200
            else:
                with pytest.raises(aiohttp.ClientError):
                    await request
    assert sink.sample_count == 1


async def test_missing_or_foreign_files_stop_the_start(tmp_path: Path) -> None:
    first, second = make_certificate(tmp_path, "first"), make_certificate(tmp_path, "second")
    for files in ((first[0], tmp_path / "absent.key"), (first[0], second[1])):
        config = OtlpHttpConfig(listen=OtlpHttpListenConfig(**exposed(files)))  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=re.escape(str(files[1]))):
            async with http_receiver(ListSink(), config):
                pytest.fail("it listens without a usable certificate")


@pytest.mark.parametrize("days", [1, 90, 20_000])
def test_expiry_is_what_openssl_says(tmp_path: Path, days: int) -> None:
    """Dates from 2050 on are written in another form in a certificate."""
    cert, key = make_certificate(tmp_path, "one", days=days)
    said = subprocess.run(
        ["openssl", "x509", "-in", str(cert), "-noout", "-enddate"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout
    expires_s = ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter="))
    assert certificate_expiry_s(cert.read_text()) == expires_s
    surroundings = make_surroundings()
    config = TlsConfig(
        cert_file=FilePath(str(cert)), key_file=FilePath(str(key)), reload_interval=Duration(1.0)
    )
    ServerTls(config, surroundings, listener="test")
    metric = "sentinel_tls_certificate_expiry_timestamp_seconds"
    assert surroundings.metrics.value(metric, listener="test") == expires_s


async def test_files_that_are_switched_while_they_are_read_leave_no_half_a_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was tried was one pair, and what was taken one file of it: no handshake ended well until the next change."""
    pairs = [make_certificate(tmp_path, name) for name in ("first", "second", "third")]
    links = (tmp_path / "tls.crt", tmp_path / "tls.key")

    def lead(link: Path, target: Path) -> None:
        made = tmp_path / "made"
        made.symlink_to(target)
        made.replace(link)

    for link, target in zip(links, pairs[0], strict=True):
        lead(link, target)
    config = TlsConfig(cert_file=FilePath(str(links[0])), key_file=FilePath(str(links[1])))
    tls = ServerTls(config, make_surroundings(ManualClock()), listener="test")
    for link, target in zip(links, pairs[1], strict=True):
        lead(link, target)
    tried = tls_module.server_context

    def switched_after(config: TlsConfig) -> ssl.SSLContext:
        context = tried(config)
        lead(links[1], pairs[2][1])
        return context

    monkeypatch.setattr(tls_module, "server_context", switched_after)
    assert tls.reload_if_changed()
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=tls.context
    )
    async with server:
        shown = await shown_certificate(server.sockets[0].getsockname()[1])
    assert shown.split() == pairs[1][0].read_text().split()
