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

from sentinel.cli import check, check_ready
from sentinel.errors import ConfigError
from sentinel.receivers.log_files import reaching
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.storage.sqlite.connection import DirectoryLock

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

OFF = "otlp_http: {enabled: false}, otlp_grpc: {enabled: false}"
DATA = Path(__file__).parents[2] / "data" / "kong"
COMPONENTS = {"storage.sqlite": {"status": "ok", "sentence": "Open \x1b[31m"}, "odd": 3}


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="sentinel")
    check.add_arguments(parser.add_subparsers(required=True).add_parser("check"))
    args = parser.parse_args(["check", "ready", *arguments])
    code: int = args.run(args)
    return code


def quiet(folder: Path, *, port: object = 0, more: str = "", receivers: str = OFF) -> str:
    """A configuration that finds everything it names, whatever else runs on this machine."""
    return (
        f"mode: shadow\nweb: {{listen: {{port: {port}}}}}\nreceivers: {{{receivers}}}\n"
        f"store: {{directory: {folder}/store, max_bytes: 16MiB}}\n{more}"
    )


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
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
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
        following = [f"Next: sentinel incidents --url {url}"] if code == 0 else []
        assert lines == [word, "storage.sqlite: ok: Open \\x1b[31m", *following]
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
    assert capsys.readouterr().out == f"Ready.\nNext: sentinel incidents --url {url}\n"


@pytest.mark.parametrize(
    ("worst", "code", "word"),
    [
        ("failing", 1, "Not well: scrapers.postgres fails."),
        ("degraded", 0, "Ready, with less than it should: 1 part degraded."),
    ],
)
def test_word_and_code_follow_the_worst_part(
    worst: str, code: int, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It said "Ready." and ended with 0 over a list in which a scraper failed."""
    parts = {"scrapers.postgres": {"status": worst, "sentence": "No target can be read"}}
    body = json.dumps({"ready": True, "components": {**COMPONENTS, **parts}}).encode()
    config = tmp_path / "sentinel.yaml"
    with answering(200, body) as url:
        assert run("--url", url) == code
        lines = capsys.readouterr().out.splitlines()
        assert run("--url", url, "-o", "json") == code
        assert json.loads(capsys.readouterr().out)["ok"] is (code == 0)
        # Looked at by its configuration it is the same.
        config.write_text(quiet(tmp_path, port=url.rpartition(":")[2]))
        assert run("--config", str(config), "-o", "json") == code
        reaches = json.loads(capsys.readouterr().out)["reach"]
    assert lines[:2] == [word, f"scrapers.postgres: {worst}: No target can be read"]
    assert [one["status"] for one in reaches if one["what"] == "sidecar scrapers.postgres"] == [
        worst
    ]


def test_what_comes_next_is_told_where_nothing_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "sentinel.yaml"
    with answering(200, b"{}") as url:
        config.write_text(quiet(tmp_path, port=url.rpartition(":")[2]))
        assert run("--config", str(config)) == 0
    assert (
        capsys.readouterr().out.splitlines()[-1] == f"Next: sentinel incidents --config {config}"
    )
    config.write_text(quiet(tmp_path))
    assert run("--config", str(config)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"Next: sentinel run --config {config}"


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
        config.write_text(quiet(tmp_path, port=url.rpartition(":")[2]))
        assert run("--config", str(config)) == 0
        assert f"runs at {url} and is ready" in capsys.readouterr().out
    config.write_text(quiet(tmp_path))
    assert run("--config", str(config)) == 0
    # It is wrapped to the width of a terminal, wherever the paths before it leave the line.
    assert "ask it with --url" in " ".join(capsys.readouterr().out.split())


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


# With a configuration: what it names is looked at.


def looked(
    folder: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit code, and what was found by its name."""
    path = folder / "sentinel.yaml"
    path.write_text(text)
    code = run("--config", str(path), "-o", "json")
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is (code == 0)
    return code, {one["what"]: one for one in document["reach"]}


def test_all_is_there_and_nothing_is_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = looked(tmp_path, quiet(tmp_path), capsys)
    assert code == 0
    assert {one["status"] for one in found.values()} == {"ok"}
    assert found["store"]["sentence"].startswith(f"{tmp_path}/store is made at the start")
    assert found["senders"]["sentence"] == "mode is shadow: pages are recorded, and none is sent"
    assert [one.name for one in tmp_path.iterdir()] == ["sentinel.yaml"]


def test_a_port_that_is_taken_is_told_unless_the_sidecar_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(200, b"{}") as other, answering(200, b"{}") as sidecar:
        port, web = (url.rpartition(":")[2] for url in (other, sidecar))
        receivers = f"otlp_http: {{listen: {{port: {port}}}}}, otlp_grpc: {{enabled: false}}"
        code, found = looked(tmp_path, quiet(tmp_path, receivers=receivers), capsys)
        assert code == 1
        assert found["receivers.otlp_http"]["sentence"].endswith("is taken by another program")
        assert "receivers.otlp_http.listen.port" in found["receivers.otlp_http"]["remedy"]
        code, found = looked(tmp_path, quiet(tmp_path, receivers=receivers, port=web), capsys)
        assert code == 0
        assert found["receivers.otlp_http"]["sentence"].endswith("is listened on")


def test_a_sidecar_that_runs_by_another_configuration_is_found_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    receivers = f"otlp_http: {{listen: {{port: {free}}}}}, otlp_grpc: {{enabled: false}}"
    with answering(503, json.dumps({"components": COMPONENTS}).encode()) as url:
        text = quiet(tmp_path, receivers=receivers, port=url.rpartition(":")[2])
        code, found = looked(tmp_path, text, capsys)
    assert code == 1
    assert found["sidecar"]["sentence"].endswith("is not ready")
    assert found["receivers.otlp_http"]["sentence"].endswith("though the sidecar runs")


def test_destinations_that_are_not_there_are_told_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as nobody, answering(200, b"{}") as there:
        nobody.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        more = (
            f'senders: {{alertmanager: {{urls: ["{there}"]}}, webhooks: [{{name: hook, url: "{gone}/geheim"}}]}}\n'
            f'self_telemetry: {{endpoint: "{gone}"}}\n'
            f'forward: {{endpoints: [{{name: near, url: "{there}"}}, {{name: far, url: "{gone}"}}]}}\n'
        )
        code, found = looked(tmp_path, quiet(tmp_path, more=more), capsys)
        secure = more.replace(there, there.replace("http:", "https:"))
        _, insecure = looked(tmp_path, quiet(tmp_path, more=secure), capsys)
    assert code == 1
    place = there.removeprefix("http://")
    assert found[f"senders.alertmanager:{place}"]["status"] == "ok"
    hook = found["senders.webhook:hook"]
    assert hook["status"] == "failing"
    assert hook["sentence"].startswith("connection refused at 127.0.0.1:")
    assert hook["remedy"]
    assert "geheim" not in json.dumps(found)
    assert found["self_telemetry"]["status"] == "degraded"
    assert found["forward near"]["status"] == "ok"
    assert found["forward far"]["status"] == "failing"
    told = insecure[f"senders.alertmanager:{place}"]["sentence"]
    assert told == f"{place} does not shake hands as TLS does"


def test_a_store_that_cannot_be_used_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    text = quiet(tmp_path / "file")
    code, found = looked(tmp_path, text, capsys)
    assert code == 1
    assert found["store"]["sentence"] == f"{tmp_path}/file is not a folder"
    (tmp_path / "store").mkdir()
    held = DirectoryLock(tmp_path / "store")
    held.acquire()
    try:
        code, found = looked(tmp_path, quiet(tmp_path), capsys)
        assert code == 1
        assert found["store"]["sentence"].endswith("is used by another process")
    finally:
        held.release()
    huge = quiet(tmp_path).replace("16MiB", "900000GiB")
    code, found = looked(tmp_path, huge, capsys)
    assert code == 0
    assert found["store.disk"]["status"] == "degraded"
    assert "store.max_bytes" in found["store.disk"]["remedy"]


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_keeps_to_the_width_and_has_what_fails_first(columns: int) -> None:
    long = "scrapers.postgres a-server-with-a-very-long-name-of-its-own"
    reaches = [
        Reach(what="store", status=ReachStatus.OK, sentence="can be written"),
        Reach(
            what=long,
            status=ReachStatus.FAILING,
            sentence="x " * 100 + "\x1b[31m",
            remedy="Start it. " * 20,
        ),
        Reach(what="web", status=ReachStatus.DEGRADED, sentence="slow", remedy="Wait."),
    ]
    lines = check_ready.table(reaches, columns=columns)
    assert max(map(len, lines)) <= columns
    assert lines[0] == f"failing   {long}"
    assert "\x1b" not in "".join(lines)
    order = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert order == ["failing", "degraded", "ok"]
    assert sum("-> " in line for line in lines) == 2


def test_a_long_name_leaves_room_for_what_is_said_of_it() -> None:
    """At 80 columns the names took 46 of them, and sentences were a column of three words."""
    reaches = [
        Reach(
            what="scrapers.postgres main statements",
            status=ReachStatus.DEGRADED,
            sentence="the library is not loaded by the server, which says so when it is asked",
            remedy="add it and restart the server",
        ),
        Reach(what="store.disk", status=ReachStatus.OK, sentence="67,041 MiB are free"),
    ]
    assert check_ready.table(reaches, columns=80) == [
        "degraded  scrapers.postgres main statements",
        "          the library is not loaded by the server, which says so when it is",
        "          asked",
        "          -> add it and restart the server",
        "ok        store.disk  67,041 MiB are free",
    ]
    assert len(check_ready.table(reaches, columns=140)) == 3


def test_a_configuration_with_a_fault_is_told_as_the_start_tells_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sentinel.yaml"
    path.write_text("mode: wrong\n")
    with pytest.raises(ConfigError):
        run("--config", str(path))


def test_targets_say_what_they_reach_and_what_they_lack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DATA / "metrics_3x_switches_off.txt").read_bytes()
    with answering(200, page, {"Content-Type": "text/plain; version=0.0.4"}) as url:
        targets = f'[{{name: near, url: "{url}/metrics"}}, {{name: far, url: "http://127.0.0.1:1/metrics"}}]'
        text = quiet(tmp_path, more=f"scrapers: {{kong: {targets}}}\n")
        path = tmp_path / "sentinel.yaml"
        path.write_text(text)
        code = run("--config", str(path), "-o", "json")
        reaches = json.loads(capsys.readouterr().out)["reach"]
    assert code == 1
    near = [one for one in reaches if one["what"].startswith("scrapers.kong near")]
    [far] = [one for one in reaches if one["what"].startswith("scrapers.kong far")]
    assert far["status"] == "failing"
    assert "efused" in far["sentence"]
    assert {one["status"] for one in near} <= {"ok", "degraded"}
    assert any("status_code_metrics" in one["sentence"] + one["remedy"] for one in near)


def test_a_password_file_that_is_not_there_is_what_is_to_be_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It asked whether the server is running, which nobody had asked."""
    target = f"{{name: main, port: 1, password_file: {tmp_path}/geheim}}"
    text = quiet(tmp_path, more=f"scrapers: {{postgres: [{target}]}}\n")
    code, found = looked(tmp_path, text, capsys)
    assert code == 1
    one = found["scrapers.postgres main postgres"]
    assert (
        one["sentence"]
        == f"the password cannot be read from {tmp_path}/geheim (No such file or directory)"
    )
    assert one["remedy"].startswith('write the password of "sentinel" into it')
    assert "running" not in one["remedy"]


def test_one_log_file_of_several_that_may_not_be_read_is_degraded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was failing, as if none were read; the running receiver says degraded of the same."""
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("a.log", "b.log", "c.log"):
        (logs / name).write_text("x\n")
    # Who runs the tests may be root, whom no mode keeps out.
    barred = {"b.log"}
    monkeypatch.setattr(reaching, "is_readable", lambda path: Path(path).name not in barred)
    source = f'log_files: {{sources: [{{name: app, paths: ["{logs}/*.log"]}}]}}'
    text = quiet(tmp_path, receivers=f"{OFF}, {source}")
    code, found = looked(tmp_path, text, capsys)
    one = found["receivers.log_files app"]
    assert (code, one["status"]) == (0, "degraded")
    assert one["sentence"] == f"{logs}/b.log may not be read"
    barred |= {"a.log", "c.log"}
    code, found = looked(tmp_path, text, capsys)
    one = found["receivers.log_files app"]
    assert (code, one["status"]) == (1, "failing")
    assert one["sentence"].startswith("3 paths may not be read, such as ")


def test_what_was_found_from_here_is_not_said_again_by_the_sidecar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {
        "scrapers.postgres": "No target can be read: main: connection refused",
        "scrapers.nats": "Less than there could be: it says this alone",
        "webhook:hook": "Connection refused",
        "senders.otlp_forward": "far: connection refused",
        "pipeline.fit": "no fit yet",
    }
    components = {
        name: {"status": "degraded", "sentence": sentence} for name, sentence in told.items()
    }
    more = (
        "scrapers: {postgres: [{name: main, port: 1}]}\n"
        'senders: {webhooks: [{name: hook, url: "http://127.0.0.1:1/"}]}\n'
        'forward: {endpoints: [{name: far, url: "http://127.0.0.1:1/"}]}\n'
    )
    body = json.dumps({"ready": True, "components": components}).encode()
    with answering(200, body) as url:
        text = quiet(tmp_path, more=more, port=url.rpartition(":")[2])
        code, found = looked(tmp_path, text, capsys)
    assert code == 1
    assert found["scrapers.postgres main postgres"]["status"] == "failing"
    own = {name for name in found if name.startswith("sidecar")}
    assert own == {"sidecar", "sidecar scrapers.nats", "sidecar pipeline.fit"}
