"""Goal: a person at night reads incidents on any terminal, in the words of the page, and knows whether pages go out.

Method: the command against a server that answers what a test sets, on a terminal of 80 columns.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from sentinel.cli.main import main
from sentinel.core.model import (
    Incident,
    IncidentKind,
    IncidentState,
    Member,
    SeriesKey,
    Severity,
)
from sentinel.web.api import describe_incident

OPENED_NS = 1_790_000_000 * 10**9


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def incident(number: int = 1, *, route: str = "POST /v1/transfers") -> Incident:
    key = SeriesKey("ledger-edge", "edge", route, "latency")
    member = Member(
        series_id=1, key=key, direction=1, first_ns=OPENED_NS, last_ns=OPENED_NS + 10**10,
        peak_score=3.5, value=2.25, expected=0.085, lower=math.nan, upper=math.nan, why="",
    )  # fmt: skip
    return Incident(
        incident_id=f"{number:032x}",
        group="ledger-edge",
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.OPEN,
        opened_ns=OPENED_NS,
        paged_ns=OPENED_NS + 2 * 10**10,
        members=(member,),
    )


@contextmanager
def answering(*incidents: Incident, mode: str = "live", status: int = 200) -> Iterator[str]:
    """The address of a server that answers the same to every GET."""
    described = [describe_incident(one) for one in incidents]
    body = json.dumps({"mode": mode, "incidents": described}).encode()

    class Handler(BaseHTTPRequestHandler):
        """The one answer."""

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(["incidents", *arguments])
    return code, capsys.readouterr().out


def test_one_incident_is_told_in_the_words_of_its_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with answering(incident(1), incident(2)) as url:
        code, out = said(capsys, f"{1:032x}", "--url", url)
    assert code == 0
    flat = " ".join(out.split())
    assert "ledger-edge: edge POST /v1/transfers is slow: 2.25 s, expected 85 ms" in flat
    assert "Opened 2026-09-21 14:13:20 UTC" in flat
    # When it was decided, not when the page was delivered: that is some seconds later.
    assert "Decided 2026-09-21 14:13:40 UTC; the page follows some seconds later" in flat
    assert f"{2:032x}" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_list_stays_within_the_terminal_whatever_a_route_is_called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(incident(1, route="GET /" + "long/" * 60), incident(2)) as url:
        _, piped = said(capsys, "--url", url)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        code, out = said(capsys, "--url", url)
    assert "long/" * 60 in piped
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 3)
    assert max(map(len, lines)) <= 80
    assert lines[1].endswith("…")
    assert "ledger-edge: edge POST" in lines[2]


def test_in_shadow_nobody_is_said_to_have_been_paged(capsys: pytest.CaptureFixture[str]) -> None:
    """In shadow the list was the same as live, and one read of pages that had never gone out."""
    with answering(incident(1), mode="shadow") as url:
        _, listed = said(capsys, "--url", url)
        _, whole = said(capsys, "--url", url, f"{1:032x}")
    assert "The mode is shadow" in listed.splitlines()[0]
    assert "nobody is paged" in whole
    assert "follows" not in whole


def test_the_list_names_what_the_page_names(capsys: pytest.CaptureFixture[str]) -> None:
    """The list named the strangest series, a database's, and the page the one that users feel."""
    edge = incident(1).members[0]
    key = edge.key._replace(stage="database", route="UPDATE accounts")
    both = (replace(edge, series_id=2, key=key, peak_score=4e7), edge)
    with answering(replace(incident(1), members=both)) as url:
        _, listed = said(capsys, "--url", url)
        _, whole = said(capsys, f"{1:032x}", "--url", url)
    assert listed.splitlines()[1].endswith("ledger-edge: edge POST /v1/transfers latency")
    assert "score >1000" in whole


@pytest.mark.parametrize("limit", ["-5", "0", "x", "1001", "1e2"])
def test_a_limit_that_makes_no_sense_is_a_fault_of_usage(
    limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--limit -5` went to the sidecar, whose refusal then looked like an incident that is wrong."""
    with pytest.raises(SystemExit) as caught:
        main(["incidents", f"--limit={limit}"])
    assert caught.value.code == 2
    assert "must be a number between 1 and 1000" in capsys.readouterr().err
