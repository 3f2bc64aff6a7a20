"""Goal: an endpoint whose certificate is not to be believed gets nothing and loses nothing, is told of as that, and holds up no other.

Method: two endpoints of one component, one behind TLS with a certificate that is trusted but for its fault; then it is renewed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentinel.runtime.clock import SystemClock
from sentinel.runtime.http.client import ClientConfig, HttpClient, _system_context
from sentinel.runtime.intake.downstream import Telemetry
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal
from sentinel.runtime.settings import ByteSize, Duration, FilePath
from sentinel.senders.otlp_forward.config import (
    EndpointConfig,
    ForwardConfig,
    ForwardProtocol,
    ForwardQueueConfig,
)
from sentinel.senders.otlp_forward.forwarding import Forwarding
from tests.support.otlp_messages import span, traces
from tests.support.surroundings import make_surroundings
from tests.support.tls import Identity, identities
from tests.support.upstream import grpc_upstream, http_upstream

pytestmark = pytest.mark.integration

FAULTS = (
    "certificate expired",
    "certificate not valid yet",
    "certificate is for another name",
)
UPSTREAMS = {ForwardProtocol.HTTP: http_upstream, ForwardProtocol.GRPC: grpc_upstream}
QUEUE = ForwardQueueConfig(min_free_bytes=ByteSize(0))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    return identities(tmp_path_factory.mktemp("certificates"))


def payload() -> Telemetry:
    return Telemetry(
        signal=OtlpSignal.TRACES,
        encoding=OtlpEncoding.PROTOBUF,
        body=traces(span(name="one")).SerializeToString(),
        item_count=1,
        redacted=False,
    )


@pytest.mark.parametrize("why", FAULTS)
@pytest.mark.parametrize("protocol", list(UPSTREAMS), ids=lambda one: str(one.value))
async def test_what_is_for_an_endpoint_that_is_not_believed_waits_until_it_is(
    tmp_path: Path, known: dict[str, Identity], protocol: ForwardProtocol, why: str
) -> None:
    surroundings = make_surroundings(SystemClock())
    client = ClientConfig(ca_file=FilePath(str(known["good"].authorities)))
    listening = UPSTREAMS[protocol]

    def counted(name: str, **labels: str) -> float:
        return surroundings.metrics.value(name, component="senders.otlp_forward", **labels)

    async with http_upstream() as good:
        async with listening(identity=known[why]) as bad:
            port = int(bad.url.rpartition(":")[2])
            common: dict[str, Any] = {"retry_max": Duration(0.1), "queue": QUEUE}
            endpoints = (
                EndpointConfig(
                    name="bad", url=bad.url, protocol=protocol, client=client, **common
                ),
                EndpointConfig(name="good", url=good.url, **common),
            )
            config = ForwardConfig(
                endpoints=endpoints, delay=Duration(0.01), drain_timeout=Duration(0.2)
            )
            component = Forwarding(config, tmp_path, surroundings)
            await component.start()
            component.offer(payload())
            await good.wait(lambda: len(good.taken) == 1)
            await good.wait(
                lambda: (
                    counted("sentinel_component_errors_total", stage="send", reason="certificate")
                    > 0
                )
            )
            assert why in component.health().sentence
            component.offer(payload())
            await good.wait(lambda: len(good.taken) == 2)
            assert bad.asked_count == 0
        try:
            async with listening(port, known["good"]) as renewed:
                await renewed.wait(lambda: len(renewed.taken) >= 1)
                await renewed.wait(
                    lambda: counted("sentinel_component_sent_total", signal="traces") == 4
                )
        finally:
            await component.stop()
    dropped = [
        sample
        for family in surroundings.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "sentinel_component_dropped_total" and sample.value
    ]
    assert dropped == []


@pytest.mark.parametrize("why", FAULTS)
async def test_a_page_that_could_not_be_posted_says_why(
    known: dict[str, Identity], why: str
) -> None:
    config = ClientConfig(ca_file=FilePath(str(known["good"].authorities)))
    async with http_upstream(identity=known[why]) as bad:
        client = HttpClient(config, bad.url)
        reply = await client.post(f"{bad.url}/v1/traces", b"", {})
        await client.close()
    assert not reply.ok
    assert reply.detail == f"{why} at {bad.url.removeprefix('https://')}"
    assert bad.asked_count == 0


async def test_a_page_goes_to_whom_the_systems_authorities_vouch_for(
    known: dict[str, Identity], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(known["good"].authorities))
    _system_context.cache_clear()
    try:
        async with http_upstream(identity=known["good"]) as upstream:
            client = HttpClient(ClientConfig(), upstream.url)
            reply = await client.post(f"{upstream.url}/v1/traces", b"", {})
            await client.close()
    finally:
        _system_context.cache_clear()
    assert reply.ok
    assert upstream.asked_count == 1
