"""Goal: an outage that only metrics tell of pages, and switching tracing on or off pages nobody.

Method: the whole program on a manual clock; a service that sends cumulative histograms of its calls' durations, as the
SDKs do, some of the time with spans of the same calls.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from tests.support.alertmanager_server import collector
from tests.support.otlp_messages import attribute, resource
from tests.support.whole_app import (
    SECOND_NS,
    SENT_AFTER_S,
    Calls,
    Sidecar,
    config_of,
    sidecar,
    windows_until_resolved,
)

pytestmark = pytest.mark.timeout(60)

CALM = Calls()
BURST = Calls(failed_count=40)


class Measured:
    """A service's `http.server.request.duration`, which counts from its start on."""

    def __init__(self, side: Sidecar, *, report_every: int) -> None:
        self._side = side
        self._report_every = report_every
        self._start_ns = side.next_ns
        self._window_count = 0
        self._good = 0
        self._failed = 0

    async def window(self, calls: Calls | None, *, traced: bool = False) -> None:
        """One window of calls; they are reported with the windows before when a report is due."""
        if calls is not None:
            self._good += calls.count - calls.failed_count
            self._failed += calls.failed_count
        await self._side.send(*((calls,) if calls is not None and traced else ()))
        self._window_count += 1
        if self._window_count % self._report_every == 0:
            assert await self._side.post("/v1/metrics", self._report()) == 200
        await self._side.close()

    async def windows(self, count: int, calls: Calls | None, *, traced: bool = False) -> None:
        """So many equal windows."""
        for _ in range(count):
            await self.window(calls, traced=traced)

    def _report(self) -> bytes:
        request = ExportMetricsServiceRequest()
        group = request.resource_metrics.add(resource=resource("ledger"))
        metric = group.scope_metrics.add().metrics.add(
            name="http.server.request.duration", unit="s"
        )
        metric.histogram.aggregation_temporality = 2  # type: ignore[assignment]
        for code, count in (("202", self._good), ("500", self._failed)):
            if count:
                metric.histogram.data_points.add(
                    start_time_unix_nano=self._start_ns,
                    time_unix_nano=self._side.next_ns + round(SENT_AFTER_S * SECOND_NS),
                    count=count,
                    sum=0.05 * count,
                    bucket_counts=[0, count, 0],
                    explicit_bounds=[0.025, 0.1],
                    attributes=[
                        attribute("http.request.method", "POST"),
                        attribute("http.route", "/v1/transfers"),
                        attribute("http.response.status_code", int(code)),
                    ],
                )
        return request.SerializeToString()


@pytest.mark.parametrize("report_every", [1, 6])
async def test_failing_calls_page_and_resolve(tmp_path: Path, report_every: int) -> None:
    """Metrics alone were gauges, of which it is not known which way is bad: such an outage opened a ticket at most."""
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            ledger = Measured(side, report_every=report_every)
            await ledger.windows(4 * report_every, CALM)
            assert hook.distinct() == []
            await ledger.windows(2 * report_every, BURST)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert page["labels"]["alertname"] == "SentinelGuard"
            assert page["labels"]["severity"] == "page"
            assert "POST /v1/transfers" in page["annotations"]["summary"]
            await ledger.windows(windows_until_resolved() + 2 * report_every, CALM)
            await side.sees(lambda: bool(hook.distinct("resolved")), "the resolve")
            assert len(hook.distinct()) == 2


async def test_calls_that_stop_page(tmp_path: Path) -> None:
    """After the minute that the guard waits for, not before; a page that was quick to arrive once looked like one too early."""
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            ledger = Measured(side, report_every=1)
            await ledger.windows(32, CALM)
            await ledger.windows(5, None)
            assert await side.incidents() == []
            await ledger.window(None)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            (page,) = hook.distinct()
            assert "no calls at edge POST /v1/transfers" in page["annotations"]["summary"]


@pytest.mark.parametrize("report_every", [1, 6])
async def test_switching_tracing_off_and_on_pages_nobody(
    tmp_path: Path, report_every: int
) -> None:
    """The traffic a person sees is the same; only who tells of it changes."""
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            ledger = Measured(side, report_every=report_every)
            await ledger.windows(37, CALM, traced=True)
            await ledger.windows(40, CALM)
            await ledger.windows(20, CALM, traced=True)
            assert hook.distinct() == []
            assert await side.incidents() == []


async def test_a_service_that_reports_once_a_minute_is_not_blind_between(tmp_path: Path) -> None:
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            ledger = Measured(side, report_every=6)
            await ledger.windows(60, CALM)
            assert hook.distinct() == []
            # It dies: the next report is waited for, then it is blind, and not "calls have stopped".
            await side.windows(24, Calls(service="other"))
            await side.sees(lambda: bool(hook.distinct()), "the ticket")
            (ticket,) = hook.distinct()
            assert ticket["labels"]["alertname"] == "SentinelBlind"
            assert ticket["labels"]["service"] == "ledger"
