"""Goal: log records keep service, time, severity and event; the text of those that matter, without secrets.

Method: requests in OpenTelemetry's own messages, in both encodings, decoded and read back.
"""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as WireRecord

from sentinel.core.model import RejectReason, SampleBatch
from sentinel.core.normalise import OtlpDecoder
from sentinel.errors import MalformedInputError
from tests.support.otlp_messages import (
    NOW_NS,
    SECOND_NS,
    as_json,
    attribute,
    field,
    nested_value,
    resource,
)


def record(text: str = "failed", *, severity: int = 17) -> WireRecord:
    made = WireRecord(time_unix_nano=NOW_NS, severity_number=severity)  # type: ignore[arg-type]
    made.body.string_value = text
    return made


def decode(*records: WireRecord, is_json: bool = False) -> SampleBatch:
    request = ExportLogsServiceRequest()
    request.resource_logs.add(resource=resource("ledger")).scope_logs.add().log_records.extend(
        records
    )
    body = as_json(request) if is_json else request.SerializeToString()
    return OtlpDecoder().decode_logs(body, now_ns=NOW_NS, is_json=is_json)


@pytest.mark.parametrize("is_json", [False, True])
def test_a_record_keeps_what_names_it(*, is_json: bool) -> None:
    wire = record("card 4111111111111111 refused")
    wire.trace_id = bytes(range(16))
    wire.event_name = "card.refused"
    (log,) = decode(wire, is_json=is_json).logs
    assert (log.service, log.time_ns, log.severity) == ("ledger", NOW_NS, 17)
    assert (log.event, log.body) == ("card.refused", "card [PAN] refused")
    assert log.trace_id == bytes(range(16)).hex()


def test_the_event_may_come_as_an_attribute() -> None:
    wire = record()
    wire.attributes.extend([attribute("tenant", "a"), attribute("event.name", "lock.timeout")])
    assert decode(wire).logs[0].event == "lock.timeout"


def test_the_text_of_lesser_records_is_not_kept() -> None:
    assert decode(record("noise", severity=9)).logs[0].body == ""


@pytest.mark.parametrize(("text", "severity"), [("ERROR", 17), ("warn", 13), ("whatever", 0)])
def test_severity_may_come_as_text(text: str, severity: int) -> None:
    wire = record(severity=0)
    wire.severity_text = text
    assert decode(wire).logs[0].severity == severity


def test_a_structured_body_is_written_out() -> None:
    wire = WireRecord(time_unix_nano=NOW_NS, severity_number=17)  # type: ignore[arg-type]
    pairs = wire.body.kvlist_value.values
    pairs.append(attribute("step", "commit"))
    pairs.append(attribute("password", "hunter2"))
    assert decode(wire).logs[0].body == "step=commit password=[SECRET]"


def test_a_long_text_is_cut() -> None:
    assert len(decode(record("x" * 100_000)).logs[0].body) == 1024


def test_observed_time_stands_in_and_no_time_is_rejected() -> None:
    observed, none, ahead = record(), record(), record()
    observed.time_unix_nano, observed.observed_time_unix_nano = 0, NOW_NS - 5
    none.time_unix_nano = 0
    ahead.time_unix_nano = NOW_NS + 301 * SECOND_NS
    batch = decode(observed, none, ahead)
    assert [log.time_ns for log in batch.logs] == [NOW_NS - 5]
    assert batch.rejected == {RejectReason.NO_TIME: 1, RejectReason.FUTURE: 1}


@pytest.mark.parametrize("depth", [33, 90, 20_000])
def test_a_body_nested_without_end_is_malformed(depth: int) -> None:
    wire = WireRecord(time_unix_nano=NOW_NS, severity_number=17)  # type: ignore[arg-type]
    bomb = wire.SerializeToString() + field(5, nested_value(depth))
    body = field(1, field(2, field(2, bomb)))
    with pytest.raises(MalformedInputError, match="nested deeper"):
        OtlpDecoder().decode_logs(body, now_ns=NOW_NS)


def test_a_body_may_be_nested_a_little() -> None:
    wire = WireRecord(time_unix_nano=NOW_NS, severity_number=17)  # type: ignore[arg-type]
    body = field(1, field(2, field(2, wire.SerializeToString() + field(5, nested_value(3)))))
    (log,) = OtlpDecoder().decode_logs(body, now_ns=NOW_NS).logs
    assert log.body == "[[[deep]]]"
