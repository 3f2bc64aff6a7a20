"""Goal: no span and no log record is lost without being counted, whether the queue was full or the endpoint took nothing.

Method: the ledger's processors on exporters that block, refuse or fail as they are told, and many threads at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.metrics import Counter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from sentinel.reference.ledger.telemetry.losses import (
    METRIC,
    CountedLogs,
    CountedSpans,
    losses_counter,
)
from tests.support.ledger_metrics import Counted


class Endpoint:
    """Takes what comes while its gate is open, and answers as it is told."""

    def __init__(self, good: object, bad: object) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.arrived_count = 0
        self.is_away = self.is_broken = False
        self._good, self._bad = good, bad

    def export(self, batch: Sequence[Any]) -> Any:
        """Take a batch."""
        assert self.gate.wait(20)
        if self.is_broken:
            raise OSError("broken")
        if self.is_away:
            return self._bad
        self.arrived_count += len(batch)
        return self._good

    def shutdown(self) -> None:
        """Do nothing."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Say that nothing waits."""
        return True


class SpansEndpoint(Endpoint, SpanExporter):
    """Of spans."""

    def __init__(self) -> None:
        super().__init__(SpanExportResult.SUCCESS, SpanExportResult.FAILURE)


class LogsEndpoint(Endpoint, LogRecordExporter):
    """Of log records."""

    def __init__(self) -> None:
        super().__init__(LogRecordExportResult.SUCCESS, LogRecordExportResult.FAILURE)


def spans(lost: Counter, count_max: int) -> tuple[Endpoint, Callable[[], object], TracerProvider]:
    endpoint, provider = SpansEndpoint(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        CountedSpans(endpoint, lost, count_max=count_max, delay_ms=3_600_000)
    )
    return endpoint, lambda: provider.get_tracer("test").start_span("x").end(), provider


def logs(lost: Counter, count_max: int) -> tuple[Endpoint, Callable[[], object], LoggerProvider]:
    endpoint, provider = LogsEndpoint(), LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(
        CountedLogs(endpoint, lost, count_max=count_max, delay_ms=3_600_000)
    )
    return endpoint, lambda: provider.get_logger("test").emit(body="x"), provider


BOTH = pytest.mark.parametrize("made", [spans, logs])


@BOTH
def test_what_a_full_queue_does_not_take_is_counted(made: Any) -> None:
    counted = Counted()
    endpoint, tell, provider = made(losses_counter(counted.telemetry.meter), 10)
    endpoint.gate.clear()
    with ThreadPoolExecutor(8) as threads:
        # The exporter holds a batch of ten at most, and the queue as many.
        for one in [threads.submit(tell) for _ in range(500)]:
            one.result()
    lost_count = counted.value(METRIC, "queue_full")
    assert 480 <= lost_count <= 490
    endpoint.gate.set()
    provider.force_flush()
    assert endpoint.arrived_count + lost_count == 500
    # There is room again.
    tell()
    provider.force_flush()
    assert endpoint.arrived_count + lost_count == 501
    assert counted.value(METRIC) == lost_count
    provider.shutdown()


@BOTH
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_the_endpoint_does_not_take_is_counted(made: Any) -> None:
    counted = Counted()
    endpoint, tell, provider = made(losses_counter(counted.telemetry.meter), 100)
    for is_away, is_broken in ((True, False), (False, True), (False, False)):
        endpoint.is_away, endpoint.is_broken = is_away, is_broken
        for _ in range(7):
            tell()
        provider.force_flush()
    assert endpoint.arrived_count == 7
    assert counted.value(METRIC, "not_taken") == 14
    assert counted.value(METRIC) == 14
    provider.shutdown()


def test_the_counter_is_there_before_anything_was_lost() -> None:
    counted = Counted()
    losses_counter(counted.telemetry.meter)
    assert counted.value(METRIC) == 0
    assert counted.names() >= {METRIC}
