"""Goal: the version that a service names of itself is known of whatever it sends.

Method: one resource, with a version and without, in each of OTLP's three requests.
"""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sentinel.core.model import SampleBatch
from sentinel.core.normalise import OtlpDecoder
from tests.support.otlp_messages import (
    INTERNAL,
    NOW_NS,
    SERVER,
    Value,
    attribute,
    resource,
    span,
)

NAMED = [("ledger", "1.4.2")]


def traces_batch(*versions: Value, kind: int = SERVER) -> SampleBatch:
    request = ExportTraceServiceRequest()
    named = request.resource_spans.add(resource=resource("ledger"))
    named.resource.attributes.extend(attribute("service.version", one) for one in versions)
    named.scope_spans.add().spans.append(span(kind=kind))
    return OtlpDecoder().decode_traces(request.SerializeToString(), now_ns=NOW_NS, is_json=False)


def test_spans_tell_the_version_also_those_that_are_no_calls() -> None:
    assert sorted(traces_batch("1.4.2").versions) == NAMED
    inner = traces_batch("1.4.2", kind=INTERNAL)
    assert (inner.call_count, sorted(inner.versions)) == (0, NAMED)
    assert traces_batch().versions == frozenset()


@pytest.mark.parametrize("nothing", ["", " \n"])
def test_an_empty_version_is_none(nothing: str) -> None:
    assert traces_batch(nothing).versions == frozenset()


def test_of_two_the_first_counts_and_secrets_in_it_are_not_kept() -> None:
    assert sorted(traces_batch("1.4.2", "9").versions) == NAMED
    [(_, version)] = traces_batch("mail bob@example.com").versions
    assert "bob" not in version


def test_metrics_and_logs_tell_it_too() -> None:
    metrics = ExportMetricsServiceRequest()
    of_metrics = metrics.resource_metrics.add(resource=resource("ledger"))
    of_metrics.resource.attributes.append(attribute("service.version", "1.4.2"))
    logs = ExportLogsServiceRequest()
    of_logs = logs.resource_logs.add(resource=resource("ledger"))
    of_logs.resource.attributes.append(attribute("service.version", "1.4.2"))
    decoder = OtlpDecoder()
    for batch in (
        decoder.decode_metrics(metrics.SerializeToString(), now_ns=NOW_NS, is_json=False),
        decoder.decode_logs(logs.SerializeToString(), now_ns=NOW_NS, is_json=False),
    ):
        assert sorted(batch.versions) == NAMED
        assert batch.services == frozenset({"ledger"})
