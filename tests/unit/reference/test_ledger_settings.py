"""Goal: no secret in arguments, clear usage errors, bounded log lines, telemetry that cannot harm.

Method: the small parts one by one; the endpoint that is away is a port nobody listens on.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from sentinel.reference.ledger.domain import LedgerError, UnavailableError, UsageError
from sentinel.reference.ledger.edge.burst import Burst, lift_burst, read_burst, write_burst
from sentinel.reference.ledger.operate.cli import run
from sentinel.reference.ledger.operate.faults import FAULTS, FaultConfig, listed
from sentinel.reference.ledger.operate.load import Load, LoadConfig
from sentinel.reference.ledger.operate.state import RunState, read_state, write_state
from sentinel.reference.ledger.telemetry import Event, Telemetry, start_telemetry
from sentinel.reference.ledger.wire.config import resolve_url

_SERVERS = ("--nats-url", "nats://127.0.0.1:1", "--postgres-url", "postgresql://127.0.0.1:1/x")


def url_of(
    *, argument: str | None = None, file: Path | None = None, environ: dict[str, str] | None = None
) -> str | None:
    return resolve_url(
        argument=argument,
        file=file,
        variable="V",
        environ=environ or {},
        what="the address",
        schemes=("postgresql", "postgres"),
    )


def test_a_password_is_refused_as_an_argument_and_read_from_a_file(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="may not be an argument"):
        url_of(argument="postgresql://u:secret@h/d")
    file = tmp_path / "url"
    file.write_text("postgresql://u:secret@h/d\n")
    assert url_of(file=file) == "postgresql://u:secret@h/d"
    assert url_of(environ={"V": "postgres://h/d"}) == "postgres://h/d"
    assert url_of() is None


@pytest.mark.parametrize(
    "url", ["h", "nats://h", "postgresql://", "postgresql://u:secret@h:port/d", "postgres://h:0/d"]
)
def test_what_is_no_url_is_refused_without_showing_it(url: str) -> None:
    """A mistyped one was tried for seconds by the client, whose complaint was the name of an exception."""
    with pytest.raises(UsageError, match="the address: not a URL such as postgresql://") as caught:
        url_of(environ={"V": url})
    assert "secret" not in str(caught.value)


def test_a_socket_in_a_folder_is_an_address_too() -> None:
    url = "postgresql:///ledger?host=/run/postgresql"
    assert url_of(environ={"V": url}) == url


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["load", "--rate", "5"],
        ["history", "--step", "5 parsecs"],
        ["up", "--port", "65536"],
        ["edge", "--port", "http"],
    ],
)
def test_wrong_usage_ends_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["load", "--url", "http://127.0.0.1:1", "--rate", "0", "--seconds", "1"],
        ["load", "--url", "http://127.0.0.1:1", "--rate", "1", "--accounts", "1", "--forever"],
        ["load", "--url", "http://127.0.0.1:1", "--rate", "1", "--seconds", "-1"],
        ["load", "--url", "127.0.0.1:8080", "--rate", "1", "--seconds", "1"],
        ["up", "--nats-url", "foo://x"],
        ["history", "--zone", "Mars"],
        ["history", "--zone", "Mars/Olympus"],
        ["history", "--weeks", "0"],
        ["history", "--rate", "-1"],
        ["fault", "start", "lock", "--state", "x", "--seconds", "0"],
        ["fault", "start", "errors", "--state", "x", "--seconds", "1", "--ratio", "2"],
        ["edge", "--nats-url", "nats://a:b@127.0.0.1:1"],
        ["edge", *_SERVERS],
        ["edge", *_SERVERS, "--tls-cert", "x"],
        ["edge", *_SERVERS, "--client-ca", "x"],
        ["edge", *_SERVERS, "--issuer", "http://issuer.example"],
        ["edge", *_SERVERS, "--issuer", "https://issuer.example", "--host", "0.0.0.0"],
        ["edge", *_SERVERS, "--insecure-tenant-header", "--host", "0.0.0.0"],
        ["authorize", "--accounts", "x", "--token-seconds", "0"],
        ["poster"],
    ],
)
def test_arguments_that_cannot_be_meant_are_a_fault_of_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith("sentinel-ledger: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["fault", "start", "lock", "--seconds", "1", "--state"],
        ["fault", "start", "lock", "--seconds", "1", "--detach", "--state"],
        ["fault", "stop", "--state"],
        ["fault", "list", "--state"],
        ["load", "--rate", "1", "--seconds", "1", "--state"],
        ["history", "--levels"],
        ["poster", "--nats-url-file"],
    ],
)
def test_a_file_that_cannot_be_read_ends_with_three(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, str(tmp_path / "none")]) == 3
    err = capsys.readouterr().err
    assert "cannot read" in err
    assert "No such file" in err


def test_a_file_that_is_no_state_ends_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").write_text("[]")
    arguments = ["fault", "start", "lock", "--seconds", "1", "--state", str(tmp_path / "state")]
    assert run(arguments) == 1
    assert "does not hold the state" in capsys.readouterr().err


def test_the_state_file_is_private_and_comes_back(tmp_path: Path) -> None:
    state = RunState(
        edge_url="http://127.0.0.1:1",
        nats_url="nats://127.0.0.1:2",
        nats_monitor_url="",
        postgres_url_file="/x",
        burst_file="/y",
        pids={"poster": 1},
    )
    file = tmp_path / "state.json"
    write_state(file, state)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_state(file) == state
    file.write_text("{}")
    with pytest.raises(LedgerError, match="does not hold"):
        read_state(file)


def test_a_burst_file_that_makes_no_sense_is_no_burst(tmp_path: Path) -> None:
    file = tmp_path / "burst.json"
    assert read_burst(file) is None
    write_burst(file, Burst(error_ratio=0.25, until_ns=77))
    assert read_burst(file) == Burst(error_ratio=0.25, until_ns=77)
    for text in ("", "[]", '{"error_ratio": 2, "until_ns": 1}', '{"error_ratio": "x"}'):
        file.write_text(text)
        assert read_burst(file) is None
    lift_burst(file)
    lift_burst(file)
    assert not file.exists()


def test_every_fault_says_what_it_does_and_what_it_should_move() -> None:
    assert [one["fault"] for one in listed()] == list(FAULTS)
    assert len(FAULTS) >= 15
    for name, fault in FAULTS.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
        assert fault.summary
        assert not fault.summary.endswith(".")
        assert fault.expected


@pytest.mark.parametrize("name", ["flood", "LOCK", ""])
def test_a_fault_that_is_not_known_is_a_usage_error(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["fault", "start", name, "--state", "x", "--seconds", "1"]) == 2
    assert "there are: lock, slow, stall" in capsys.readouterr().err
    assert run(["fault", "stop", name, "--state", "x"]) == 2
    assert "there are: lock, slow, stall" in capsys.readouterr().err


def test_a_fault_needs_a_run_and_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(["fault", "start", "lock"])
    assert "--state, --seconds" in capsys.readouterr().err


def test_the_list_of_faults_is_for_people_and_for_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["fault", "list", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == listed()
    assert run(["fault", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(FAULTS)


@pytest.mark.parametrize(("seconds", "ratio"), [(0.0, 0.5), (1.0, 0.0), (1.0, 1.5)])
def test_a_fault_that_would_never_show_is_refused(seconds: float, ratio: float) -> None:
    with pytest.raises(LedgerError):
        FaultConfig(fault="errors", state_file=Path("x"), seconds=seconds, error_ratio=ratio)


@pytest.mark.parametrize(("rate", "accounts_count"), [(0.0, 50), (1e6, 50), (10.0, 1)])
def test_a_load_that_cannot_be_offered_is_refused(rate: float, accounts_count: int) -> None:
    with pytest.raises(LedgerError):
        LoadConfig(url="http://x", rate=rate, accounts_count=accounts_count)


def test_load_on_a_day_follows_the_day(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Load(LoadConfig(url="http://x", rate=10.0, shape="day"))
    four_in_the_morning = 1_768_363_200.0
    assert load._rate_at(four_in_the_morning, 0.0) == pytest.approx(10.0)
    assert load._rate_at(four_in_the_morning, 8 * 3600.0) > 50.0


def test_load_on_a_shorter_day_follows_that_one() -> None:
    load = Load(LoadConfig(url="http://x", rate=10.0, shape="day", day_s=86_400 / 7))
    monday_four_in_the_morning = 86_400 / 7 * 4 / 24
    assert load._rate_at(monday_four_in_the_morning, 0.0) == pytest.approx(10.0)
    assert load._rate_at(monday_four_in_the_morning, 8 * 3600.0 / 7) > 50.0
    # The week is over after a day.
    assert load._rate_at(monday_four_in_the_morning, 86_400.0) == pytest.approx(10.0)


@pytest.mark.parametrize(("shape", "day_s"), [("flat", 3600.0), ("day", 1.0), ("day", 1e6)])
def test_a_day_that_makes_no_sense_is_refused(shape: str, day_s: float) -> None:
    with pytest.raises(UsageError):
        LoadConfig(url="http://x", rate=10.0, shape=shape, day_s=day_s)


def silent_telemetry() -> Telemetry:
    return Telemetry(
        service="test",
        tracers=TracerProvider(shutdown_on_exit=False),
        meters=MeterProvider(shutdown_on_exit=False),
        loggers=LoggerProvider(shutdown_on_exit=False),
    )


def test_a_flood_of_one_event_is_held_back_and_counted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    telemetry = silent_telemetry()
    for _ in range(50):
        telemetry.error(Event.EDGE_READ_FAILED, "A read failed")
    now = 1001.0
    telemetry.error(Event.EDGE_READ_FAILED, "A read failed")
    lines = [orjson.loads(text) for text in capsys.readouterr().err.splitlines()]
    lines = [line for line in lines if line["event"] == Event.EDGE_READ_FAILED]
    assert len(lines) == 6
    assert lines[-1]["suppressed_count"] == 45


def test_a_log_line_carries_the_trace_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry = silent_telemetry()
    parent = {"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with telemetry.request(method="GET", route="/x", path="/x", headers=parent) as request:
        request.status = 503
        telemetry.error(Event.EDGE_READ_FAILED, "A read failed", error_code="57014")
    lines = [orjson.loads(text) for text in capsys.readouterr().err.splitlines()]
    (line,) = [one for one in lines if one["event"] == Event.EDGE_READ_FAILED]
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert line["level"] == "ERROR"


@pytest.fixture
def root_handlers() -> Iterator[None]:
    """Put the root logger back as it was: the process's telemetry takes it over."""
    root = logging.getLogger()
    before = list(root.handlers)
    yield
    root.handlers[:] = before


@pytest.mark.usefixtures("root_handlers")
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_endpoint_that_is_away_costs_telemetry_only(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: every connection is refused
        # Where to send to, the exporters read of the process's own environment.
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{taken.getsockname()[1]}"
        )
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
        telemetry = start_telemetry("test", os.environ)
        answered = 0
        for _ in range(100):
            with telemetry.query("SELECT", "accounts", "ledger|ledger"):
                answered += 1
        with (
            pytest.raises(UnavailableError, match="its own"),
            telemetry.query("SELECT", "accounts", "ledger|ledger"),
        ):
            raise UnavailableError("its own trouble", code="timeout")
        telemetry.stop(timeout_s=0.5)
        assert answered == 100


def test_an_unknown_protocol_stops_the_start() -> None:
    with pytest.raises(LedgerError, match="http/protobuf or grpc"):
        start_telemetry(
            "test",
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke",
            },
        )


def test_the_page_of_the_ledger_names_every_fault() -> None:
    page = (Path(__file__).parents[3] / "docs/components/ledger.md").read_text()
    rows = [f"| `{one['fault']}` | {one['summary']} |" for one in listed()]
    assert [line for line in page.splitlines() if line in rows] == rows
