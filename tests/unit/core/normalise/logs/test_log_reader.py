"""Goal: lines of common loggers say what they mean, text that is shown or handed on holds no secret, and no line breaks a batch.

Method: one line of each logger as its documentation shows it, read by a fresh reader; hostile lines among good ones.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from sentinel.core.model import LogKind, RejectReason
from sentinel.core.normalise.logs.joined import Record
from sentinel.core.normalise.logs.reader import LogReader, LogsRead
from sentinel.core.normalise.logs.settings import LogFormat, LogKeys, ReaderSettings
from sentinel.core.normalise.otlp_logs_encode import encode_logs_request
from sentinel.core.stats import log_linear

AT_S = 1_795_329_337  # 2026-11-22T06:35:37Z
NOW_NS = (AT_S + 1) * 10**9
TRACE = "0af7651916cd43dd8448eb211c80319c"
CARD = "4111 1111 1111 1111"


def read(*lines: str | bytes, uid: str | None = None, **settings: Any) -> LogsRead:
    records = [
        Record(at, "", line if isinstance(line, bytes) else line.encode())
        for at, line in enumerate(lines)
    ]
    reader = LogReader(ReaderSettings(**settings))
    return reader.read(records, service="pay", now_ns=NOW_NS, uid=uid)


def only(*lines: str | bytes, **settings: Any) -> tuple[LogKind, int, int]:
    """Kind, time and duration bucket of the one record."""
    columns = read(*lines, **settings).batch.log_columns
    assert columns is not None
    assert len(columns.time_ns) == 1
    return columns.kinds[0], int(columns.time_ns[0]), int(columns.bucket[0])


ISO = "2026-11-22T06:35:37.250Z"
AT_NS = AT_S * 10**9 + 250_000_000
LOGGERS = {
    "structlog": ({"event": "transfer.posted", "level": "info", "timestamp": ISO}, 9, "transfer.posted", ""),
    "structlog_text": ({"event": "user 12 is gone", "level": "error", "timestamp": ISO}, 17, "", "user * is gone"),
    "python_json_logger": ({"asctime": "2026-11-22 06:35:37,250", "levelname": "WARNING", "message": "x 1"}, 13, "", "x *"),
    "python_numbers": ({"created": 1, "time": ISO, "levelno": 40, "message": "x"}, 17, "", "x"),
    "pino": ({"level": 50, "time": AT_S * 1000 + 250, "pid": 1, "hostname": "h", "msg": "boom"}, 17, "", "boom"),
    "bunyan": ({"v": 0, "level": 30, "name": "a", "time": ISO, "msg": "ok"}, 9, "", "ok"),
    "zap": ({"level": "error", "ts": AT_S + 0.25, "caller": "a.go:1", "msg": "boom"}, 17, "", "boom"),
    "logrus": ({"level": "fatal", "msg": "boom", "time": ISO}, 21, "", "boom"),
    "logback": ({"@timestamp": ISO, "level": "ERROR", "level_value": 40000, "message": "boom", "logger_name": "a.B"}, 17, "", "boom"),
    "log4j": ({"instant": {"epochSecond": AT_S, "nanoOfSecond": 250_000_000}, "level": "WARN", "message": "m"}, 13, "", "m"),
    "serilog": ({"@t": ISO, "@l": "Error", "@mt": "Failed for {User}"}, 17, "", "Failed for {User}"),
    "ecs_dotted": ({"@timestamp": ISO, "log.level": "error", "message": "boom", "event.action": "login"}, 17, "login", ""),
    "ecs_nested": ({"@timestamp": ISO, "log": {"level": "error"}, "message": "boom", "event": {"action": "login"}}, 17, "login", ""),
    "postgres_json": ({"timestamp": "2026-11-22 06:35:37.250 UTC", "pid": 9, "error_severity": "PANIC", "message": "gone"}, 24, "", "gone"),
    "google": ({"severity": "CRITICAL", "time": ISO, "message": "boom"}, 21, "", "boom"),
    "gelf": ({"version": "1.1", "level": 3, "timestamp": AT_S + 0.25, "short_message": "boom"}, 17, "", "boom"),
    "opentelemetry": ({"severity_number": 14, "timestamp": str(AT_S * 10**9 + 250_000_000), "body": "b", "event_name": "e"}, 14, "e", ""),
    "no_severity": ({"time": ISO, "msg": "b"}, 0, "", "b"),
}  # fmt: skip


@pytest.mark.parametrize("logger", LOGGERS)
def test_json_of_common_loggers(logger: str) -> None:
    fields, severity, event, gist = LOGGERS[logger]
    kind, time_ns, bucket = only(json.dumps(fields))
    assert (kind.severity, kind.event, kind.gist) == (severity, event, gist)
    assert time_ns == AT_NS
    assert (kind.service, kind.place, bucket) == ("pay", None, log_linear.UNTIMED)


TEXTS = {
    "2026-11-22 06:35:37.250 UTC [9] app@db ERROR:  duplicate key 12": (17, "duplicate key *"),
    "2026/11/22 06:35:37 [crit] 7#7: *1 connect() failed (111: refused), client: 1.2.3.4": (21, "connect() failed (*: refused)"),
    "E1122 06:35:37.250000       1 store.go:42] no such key: 12": (17, "no such key: *"),
    'ts=2026-11-22T06:35:37.250Z level=warn msg="slow by 12 ms" n=3': (13, "slow by * ms"),
    "2026-11-22 06:35:37,250 ERROR [main] a.B - boom 3": (17, "[main] a.B - boom *"),
    "[2026-11-22T06:35:37.250+00:00] INFO: started": (9, "started"),
    "something happened": (0, "something happened"),
}  # fmt: skip


@pytest.mark.parametrize("line", TEXTS)
def test_lines_of_text(line: str) -> None:
    severity, gist = TEXTS[line]
    kind, time_ns, _ = only(line)
    assert (kind.severity, kind.gist) == (severity, gist)
    if line[0] == "s":
        assert time_ns == NOW_NS
    else:
        assert time_ns // 10**9 == AT_S


ACCESS = {
    'gateway - - [22/Nov/2026:06:35:37 +0000] "GET /v1/x?a=1 HTTP/1.1" 502 157 "-" "curl/8" 0.250': "GET",
    '{"time_iso8601":"2026-11-22T06:35:37+00:00","request_method":"GET","status":502,"request_time":0.25,"route":"/v1/x"}': "GET /v1/x",
    '{"level":50,"time":1795329337000,"req":{"method":"GET","url":"/1"},"res":{"statusCode":502},"responseTime":250,"msg":"failed"}': "GET",
    '{"severity":"ERROR","time":"2026-11-22T06:35:37Z","httpRequest":{"requestMethod":"GET","status":502,"latency":"0.25s"}}': "GET",
    '{"time":"2026-11-22T06:35:37Z","method":"GET","status":"502","duration_ms":250,"route":"/v1/x","event":"request"}': "GET /v1/x",
}  # fmt: skip


@pytest.mark.parametrize("line", ACCESS)
def test_lines_that_tell_of_a_call(line: str) -> None:
    kind, _, bucket = only(line)
    assert kind.place is not None
    assert (kind.place.stage, kind.place.route, kind.error) == ("edge", ACCESS[line], True)
    assert kind.severity == 17
    assert bucket == log_linear.bucket_of([0.25])[0]
    assert read(line).tells_of_calls == {"pay"}


def test_a_call_to_another_server_is_no_call_answered_here() -> None:
    line = {"url.full": "http://a/b", "http.request.method": "GET", "status": 500, "message": "m"}
    kind, _, _ = only(json.dumps(line))
    assert kind.place is None


def test_own_names_of_fields_come_first() -> None:
    keys = LogKeys(severity=("meta>sev",), event=("what",), time=("when",), service=("app_name",))
    line = {
        "meta": {"sev": "error"},
        "level": "info",
        "what": "gone",
        "when": AT_S,
        "app_name": "s",
    }
    kind, time_ns, _ = only(json.dumps(line), keys=keys)
    assert (kind.service, kind.severity, kind.event, time_ns) == ("s", 17, "gone", AT_S * 10**9)
    kind, _, _ = only(json.dumps(line), keys=keys, own_service=True)
    assert kind.service == "pay"


HOSTILE: dict[str, bytes] = {
    "half_json": b'{"level":"error","message":"x',
    "nan": b'{"level":"error","n":NaN}',
    "not_utf8": b'{"level":"error","message":"\xff\xfe"}',
    "deep": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "long_number": b'{"level":' + b"9" * 5000 + b"}",
    "odd_digits": '{"time":"٢٠٢٦-11-22T06:35:37Z","level":"error"}'.encode(),
    "list_level": b'{"level":["error"],"message":{"a":1},"status":{},"method":[]}',
    "bool_time": b'{"time":true,"level":true,"message":false}',
    "infinite": b'{"time":1e999,"duration":1e999,"method":"GET","status":200}',
    "negative": b'{"time":-5,"duration":-1,"method":"GET","status":200}',
    "empty_names": b'{"":"","event":"","message":"","level":""}',
    "control": b"\x00\x1b[31m\xe2\x80\xae ERROR boom\x00",
    "empty": b"",
    "spaces": b"   \t ",
    "huge": b"ERROR " + b"a1'\"" * 20_000,
    "equals": b"=" * 60_000,
    "logfmt_quotes": b'level=error msg="' + b"\\" * 30_001,
    "access_before_all_times": b'h - - [01/Jan/0001:00:00:00 +0500] "GET / HTTP/1.1" 200 5',
    "access_after_all_times": b'h - - [31/Dec/9999:23:00:00 -0500] "GET / HTTP/1.1" 200 5',
    "access_quotes": b'h - - [22/Nov/2026:06:35:37 +0000] "' + b'\\"' * 20_000,
    "brackets": b"[" * 60_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.timeout(20)
def test_a_hostile_line_costs_itself_alone(name: str) -> None:
    good = f'{{"time":"{ISO}","level":"info","event":"fine"}}'
    for ships in (None, "u"):
        result = read(good, HOSTILE[name], good, uid=ships)
        columns = result.batch.log_columns
        assert columns is not None
        fine = [at for at, kind in enumerate(columns.kinds) if kind.event == "fine"]
        assert int(np.count_nonzero(columns.kind_index == fine[0])) == 2
        assert len(columns.time_ns) == 3
        for kind in columns.kinds:
            assert len(kind.event) <= 160
            assert len(kind.gist) <= 200
            assert not set(kind.gist + kind.event) & set("\x00\x1b\u202e\n")


def test_what_is_no_text_or_no_json_is_counted() -> None:
    result = read(b'{"level":"error","message":"\xff"}', b"plain \xff", b'{"half')
    assert (result.undecodable_count, result.not_json_count) == (2, 1)


def test_times_to_come_are_refused_and_times_that_are_none_are_now() -> None:
    result = read(
        json.dumps({"time": "2027-11-22T06:35:37Z", "message": "x"}),
        json.dumps({"time": "yesterday", "message": "y"}),
    )
    assert result.batch.rejected == {RejectReason.FUTURE: 1}
    assert result.batch.log_columns is not None
    assert result.batch.log_columns.time_ns.tolist() == [NOW_NS]


def test_evidence_is_the_first_and_the_last_line_of_each_kind_and_redacted() -> None:
    lines = [
        json.dumps({"time": ISO, "level": "error", "event": "card.refused", "message": f"{n}: {CARD}", "trace_id": TRACE})
        for n in range(50)
    ]  # fmt: skip
    columns = read(*lines).batch.log_columns
    assert columns is not None
    assert len(columns.time_ns) == 50
    assert [record.body for record in columns.noted] == [
        "0: [PAN]",
        "49: [PAN]",
    ]
    assert {record.trace_id for record in columns.noted} == {TRACE}


def test_below_warn_nothing_is_evidence_and_no_gist_holds_a_secret() -> None:
    columns = read(
        json.dumps({"level": "info", "message": "mail to jane@example.com sent"})
    ).batch.log_columns
    assert columns is not None
    assert columns.noted == ()
    assert columns.kinds[0].gist == "mail to [EMAIL] sent"


def test_what_is_handed_on_is_redacted_and_named() -> None:
    lines = [
        json.dumps({"time": ISO, "level": "error", "event": "e", "password": "hunter2", "trace_id": TRACE}),
        f"2026-11-22 06:35:37 ERROR card {CARD} refused",
        '{"level":"info","message":"\\u0034111 1111 1111 1111"}',
    ]  # fmt: skip
    result = read(*lines, uid="file")
    body = encode_logs_request(result.encoded["pay"], resource={"service.name": "pay"})
    request = ExportLogsServiceRequest.FromString(body)
    (group,) = request.resource_logs
    records = group.scope_logs[0].log_records
    assert [record.severity_number for record in records] == [17, 17, 9]
    assert records[0].event_name == "e"
    assert records[0].trace_id.hex() == TRACE
    assert records[0].time_unix_nano == AT_NS
    texts = [record.body.string_value for record in records]
    assert "hunter2" not in texts[0]
    assert texts[1] == "2026-11-22 06:35:37 ERROR card [PAN] refused"
    assert "1111" not in texts[2]
    uids = [record.attributes[0].value.string_value for record in records]
    assert uids == ["file-0", "file-1", "file-2"]


def test_a_format_that_is_named_is_not_guessed() -> None:
    kind, _, _ = only('{"level":"error","message":"x"}', format=LogFormat.PLAIN)
    assert (kind.severity, kind.gist) == (0, "{*}")


def test_other_encodings() -> None:
    kind, _, _ = only("ERROR größe".encode("latin-1"), encoding="latin-1")
    assert kind.gist == "größe"
