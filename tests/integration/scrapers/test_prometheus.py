"""Goal: pages are asked for on time whatever another target does, files name targets while the program runs, and real servers are read.

Method: the component with servers on loopback that are well or ill, with files that are written, broken and mended; Debian's Prometheus and
Alertmanager as targets.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from sentinel.core.model import SampleBatch
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.polling.reach import ReachStatus
from sentinel.runtime.settings import ByteSize, Duration, FilePath
from sentinel.scrapers.prometheus import (
    FileDiscoveryConfig,
    PageConfig,
    PrometheusTargetConfig,
)
from sentinel.scrapers.prometheus.component import NAME, PrometheusScraper
from tests.support.alertmanager_server import alertmanager_server, collector
from tests.support.clock import ManualClock
from tests.support.page_server import PageServer, page_server
from tests.support.scraped import numbers_in
from tests.support.servers import prometheus_server
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings
from tests.support.whole_app import comes_true, until

SHORT = ClientConfig(timeout=Duration(0.5), connect_timeout=Duration(0.5))


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    async with page_server() as made:
        yield made


def target(url: str, *, name: str = "shop", page: PageConfig | None = None) -> PrometheusTargetConfig:  # fmt: skip
    return PrometheusTargetConfig(name=name, url=url, page=page or PageConfig(), client=SHORT)


def make(
    *targets: PrometheusTargetConfig, files: tuple[FileDiscoveryConfig, ...] = ()
) -> tuple[PrometheusScraper, ListSink, Surroundings]:
    surroundings, sink = make_surroundings(ManualClock()), ListSink()
    scraper = PrometheusScraper(targets, files, Downstream(sink=sink), surroundings)
    return scraper, sink, surroundings


def batches_of(sink: ListSink, service: str) -> list[SampleBatch]:
    return [batch for batch in sink.batches if service in batch.services]


async def goes_on(surroundings: Surroundings, true: Callable[[], bool], what: str) -> None:
    """Let time pass, and disks and sockets work, until something is so."""
    for _ in range(60):
        if await comes_true(true, timeout_s=0.1):
            return
        await advance(surroundings, 1.0)
    await until(true, what=what)


async def advance(surroundings: Surroundings, seconds: float) -> None:
    assert isinstance(surroundings.clock, ManualClock)
    await surroundings.clock.advance(seconds)


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        ("drip", "timeout"),
        ("hang", "timeout"),
        ("endless", "too_large"),
        ("bomb", "too_large"),
        ("redirect", "refused"),
        ("error", "refused"),
        ("cut", "unreachable"),
    ],
)
async def test_a_hostile_target_costs_no_other_an_interval(
    server: PageServer, fault: str, result: str
) -> None:
    async with page_server() as good:
        server.fault = fault
        scraper, sink, surroundings = make(
            target(server.url, name="bad", page=PageConfig(body_max=ByteSize(1 << 20))),
            target(good.url, name="good"),
        )
        await scraper.start()
        metrics = surroundings.metrics
        try:
            for number in (1, 2):

                def asked(number: int = number) -> bool:
                    """Both were, and each with its own result."""
                    # The limits of a request and of a whole poll are the same: which one is met first is chance.
                    results = {result, "unreachable"} if result == "timeout" else {result}
                    bad = sum(
                        metrics.value(
                            "sentinel_scrapes_total", scraper=NAME, target="bad", result=one
                        )
                        for one in results
                    )
                    return bad == number == len(batches_of(sink, "good"))

                await until(asked, what=f"the bad target to be {result}")
                await advance(surroundings, 10.0)
            assert metrics.value("sentinel_scraper_up", scraper=NAME, target="bad") == 0
            assert metrics.value("sentinel_scraper_up", scraper=NAME, target="good") == 1
            assert not batches_of(sink, "bad")
            health = scraper.health()
            assert health.status is HealthStatus.DEGRADED
            assert "bad" in health.sentence
        finally:
            await scraper.stop()


async def test_labels_and_samples_over_the_limits_are_left_out_and_said(
    server: PageServer,
) -> None:
    server.page = "ok 1\n" + "".join(f'flood{{id="{at}"}} 1\n' for at in range(500))
    server.page += 'long{x="' + "y" * 300_000 + '"} 1\n'
    scraper, sink, _ = make(target(server.url, page=PageConfig(sample_count_max=100)))
    await scraper.start()
    try:
        await until(lambda: len(sink.batches) == 1, what="a page")
        assert sink.batches[0].sample_count == 100
        health = scraper.health()
        assert health.status is HealthStatus.DEGRADED
        assert "402 samples are over a limit" in health.sentence
        findings = await scraper.reach()
        assert [finding.status for finding in findings] == [ReachStatus.OK, ReachStatus.DEGRADED]
        assert "sample_count_max" in findings[1].remedy
    finally:
        await scraper.stop()


async def test_formats_are_asked_for_in_order(server: PageServer) -> None:
    scraper, sink, _ = make(target(server.url, page=PageConfig(native_histograms=True)))
    await scraper.start()
    try:
        await until(lambda: len(sink.batches) == 1, what="a page")
    finally:
        await scraper.stop()
    (accept,) = [line for line in server.requests[0].split("\r\n") if line.startswith("Accept:")]
    order = [
        accept.index(name) for name in ("vnd.google.protobuf", "openmetrics-text", "text/plain")
    ]
    assert order == sorted(order)
    assert "X-Prometheus-Scrape-Timeout-Seconds: 0.5" in server.requests[0]
    assert "Accept-Encoding: identity" in server.requests[0], "on this machine packing is no gain"


async def test_files_name_targets_while_the_program_runs(
    server: PageServer, tmp_path: Path
) -> None:
    async with page_server() as other:
        file, second = tmp_path / "a.json", tmp_path / "b.yaml"
        file.write_text(
            json.dumps([{"targets": [server.address], "labels": {"job": "one", "zone": "z"}}])
        )
        discovery = FileDiscoveryConfig(
            name="found",
            files=(FilePath(str(tmp_path / "*.json")), FilePath(str(second))),
            client=SHORT,
            target_count_max=2,
        )
        scraper, sink, surroundings = make(files=(discovery,))
        second.write_text("[]")
        await scraper.start()
        try:
            await goes_on(
                surroundings, lambda: len(batches_of(sink, "one")) == 1, "the first target"
            )
            assert numbers_in(sink.batches[0]) == {("up", "zone=z"): 1}
            assert scraper.health().status is HealthStatus.OK
            # Another file names another target, at its own path with a parameter.
            second.write_text(
                f"- targets: ['{other.address}']\n"
                "  labels: {job: two, __metrics_path__: /m, __param_x: a b}\n"
            )
            await goes_on(
                surroundings, lambda: len(batches_of(sink, "two")) == 1, "the second target"
            )
            assert other.requests[0].startswith("GET /m?x=a+b HTTP/1.1")
            # A file that is half written keeps what it named.
            file.write_text('[{"targets": ["127')
            await goes_on(
                surroundings,
                lambda: scraper.health().status is HealthStatus.DEGRADED,
                "the bad file",
            )
            assert "a.json: line 1: it is not valid JSON" in scraper.health().sentence
            before = len(batches_of(sink, "one"))
            await goes_on(
                surroundings, lambda: len(batches_of(sink, "one")) > before, "the first to go on"
            )
            # More than the bound: the first ones are taken.
            named = [server.address, other.address, "127.0.0.1:1", "127.0.0.1:2"]
            file.write_text(json.dumps([{"targets": named, "labels": {"job": "one"}}]))
            left_out = "sentinel_discovery_left_out"
            await goes_on(
                surroundings,
                lambda: surroundings.metrics.value(left_out, discovery="found") == 3,
                "what is over the bound to be left out",
            )
            # A file that is gone names nothing, and nothing of its targets stays on our page.
            file.unlink()
            second.write_text("[]")
            count = "sentinel_discovered_targets"
            await goes_on(
                surroundings,
                lambda: surroundings.metrics.value(count, discovery="found") == 0,
                "all targets to be gone",
            )
            await goes_on(surroundings, lambda: b"sentinel_scraper_up{" not in surroundings.metrics.exposition(openmetrics=False), "their metrics to be gone")  # fmt: skip
            asked = len(server.requests)
            await advance(surroundings, 30.0)
            await comes_true(lambda: len(server.requests) > asked, timeout_s=0.2)
            assert len(server.requests) == asked
        finally:
            await scraper.stop()


async def test_reach_tells_of_targets_and_of_files(server: PageServer, tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text(f"- targets: ['{server.address}', '127.0.0.1:1']\n")
    missing = FilePath(str(tmp_path / "gone.json"))
    discovery = FileDiscoveryConfig(name="found", files=(FilePath(str(file)), missing), client=SHORT)  # fmt: skip
    scraper, _, _ = make(target("http://127.0.0.1:1/metrics"), files=(discovery,))
    found = {(one.what, one.status): one.sentence for one in await scraper.reach()}
    await scraper.stop()
    assert (f"{NAME} found {server.address}", ReachStatus.OK) in found
    assert (f"{NAME} shop", ReachStatus.FAILING) in found
    assert (f"{NAME} found 127.0.0.1:1", ReachStatus.FAILING) in found
    assert "it is not there" in found[f"{NAME} found", ReachStatus.FAILING]


@pytest.fixture(scope="module")
def real_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The pages of Debian's Prometheus and Alertmanager."""
    folder = tmp_path_factory.mktemp("real")
    config = "global: {scrape_interval: 1s}\n"
    with (
        prometheus_server(config, folder / "prometheus") as server,
        collector() as inbox,
        alertmanager_server(folder / "alertmanager", webhook_url=inbox.url) as manager,
    ):
        yield {"prometheus": f"{server.url}/metrics", "alertmanager": f"{manager.url}/metrics"}


@pytest.mark.parametrize("name", ["prometheus", "alertmanager"])
async def test_real_servers_say_the_same_in_every_format(
    real_urls: dict[str, str], name: str
) -> None:
    url = real_urls[name]
    found: list[SampleBatch] = []
    for native in (False, True):
        scraper, sink, _ = make(target(url, name=name, page=PageConfig(native_histograms=native, strict=True)))  # fmt: skip
        await scraper.start()
        try:
            await until(lambda s=sink: len(s.batches) == 1, what="a page")  # type: ignore[misc]  # of this turn
            assert scraper.health().status is HealthStatus.OK
        finally:
            await scraper.stop()
        found.append(sink.batches[0])
    text, protobuf = (numbers_in(batch) for batch in found)
    assert len(text) > 50
    # The first of the two requests is told of on the second page.
    added = protobuf.keys() - text.keys()
    assert text.keys() <= protobuf.keys()
    assert all("handler=/metrics" in route for _, route in added)
    assert text["process_max_fds", "all"] == protobuf["process_max_fds", "all"] > 0
    assert not any(math.isinf(value) for value in text.values())
    calls = {
        placed.scope.route
        for columns in found[0].scraped
        for placed in columns.table.placed
        if placed.scope.stage == "edge"
    }
    assert calls or name == "alertmanager"
