"""Goal: what Kong logs of a request becomes one call, its outcomes and its line, and nothing a client wrote is kept.

Method: payloads of tests/data/kong, whole and bent.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from sentinel.core.model import RejectReason, SampleBatch, Scope, SeriesKey
from sentinel.core.normalise.kong import log as kong_log
from sentinel.core.normalise.kong import tiers
from sentinel.core.normalise.kong.log import KongLogReader, KongLogSettings
from sentinel.core.normalise.kong.rows import Row
from sentinel.core.normalise.kong.tiers import TierRule, Tiers
from sentinel.core.normalise.otlp_logs_encode import encode_logs_request
from sentinel.core.stats import log_linear
from sentinel.errors import MalformedInputError

DATA = Path(__file__).parents[4] / "data" / "kong"
NOW_NS = 1_790_000_010 * 10**9
ORDERS = Scope("kong", "edge", "orders-v1")
TIERS = Tiers(
    [TierRule(tier="gold", tags=("plan-gold",)), TierRule(tier="free", usernames=("trial-*",))]
)
SECRETS = ("4111111111111111", "s3cr3t", "c00kie", "203.0.113.7")


def _read(
    payload: bytes | dict[str, Any] | list[Any], settings: KongLogSettings | None = None
) -> tuple[list[Row], SampleBatch, dict[RejectReason, int]]:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    reader = KongLogReader(settings or KongLogSettings())
    rows, rejected = reader.rows(body, now_ns=NOW_NS)
    return rows, reader.batch(rows), rejected


def _single(**changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((DATA / "http_log_single.json").read_text())
    return {**record, **changes}


def _events(batch: SampleBatch) -> dict[SeriesKey, list[float]]:
    assert batch.events is not None
    found: dict[SeriesKey, list[float]] = {key: [] for key in batch.events.keys}
    for at, value in zip(
        batch.events.key_index.tolist(), batch.events.value.tolist(), strict=True
    ):
        found[batch.events.keys[at]].append(value)
    return found


def _counted(batch: SampleBatch, scope: Scope) -> dict[str, int]:
    """How many events that are only counted each signal of a place has; those looked at and not found are 0."""
    return {
        key.signal: len(values)
        for key, values in _events(batch).items()
        if key.scope == scope and all(math.isnan(value) for value in values)
    }


def test_one_record_is_one_call_with_its_latencies_and_its_line() -> None:
    rows, batch, rejected = _read((DATA / "http_log_single.json").read_bytes())
    (row,) = rows
    assert not rejected
    assert batch.services == {"kong"}
    calls = batch.calls
    assert calls is not None
    assert calls.complete
    assert calls.scopes == (ORDERS,)
    assert calls.duration_s.tolist() == [0.045]
    assert calls.error.tolist() == [False]
    # Began at …010 ms, took 45: a call is counted when it ends, as its span is.
    assert calls.end_ns.tolist() == [1_790_000_000_055 * 10**6]
    (exemplar,) = calls.exemplars
    assert exemplar.trace_id == row.trace_id == "0af7651916cd43dd8448eb2100000001"
    events = _events(batch)
    assert events[SeriesKey(*ORDERS, "kong_latency_p95_s")] == [0.003]
    assert events[SeriesKey(*ORDERS, "upstream_latency_p95_s")] == [0.041]
    (record,) = batch.logs
    assert (record.severity, record.event, record.body) == (9, "kong.request", "")


def test_a_batch_tells_what_became_of_each_call() -> None:
    settings = KongLogSettings(tiers=TIERS)
    rows, batch, rejected = _read((DATA / "http_log_batch.json").read_bytes(), settings)
    assert len(rows) == 9
    assert not rejected
    assert batch.calls is not None
    places = [batch.calls.scopes[at] for at in batch.calls.scope_index.tolist()]
    other = Scope("kong", "edge", "other")
    assert places == [ORDERS] * 7 + [other] + [ORDERS]
    assert batch.calls.error.tolist() == [False] * 5 + [True, True, False, False]
    assert _counted(batch, ORDERS) == {
        "rate_limited_per_s": 1,
        "denied_per_s": 1,
        "unauthenticated_per_s": 1,
        "refused_per_s": 0,
        # One 5xx each: what the upstream answered, and what Kong made because there was none.
        "upstream_errors_per_s": 1,
        "gateway_errors_per_s": 1,
        "failed_tries_per_s": 2,
    }
    assert _counted(batch, other)["refused_per_s"] == 1
    assert _counted(batch, Scope("kong", "tier", "gold")) == {
        "requests_per_s": 1,
        "rate_limited_per_s": 0,
    }
    assert _counted(batch, Scope("kong", "tier", "free")) == {
        "requests_per_s": 1,
        "rate_limited_per_s": 1,
    }
    assert _counted(batch, Scope("kong", "tier", "free orders-v1")) == {"rate_limited_per_s": 1}
    assert _counted(batch, Scope("kong", "tier", "anonymous"))["requests_per_s"] == 7
    # No upstream was reached where the latency is -1.
    assert len(_events(batch)[SeriesKey(*ORDERS, "upstream_latency_p95_s")]) == 4
    severities = [record.severity for record in batch.logs]
    assert severities == [9, 9, 13, 13, 13, 17, 17, 13, 13]
    assert batch.logs[6].body == (
        "GET /v1/orders/{id} answered 502 by kong, route orders-v1, service orders, upstream status 502, failed tries 1,"
        " request id 6f1e0b9c4f1b4a0d8a3f5d0e00000007"
    )


def test_nothing_that_a_client_wrote_is_kept() -> None:
    settings = KongLogSettings(as_otlp=True, tiers=TIERS)
    for name in ("http_log_single.json", "http_log_batch.json", "http_log_stream.json"):
        rows, batch, _ = _read((DATA / name).read_bytes(), settings)
        handed_on = encode_logs_request([row.otlp for row in rows], resource={})
        for secret in SECRETS:
            assert secret not in repr(batch)
            assert secret not in repr(rows)
            assert secret.encode() not in handed_on


def test_secrets_in_a_path_are_taken_out() -> None:
    record = _single()
    record["response"]["status"] = 500
    record["request"]["uri"] = (
        "/mail/jane@example.com/card/4111111111111111/0af7651916cd43dd8448eb211c80319c"
    )
    _, batch, _ = _read(record)
    (line,) = batch.logs
    assert line.body.startswith("GET /mail/[EMAIL]/card/{id}/{id} answered 500 by upstream")


def test_records_handed_on_are_read_by_others() -> None:
    settings = KongLogSettings(as_otlp=True, tiers=TIERS)
    rows, _, _ = _read((DATA / "http_log_batch.json").read_bytes(), settings)
    body = encode_logs_request([row.otlp for row in rows], resource={"service.name": "kong"})
    records = ExportLogsServiceRequest.FromString(body).resource_logs[0].scope_logs[0].log_records
    assert len(records) == 9
    limited = records[2]
    attributes = {each.key: each.value for each in limited.attributes}
    assert limited.event_name == "kong.request"
    assert limited.severity_number == 13
    assert attributes["http.response.status_code"].int_value == 429
    assert attributes["kong.response.source"].string_value == "kong"
    assert attributes["kong.consumer.tier"].string_value == "free"
    assert attributes["url.path"].string_value == "/v1/orders/{id}"
    assert limited.trace_id.hex() == "0af7651916cd43dd8448eb2100000003"
    assert limited.body.string_value.startswith("GET /v1/orders/{id} answered 429 by kong")


def test_a_session_is_a_call_at_a_stage_of_its_own() -> None:
    _, batch, rejected = _read((DATA / "http_log_stream.json").read_bytes())
    assert not rejected
    assert batch.calls is not None
    assert batch.calls.scopes == (Scope("kong", "stream", "db"),)
    assert batch.calls.duration_s.tolist() == [30.012]
    assert batch.logs[0].event == "kong.session"


def test_a_log_of_some_routes_is_no_word_on_all_calls() -> None:
    """Then spans or metrics of the gateway count, and what its log tells of only where nothing else does."""
    settings = KongLogSettings(every_route=False)
    _, batch, _ = _read((DATA / "http_log_batch.json").read_bytes(), settings)
    assert batch.calls is None
    told = [record.call for record in batch.logs]
    assert [call.scope for call in told if call is not None][:2] == [ORDERS, ORDERS]
    assert [call.error for call in told if call is not None] == [False] * 5 + [
        True,
        True,
        False,
        False,
    ]


def test_the_same_record_has_the_same_identity() -> None:
    first, _, _ = _read((DATA / "http_log_single.json").read_bytes())
    again, _, _ = _read((DATA / "http_log_batch.json").read_bytes())
    assert first[0].identity == again[0].identity
    assert len({row.identity for row in again}) == 9
    # A Kong before 3.5 gives no id; then the whole record is compared.
    old = _single()
    del old["request"]["id"]
    later = {**old, "started_at": old["started_at"] + 1}
    rows, _, _ = _read([old, dict(reversed(old.items())), later])
    assert rows[0].identity == rows[1].identity != rows[2].identity


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("text", RejectReason.BAD_SHAPE),
        (None, RejectReason.BAD_SHAPE),
        ([], RejectReason.BAD_SHAPE),
        ({}, RejectReason.BAD_SHAPE),
        (_single(response={"status": "200"}), RejectReason.BAD_SHAPE),
        (_single(response={"status": True}), RejectReason.BAD_SHAPE),
        (_single(response={"status": 0}), RejectReason.BAD_SHAPE),
        (_single(response=[]), RejectReason.BAD_SHAPE),
        (_single(started_at=None), RejectReason.NO_TIME),
        (_single(started_at=-1), RejectReason.NO_TIME),
        (_single(started_at=1e300), RejectReason.NO_TIME),
        (_single(started_at=1_890_000_000_000), RejectReason.FUTURE),
    ],
)
def test_what_is_no_record_is_rejected_alone(record: Any, reason: RejectReason) -> None:
    rows, batch, rejected = _read([_single(), record])
    assert rejected == {reason: 1}
    assert len(rows) == len(batch.logs) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {name: value}
        for name in (
            "request",
            "latencies",
            "tries",
            "upstream_status",
            "service",
            "route",
            "consumer",
            "source",
            "trace_id",
            "client_ip",
            "workspace",
        )
        for value in (None, 7, "x", [], [None], {}, {"id": 7}, True)
    ],
)
def test_fields_that_are_not_kongs_are_passed_over(changes: dict[str, Any]) -> None:
    rows, batch, rejected = _read(
        [_single(**changes), _single(**changes, response={"status": 503})],
        KongLogSettings(as_otlp=True, tiers=TIERS),
    )
    assert not rejected
    assert len(rows) == 2
    assert batch.calls is not None
    assert batch.calls.error.tolist() == [False, True]


@pytest.mark.parametrize("value", [None, -1, 1e12, "41", True, [41]])
def test_a_duration_that_is_none_is_not_known(value: object) -> None:
    record = _single()
    record["latencies"] = {"request": value, "kong": value, "proxy": value}
    rows, batch, _ = _read(record)
    assert math.isnan(rows[0].duration_s)
    assert batch.events is None
    (line,) = _read(record, KongLogSettings(every_route=False))[1].logs
    assert line.call is not None
    assert line.call.bucket == log_linear.UNTIMED


@pytest.mark.parametrize(
    ("source", "upstream_status", "status", "by"),
    [
        (None, "502, 200", 200, "upstream"),
        (None, "", 503, "kong"),
        (None, "502", 429, "kong"),
        ("service", "", 503, "upstream"),
    ],
)
def test_who_answered_is_worked_out_where_it_is_not_said(
    source: str | None, upstream_status: str, status: int, by: str
) -> None:
    record = _single(source=source, upstream_status=upstream_status, response={"status": status})
    rows, _, _ = _read(record, KongLogSettings(as_otlp=True))
    body = encode_logs_request([rows[0].otlp], resource={})
    (line,) = ExportLogsServiceRequest.FromString(body).resource_logs[0].scope_logs[0].log_records
    assert f"answered {status} by {by}" in line.body.string_value


def test_bytes_that_are_no_text_cost_no_record() -> None:
    """A caller's header in Latin-1, or %00 in its query, made the whole batch unreadable, and Kong sent it for a minute."""
    text = json.dumps([_single(), _single()])
    body = text.encode().replace(b"till/2.4", b"caf\xe9 \xff\xed\xa0\x80")
    body = body.replace(b"shop.example:8000", b"x\\u0000y")
    rows, _, rejected = _read(body)
    assert len(rows) == 2
    assert not rejected
    # An escaped backslash before it is no escape of NUL; with one more it is again.
    for backslashes in range(1, 8):
        agent = b"\\" * backslashes + b"u0000"
        rows, _, _ = _read(text.encode().replace(b"till/2.4", agent))
        assert len(rows) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * 10_000 + b"{}]",
        b"",
        b"{",
        b"[{]",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b"[" * 40 + b"]" * 40,
        b'{"a":"\\ud800"}',
    ],
)
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedInputError):
        _read(body)


def test_names_are_bounded_and_their_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    record = _single(route={"name": "r" * 100_000})
    rows, _, _ = _read(record)
    assert len(rows[0].scope.route) <= 160
    monkeypatch.setattr(kong_log, "_PLACES_MAX", 30)
    monkeypatch.setattr(tiers, "_KNOWN_MAX", 30)
    rules = Tiers([TierRule(tier="gold", usernames=("acme-*",))])
    reader = KongLogReader(KongLogSettings(tiers=rules))
    for start in range(0, 300, 20):
        many = [
            _single(route={"name": f"r{each}"}, consumer={"username": f"u{each}"})
            for each in range(start, start + 20)
        ]
        reader.rows(json.dumps(many).encode(), now_ns=NOW_NS)
        assert len(reader._scopes) <= 30 + 40
        assert len(rules._known) <= 30
