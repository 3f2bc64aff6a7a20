"""Goal: a batch's one commit can be followed from each of its messages, and a whole batch costs no link.

Method: the ledger's telemetry on the SDK's own exporter in memory.
"""

from __future__ import annotations

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.telemetry import Telemetry
from sentinel.reference.ledger.telemetry.attributes import (
    database_attributes,
    messaging_attributes,
    receiver_attributes,
    request_attributes,
)
from tests.support.ledger_metrics import Counted

Told = tuple[Telemetry, InMemorySpanExporter]


@pytest.fixture
def told() -> Told:
    spans = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    telemetry = Telemetry(
        service="ledger-poster",
        tracers=tracers,
        meters=MeterProvider(shutdown_on_exit=False),
        loggers=LoggerProvider(shutdown_on_exit=False),
    )
    return telemetry, spans


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def published(telemetry: Telemetry, count: int) -> list[tuple[dict[str, str], int]]:
    messages = []
    for number in range(count):
        with telemetry.publish(message_id=str(number)) as headers:
            messages.append((headers, 1))
    return messages


def test_a_batch_links_to_every_message_and_every_message_to_the_batch(told: Told) -> None:
    telemetry, spans = told
    messages = published(telemetry, 700)
    with telemetry.process(messages, cohort=2) as batch:
        with batch.commit("ledger|ledger"):
            batch.lsn = "0/2A"
        batch.outcomes = ["posted"] * 699 + ["rejected"]
    (whole,) = named(spans, "batch ledger.transfers")
    commits = named(spans, "COMMIT transactions")
    producers = named(spans, "publish ledger.transfers")
    consumers = named(spans, "process ledger.transfers")
    assert (whole.kind, whole.parent) == (SpanKind.INTERNAL, None)
    assert whole.context is not None
    assert whole.attributes is not None
    assert whole.attributes["ledger.commit.lsn"] == "0/2A"
    assert [link.context.span_id for link in whole.links] == [
        one.context.span_id for one in producers if one.context
    ]
    assert whole.dropped_links == 0
    assert whole.attributes["messaging.batch.message_count"] == 700
    assert whole.attributes["messaging.destination.partition.id"] == "2"
    assert len(consumers) == 700
    for producer, consumer, commit in zip(producers, consumers, commits, strict=True):
        assert producer.context is not None
        assert commit.parent is not None
        assert consumer.context is not None
        assert commit.parent.span_id == consumer.context.span_id
        assert dict(commit.attributes or {})["db.operation.batch.size"] == 700
        assert consumer.parent is not None
        assert consumer.parent.span_id == producer.context.span_id
        assert [link.context.span_id for link in consumer.links] == [whole.context.span_id]
        assert consumer.attributes is not None
        assert consumer.attributes["ledger.commit.lsn"] == "0/2A"
        assert "messaging.batch.message_count" not in consumer.attributes
        assert (consumer.start_time, consumer.end_time) == (
            consumers[0].start_time,
            whole.end_time,
        )
    outcomes = [dict(one.attributes or {})["ledger.transfer.outcome"] for one in consumers]
    assert outcomes == ["posted"] * 699 + ["rejected"]


def test_a_failed_attempt_fails_each_of_its_spans_and_tells_no_outcome(told: Told) -> None:
    telemetry, spans = told
    messages = [*published(telemetry, 2), ({}, 3)]  # whoever sent the last traces nothing
    failure = UnavailableError("the lock", code="55P03")
    with (
        pytest.raises(UnavailableError),
        telemetry.process(messages, cohort=0) as batch,
        batch.commit("ledger|ledger"),
    ):
        raise failure
    (whole,) = named(spans, "batch ledger.transfers")
    assert len(whole.links) == 2
    consumers = named(spans, "process ledger.transfers")
    assert [one.parent is None for one in consumers] == [False, False, True]
    for span in (whole, *consumers, *named(spans, "COMMIT transactions")):
        assert not span.status.is_ok
        attributes = dict(span.attributes or {})
        assert attributes["error.type"] == "55P03"
        assert not attributes.keys() & {"ledger.commit.lsn", "ledger.transfer.outcome"}
    assert dict(consumers[2].attributes or {})["messaging.nats.delivery_count"] == 3


def test_what_is_told_of_a_message_links_to_the_span_that_decided_it(told: Told) -> None:
    telemetry, spans = told
    messages = [*published(telemetry, 2), ({}, 1)]  # whoever sent the last traces nothing
    with telemetry.process(messages, cohort=1) as batch, batch.commit("ledger|ledger"):
        parents = list(batch.trace_parents)
    headers = [{"Traceparent": one or ""} for one in parents]
    with telemetry.process_events([*headers, {}, {"traceparent": "00-no-no-01"}]):
        pass
    consumers = named(spans, "process ledger.transfers")
    (events,) = named(spans, "process ledger.events")
    assert (events.kind, events.parent) == (SpanKind.CONSUMER, None)
    assert [(one.context.trace_id, one.context.span_id) for one in events.links] == [
        (one.context.trace_id, one.context.span_id) for one in consumers if one.context
    ]
    attributes = dict(events.attributes or {})
    assert attributes["messaging.destination.name"] == "ledger.events"
    assert attributes["messaging.batch.message_count"] == 5
    with pytest.raises(UnavailableError), telemetry.process_events(headers):
        raise UnavailableError("away", code="57P01")
    failed = named(spans, "process ledger.events")[1]
    assert not failed.status.is_ok
    assert dict(failed.attributes or {})["error.type"] == "57P01"


def test_a_caller_that_samples_does_not_decide_what_is_kept(told: Told) -> None:
    telemetry, spans = told
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-00"}
    with (
        telemetry.request(method="POST", route="/a", path="/a", headers=headers),
        telemetry.publish(message_id="1") as carried,
    ):
        pass
    assert {
        f"{one.context.trace_id:032x}" for one in spans.get_finished_spans() if one.context
    } == {trace_id}
    assert len(spans.get_finished_spans()) == 2
    assert carried["traceparent"].endswith("-01")


def test_a_disabled_sdk_traces_nothing_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    spans = InMemorySpanExporter()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    telemetry = Telemetry(
        service="ledger-edge",
        tracers=tracers,
        meters=MeterProvider(shutdown_on_exit=False),
        loggers=LoggerProvider(shutdown_on_exit=False),
    )
    caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for given in ({}, {"traceparent": caller}):
        with (
            telemetry.request(method="POST", route="/a", path="/a", headers=given),
            telemetry.publish(message_id="1") as carried,
        ):
            pass
        # What others trace still belongs together.
        assert carried == given
        with telemetry.process([(carried, 1)], cohort=0) as batch, batch.commit("ledger|ledger"):
            assert list(batch.trace_parents) == [given.get("traceparent")]
    assert spans.get_finished_spans() == ()


def test_one_message_alone_is_no_batch_operation(told: Told) -> None:
    telemetry, spans = told
    for count in (1, 2):
        with (
            telemetry.process(published(telemetry, count), cohort=0) as batch,
            batch.commit("ledger|ledger"),
        ):
            pass
    commits = named(spans, "COMMIT transactions")
    sizes = [dict(one.attributes or {}).get("db.operation.batch.size") for one in commits]
    assert sizes == [None, 2, 2]


def test_what_is_kept_of_attributes_stays_as_it_was(told: Told) -> None:
    telemetry, spans = told
    with telemetry.request(method="GET", route="/a", path="/a", headers={}) as request:
        request.status = 503
    with pytest.raises(UnavailableError), telemetry.query("SELECT", "accounts", "l|l"):
        raise UnavailableError("away", code="57P01")
    assert request_attributes("GET", "/a")[1] == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.route": "/a",
    }
    assert "error.type" not in database_attributes("SELECT", "accounts", "l|l")
    assert "messaging.message.id" not in messaging_attributes("publish", "send")
    server = named(spans, "GET /a")[0]
    assert dict(server.attributes or {})["error.type"] == "503"


def test_a_method_that_nobody_knows_makes_no_name_of_its_own(told: Told) -> None:
    telemetry, spans = told
    with telemetry.request(method="BREW", route="/a", path="/a", headers={"TraceParent": "no"}):
        pass
    (span,) = named(spans, "HTTP /a")
    assert dict(span.attributes or {})["http.request.method"] == "_OTHER"


def test_trace_headers_are_found_in_any_case(told: Told) -> None:
    telemetry, spans = told
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"Accept-Charset": "x", "TraceParent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    with telemetry.request(method="GET", route="/a", path="/a", headers=headers):
        pass
    (span,) = named(spans, "GET /a")
    assert span.context is not None
    assert f"{span.context.trace_id:032x}" == trace_id


def test_what_is_tallied_is_what_a_counter_would_say() -> None:
    counted = Counted()
    for reason in ("insufficient_funds", "balance_limit", "insufficient_funds"):
        counted.telemetry.transfer_rejected(reason)
    counted.telemetry.transfer_posted(0.1)
    counted.telemetry.transfers_accepted(3)
    for _ in range(2):  # it is cumulative: to be read does not empty it
        assert counted.value("ledger.transfers.rejected", "insufficient_funds") == 2
        assert counted.value("ledger.transfers.rejected") == 3
        assert counted.value("ledger.transfers.posted") == 1
        assert counted.value("ledger.transfers.accepted") == 3
    assert counted.value("ledger.transfers.repeated") == 0


@pytest.mark.parametrize(
    ("url", "address", "port", "full"),
    [
        (
            "https://hooks.example/a/b?key=1#x",
            "hooks.example",
            443,
            "https://hooks.example/REDACTED",
        ),
        ("https://u:p@Hooks.example/", "hooks.example", 443, "https://hooks.example/"),
        ("https://hooks.example", "hooks.example", 443, "https://hooks.example/"),
        (
            "https://hooks.example:8443/s",
            "hooks.example",
            8443,
            "https://hooks.example:8443/REDACTED",
        ),
        ("http://[::1]:80/s", "::1", 80, "http://[::1]/REDACTED"),
    ],
)
def test_a_call_names_its_receiver_and_no_secret_of_the_url(
    url: str, address: str, port: int, full: str
) -> None:
    """Paths of webhooks are secrets as often as queries are."""
    assert receiver_attributes(url) == {
        "server.address": address,
        "server.port": port,
        "url.full": full,
    }


@pytest.mark.parametrize("url", ["", "https://", "https://x:99999/", "ftp://x/", "http://[::1"])
def test_what_is_no_url_of_a_receiver_has_no_attributes(url: str) -> None:
    assert receiver_attributes(url) == {}
