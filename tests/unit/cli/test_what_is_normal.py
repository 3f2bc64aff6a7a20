"""`sentinel baseline include` and `exclude`: which incident is meant, who says it, and what the sidecar answered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from sentinel.cli.main import main

LISTED = {"incidents": [{"id": "inc-aa1"}, {"id": "inc-ab2"}]}


@contextmanager
def answering(status: int, answer: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """A sidecar that has two incidents and answers so to what is said of one; its address, and what came in."""
    heard: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(200, LISTED)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.path, json.loads(body), self.headers.get("Authorization")))
            self._reply(status, answer)

        def _reply(self, code: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("word", ["include", "exclude"])
def test_the_first_letters_of_an_id_are_enough(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(200, {"incident": {"summary": "ledger: accepted\x1b[2J"}}) as (url, heard):
        code = main(["baseline", word, "inc-ab", "--by", "alice", "--url", url])
    assert code == 0
    assert heard == [(f"/api/v1/incidents/{word}", {"id": "inc-ab2", "by": "alice"}, None)]
    out = capsys.readouterr().out
    assert "Stored." in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("incident", "said"),
    [("inc-a", "2 incidents begin with inc-a"), ("inc-c", "there is no incident inc-c")],
)
def test_what_names_not_one_incident_changes_nothing(
    incident: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(200, {}) as (url, heard):
        assert main(["baseline", "include", incident, "--url", url]) == 1
    assert heard == []
    assert said in capsys.readouterr().err


def test_a_refusal_is_told_in_the_words_of_the_sidecar(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"error": {"status": 409, "message": "of a source that is not heard nothing is known"}}
    with answering(409, error) as (url, _):
        assert main(["baseline", "include", "inc-aa", "--url", url]) == 1
    assert "of a source that is not heard nothing is known" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "x" * 61, "a\nb"])
def test_a_name_that_could_not_be_shown_is_a_fault_of_usage(name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["baseline", "include", "inc-aa", "--by", name])
    assert ended.value.code == 2
