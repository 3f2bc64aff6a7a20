"""Goal: `check ready` tells ready, not ready and not reachable apart, and waits for nobody longer than it was told.

Method: the command in-process against small servers on ephemeral loopback ports, each run in a thread.
"""

from __future__ import annotations

import argparse
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sentinel.cli import check

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

COMPONENTS = {"storage.sqlite": {"status": "ok", "sentence": "Open \x1b[31m"}, "odd": 3}


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="sentinel")
    check.add_parser(parser.add_subparsers(required=True))
    args = parser.parse_args(["check", "ready", *arguments])
    code: int = args.run(args)
    return code


@contextmanager
def answering(status: int, body: bytes, headers: dict[str, str] | None = None) -> Iterator[str]:
    """A server that gives every GET the same answer, and its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name the base class calls
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "code", "word"), [(200, 0, "Ready."), (503, 1, "Not ready.")])
def test_ready_and_not_ready_with_the_components(
    status: int, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    body = json.dumps({"ready": status == 200, "components": COMPONENTS}).encode()
    with answering(status, body) as url:
        assert run("--url", url) == code
        lines = capsys.readouterr().out.splitlines()
        assert lines == [word, "storage.sqlite: ok: Open \\x1b[31m"]
        assert run("--url", url + "/", "-o", "json") == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["ready"] is (status == 200)
    assert answer["detail"]["components"] == COMPONENTS


def test_someone_else_at_the_address_is_neither(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(404, b"not here") as url:
        assert run("--url", url) == 3
    with answering(302, b"", {"Location": "http://127.0.0.1:1/"}) as url:
        assert run("--url", url) == 3
    assert "as a sidecar does not" in capsys.readouterr().err


def test_an_answer_without_components_still_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(200, b"[" * 100_000) as url:
        assert run("--url", url) == 0
    assert capsys.readouterr().out == "Ready.\n"


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert run("--url", url) == 3
    # The client's own words speak of "ssl:default" for an address without TLS.
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"sentinel check ready: {url} cannot be reached: connection refused"
    assert (
        second == "Is it running? It is started by sentinel run, and asked elsewhere with --url."
    )


def test_the_address_is_taken_from_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever had changed the port was told again and again that nobody is at the default one."""
    config = tmp_path / "sentinel.yaml"
    with answering(200, b"{}") as url:
        config.write_text(f"web: {{listen: {{port: {url.rpartition(':')[2]}}}}}\n")
        assert run("--config", str(config)) == 0
    config.write_text("web: {listen: {port: 0}}\n")
    assert run("--config", str(config)) == 3
    assert "say --url" in capsys.readouterr().err


def test_a_server_that_does_not_speak_http(capsys: pytest.CaptureFixture[str]) -> None:
    with answering(200, b"", {"Content-Length": "lots"}) as url:
        assert run("--url", url) == 3
        assert run("--url", url.replace("http:", "https:")) == 3
    err = capsys.readouterr().err.splitlines()
    assert err[0].endswith("it does not answer as a sidecar does")
    assert err[1].endswith("or it does not speak TLS")


def test_a_silent_server_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        assert run("--url", f"http://127.0.0.1:{port}", "--timeout", "0.2") == 3
    assert "no answer in time" in capsys.readouterr().err
