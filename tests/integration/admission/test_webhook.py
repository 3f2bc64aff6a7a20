"""Goal: over real HTTPS every review is answered 200 and allowed, within the bounds, whatever is sent and whatever breaks.

Method: the injector in this process on a free port; the caller trusts its authority alone and asks by its name in a cluster.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sentinel.admission import webhook as webhooks
from sentinel.admission.certificates.issue import Lifetimes, issue
from sentinel.admission.certificates.keeping import put_in_service, serving_files
from sentinel.admission.config import (
    ProbesConfig,
    ReconcileConfig,
    ReviewsConfig,
    WebhookListenConfig,
)
from sentinel.admission.patch import has_sidecar
from sentinel.admission.review import answer_review
from sentinel.app.admission.config import load_admission
from sentinel.app.admission.injector import Injector
from sentinel.app.admission.reload import AdmissionReloader
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import HealthStatus
from sentinel.runtime.settings import ByteSize, Duration, FilePath
from sentinel.runtime.tls import TlsConfig
from tests.support.injector import (
    HOST,
    calling,
    injector_config,
    make_pod,
    make_review,
    patched,
    response_of,
    running,
)

pytestmark = pytest.mark.integration


def reviews_of(injector: Injector, outcome: str) -> float:
    return injector.surroundings.metrics.value("sentinel_admission_reviews_total", outcome=outcome)


def errors_of(injector: Injector, reason: str) -> float:
    return injector.surroundings.metrics.value("sentinel_admission_errors_total", reason=reason)


async def test_a_pod_gets_its_sidecar_and_whatever_else_comes_is_answered(tmp_path: Path) -> None:
    async with (
        running(injector_config(tmp_path, None)) as injector,
        calling(injector, tmp_path) as caller,
    ):
        response = await caller.review(make_review(make_pod()))
        pod = patched(make_pod(), response)
        assert has_sidecar(pod)
        # By the built-in profiles, whatever the ConfigMap says.
        assert {"name": "SENTINEL_ROLE", "value": "collect"} in pod["spec"]["initContainers"][0][
            "env"
        ]
        assert "patch" not in await caller.review(make_review(pod))
        for data in (b"", b"\x00", b"{}", b'{"request":{"uid":"u"}}', b"[" * 100_000):
            response_of(await caller.post(data))
        assert errors_of(injector, "malformed") == 4
        assert reviews_of(injector, "not_a_pod") == 1
        assert reviews_of(injector, "injected") == 1
        assert reviews_of(injector, "unchanged") == 1


async def test_other_paths_and_methods_are_none_of_its_business(tmp_path: Path) -> None:
    async with running(injector_config(tmp_path, None)) as injector:
        url = injector.webhook.url
        async with aiohttp.ClientSession() as session:
            async with session.get(url, ssl=False) as reply:
                assert reply.status == 405
            async with session.post(f"{url}x", ssl=False) as reply:
                assert reply.status == 404


async def test_a_review_over_the_bound_is_let_through_with_its_uid(tmp_path: Path) -> None:
    reviews = ReviewsConfig(body_max=ByteSize(20_000))
    config = injector_config(tmp_path, None, reviews=reviews)
    async with running(config) as injector, calling(injector, tmp_path) as caller:
        large = make_pod(containers=[{"name": "app", "image": "a", "args": ["x" * 2_000_000]}])
        response = await caller.review(make_review(large, uid="c0ffee"))
        assert "larger than is looked at" in response["warnings"][0]
        assert errors_of(injector, "too_large") == 1
        # The rest of that body is nobody's next request.
        await caller.review(make_review(make_pod()))
        assert reviews_of(injector, "injected") == 1


async def test_a_large_review_is_worked_on_beside_the_others(tmp_path: Path) -> None:
    async with (
        running(injector_config(tmp_path, None)) as injector,
        calling(injector, tmp_path) as caller,
    ):
        large = make_pod(
            containers=[{"name": f"c{number}", "image": "x" * 500} for number in range(2000)]
        )
        response = await caller.review(make_review(large))
        assert len(patched(large, response)["spec"]["containers"]) == 2000
        assert reviews_of(injector, "injected") == 1


async def test_more_at_once_than_the_bound_is_let_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is late goes on in its thread, and takes its room until it ends: memory stays within the bound."""
    go_on, working = threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        working.set()
        go_on.wait(timeout=20)
        return answer_review(*arguments)

    monkeypatch.setattr(webhooks, "answer_review", slow)
    monkeypatch.setattr(webhooks, "_AT_ONCE_BYTES", 0)
    reviews = ReviewsConfig(in_flight_count_max=1, time_limit=Duration(0.3))
    config = injector_config(tmp_path, None, reviews=reviews)
    try:
        async with running(config) as injector, calling(injector, tmp_path) as caller:
            first = asyncio.create_task(caller.review(make_review(make_pod(), uid="first")))
            await asyncio.to_thread(working.wait, 10)
            response = await caller.review(make_review(make_pod(), uid="second"))
            assert "too many pods" in response["warnings"][0]
            assert "time enough" in (await first)["warnings"][0]
            third = await caller.review(make_review(make_pod(), uid="third"))
            assert "too many pods" in third["warnings"][0]
            assert (errors_of(injector, "overloaded"), errors_of(injector, "late")) == (2, 1)
            go_on.set()
            for _ in range(100):
                response = await caller.review(make_review(make_pod()))
                if "patch" in response:
                    break
                await asyncio.sleep(0.05)
            assert "patch" in response
    finally:
        go_on.set()


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    reviews = ReviewsConfig(time_limit=Duration(0.2))
    config = injector_config(tmp_path, None, reviews=reviews)
    async with running(config) as injector, calling(injector, tmp_path) as caller:
        start = json.dumps(make_review(make_pod(), uid="slow")).encode()

        async def dripping() -> Any:
            yield start[:150]
            await asyncio.sleep(5)
            yield start[150:]

        async with caller._session.post(
            injector.webhook.url, data=dripping(), ssl=caller._tls, server_hostname=HOST
        ) as reply:
            assert reply.status == 200
            response_of(await reply.read(), uid="slow")
        assert errors_of(injector, "late") == 1


async def test_a_fault_of_ours_is_counted_logged_and_lets_the_pod_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running(injector_config(tmp_path, None)) as injector,
        calling(injector, tmp_path) as caller,
    ):

        def broken() -> None:
            msg = "a fault"
            raise RuntimeError(msg)

        monkeypatch.setattr(injector.webhook, "_rules", broken)
        response = await caller.review(make_review(make_pod(), uid="u1"))
        assert "its log tells" in response["warnings"][0]
        assert errors_of(injector, "fault") == 1
        assert "RuntimeError" in caplog.text


async def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    config = injector_config(tmp_path, None)
    async with running(config) as injector:
        names = (HOST, f"{HOST}.cluster.local")
        lifetimes = Lifetimes(certificate_s=864_000.0, authority_s=8_640_000.0)
        other = issue(names, lifetimes=lifetimes, now_s=SystemClock().now_ns() / 1e9)
        await asyncio.to_thread(put_in_service, tmp_path / "tls", other)
        for _ in range(100):
            try:
                async with calling(injector, other.authorities) as caller:
                    await caller.review(make_review(make_pod()))
                break
            except aiohttp.ClientConnectorCertificateError:
                await asyncio.sleep(0.1)
        assert reviews_of(injector, "injected") == 1
        value = injector.surroundings.metrics.value
        assert (
            value("sentinel_tls_reloads_total", listener="admission.webhook", result="taken") == 1
        )


async def test_a_certificate_that_somebody_else_renews_is_followed(tmp_path: Path) -> None:
    """As cert-manager does it: a mounted Secret, whose files change by a switched link."""
    lifetimes = Lifetimes(certificate_s=864_000.0, authority_s=8_640_000.0)
    now_s = SystemClock().now_ns() / 1e9
    first, second = (issue((HOST,), lifetimes=lifetimes, now_s=now_s) for _ in range(2))
    await asyncio.to_thread(put_in_service, tmp_path, first)
    cert, key = serving_files(tmp_path)
    tls = TlsConfig(
        cert_file=FilePath(str(cert)), key_file=FilePath(str(key)), reload_interval=Duration(0.1)
    )
    async with running(injector_config(tmp_path, None, authority=None, tls=tls)) as injector:
        async with calling(injector, first.authorities) as caller:
            assert "patch" in await caller.review(make_review(make_pod()))
        await asyncio.to_thread(put_in_service, tmp_path, second)
        for _ in range(100):
            try:
                async with calling(injector, second.authorities) as caller:
                    assert "patch" in await caller.review(make_review(make_pod()))
                break
            except aiohttp.ClientConnectorCertificateError:
                await asyncio.sleep(0.05)
        assert reviews_of(injector, "injected") == 2


async def test_a_change_that_needs_a_restart_is_named_and_the_rest_is_taken(
    tmp_path: Path,
) -> None:
    file = tmp_path / "admission.yaml"
    written = f"authority: {{folder: {tmp_path / 'tls'}, secret: '', webhook: '', namespace: sentinel}}\nsidecar: native\n"
    file.write_text(written)
    loaded = load_admission(file, environment={})
    ports: dict[str, Any] = {
        "listen": WebhookListenConfig(port=0),
        "probes": ProbesConfig(port=0),
        "reconcile": ReconcileConfig(enabled=False),
        "stop_delay": Duration(0.0),
    }
    async with running(dataclasses.replace(loaded.config, **ports)) as injector:
        reloader = AdmissionReloader(loaded, file, injector, {})
        assert not await reloader.look()
        file.write_text(f"{written}listen: {{port: 9999}}\nreviews: {{time_limit: 1s}}\n")
        assert await reloader.look()
        assert injector.config.reviews.time_limit == 1.0
        assert reloader.health().status is HealthStatus.DEGRADED
        assert "listen.port" in reloader.health().sentence
        file.write_text(written)
        assert await reloader.look()
        assert reloader.health().status is HealthStatus.OK
        file.write_text("# nothing\n")
        assert not await reloader.look()
        assert injector.config.authority is not None


def test_room_is_bounded_by_number_and_by_bytes() -> None:
    load = webhooks._Load()
    limits = ReviewsConfig(
        body_max=ByteSize(100), in_flight_bytes_max=ByteSize(250), in_flight_count_max=3
    )
    first = load.take(100, limits)
    assert first is not None
    assert load.take(100, limits) is not None
    assert load.take(100, limits) is None
    assert load.take(50, limits) is not None
    assert load.take(0, limits) is None
    first.leave()
    assert load.take(100, limits) is not None


async def test_a_burst_is_answered_whole_and_the_rest_is_told(tmp_path: Path) -> None:
    async with (
        running(injector_config(tmp_path, None)) as injector,
        calling(injector, tmp_path) as caller,
    ):

        async def one(number: int) -> dict[str, Any]:
            return await caller.review(make_review(make_pod(), uid=f"u{number}"))

        responses = await asyncio.gather(*(one(number) for number in range(200)))
        assert all("patch" in response for response in responses)
        assert reviews_of(injector, "injected") == 200


async def test_stopping_answers_what_was_begun_and_says_so_to_probes(tmp_path: Path) -> None:
    config = injector_config(tmp_path, None, stop_delay=Duration(0.5))
    async with (
        running(config) as injector,
        calling(injector, tmp_path) as caller,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{injector.probes.url}/-/ready") as reply:
            assert reply.status == 200
        stopping = asyncio.create_task(injector.stop())
        await asyncio.sleep(0)
        async with session.get(f"{injector.probes.url}/-/ready") as reply:
            assert reply.status == 503
            assert (await reply.json())["waiting_for"] == {"stopping": "failing"}
        async with session.get(f"{injector.probes.url}/-/healthy") as reply:
            assert reply.status == 200
        assert "patch" in await caller.review(make_review(make_pod()))
        await stopping
        with pytest.raises(aiohttp.ClientError):
            await caller.review(make_review(make_pod()))


def test_the_api_servers_own_limit_counts() -> None:
    class Asked:
        def __init__(self, query: dict[str, str]) -> None:
            self.query = query

    limits = ReviewsConfig(time_limit=Duration(2.0))
    for text, expected_s in [("1s", 0.8), ("30s", 2.0), ("", 2.0), ("0s", 2.0), ("x", 2.0)]:
        asked: Any = Asked({"timeout": text} if text else {})
        assert webhooks._limit_s(asked, limits) == pytest.approx(expected_s)
