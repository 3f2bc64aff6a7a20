"""Goal: a look round finds what stands there, says what it lacks, and waits for nobody longer than it was told.

Method: the command in-process against Debian's Prometheus and NATS, and against small servers that answer as Kong, NATS and
exporters do, or as nobody should; what is printed is loaded as a configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.server
import json
import re
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sentinel.app.config import SentinelConfig, load_config
from sentinel.cli import discover
from tests.support.nats_servers import debian_binary, nats_server
from tests.support.postgres_server import ROLE_PASSWORD, PostgresServer, postgres_server
from tests.support.servers import prometheus_server, running_process, wait_until
from tests.support.sidecar_process import command, environment
from tests.support.skips import require_binary

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

DATA = Path(__file__).parents[2] / "data" / "kong"
TEXT = "text/plain; version=0.0.4"
NODE = "# TYPE node_load1 gauge\nnode_load1 0.5\nnode_load5 0.4\n"
KONG_BARE = 'kong_nginx_timers{state="running"} 2\nkong_datastore_reachable 1\n'
KONG_WHOLE = KONG_BARE + (
    'kong_http_requests_total{code="200"} 9\nkong_request_latency_ms_count 9\n'
    'kong_bandwidth_bytes{direction="egress"} 9\nkong_upstream_target_health{state="healthy"} 1\n'
)
STATUS = json.dumps(
    {"server": {"total_requests": 9}, "memory": {}, "database": {"reachable": True}}
)
VARZ = json.dumps(
    {"server_id": "N", "version": "2.10.1", "port": 4222, "cluster": {"name": "east"}}
)
JSZ = json.dumps(
    {
        "account_details": [
            {
                "stream_detail": [
                    {"name": "TX\x1b[31m", "consumer_detail": [{}, {}]},
                    {"name": 7},
                    8,
                ]
            }
        ]
    }
)

Pages = dict[str, tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences are looked for whole, but where the width is what is looked at."""
    monkeypatch.setenv("COLUMNS", "1000")


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="sentinel")
    discover.add_arguments(parser.add_subparsers(required=True).add_parser("discover"))
    args = parser.parse_args(["discover", "--timeout", "2", *arguments])
    code: int = args.run(args)
    return code


@contextlib.contextmanager
def serving(pages: Pages, *, before: Callable[[], None] = lambda: None) -> Iterator[str]:
    """A server of these pages, by path without the query: status, content type, body."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name the base class calls
            before()
            status, kind, body = pages.get(self.path.partition("?")[0], (404, TEXT, ""))
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kong(metrics: str) -> Pages:
    return {"/status": (200, "application/json", STATUS), "/metrics": (200, TEXT, metrics)}


def nats() -> Pages:
    return {"/varz": (200, "application/json", VARZ), "/jsz": (200, "application/json", JSZ)}


@pytest.fixture
def dead() -> Iterator[str]:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def loaded(text: str, folder: Path) -> SentinelConfig:
    """The configuration that was printed, as the start would take it; AssertionError with all faults."""
    path = folder / "found.yaml"
    path.write_text(text)
    return load_config(path, environment={}).config


def test_a_prometheus_gives_its_targets_as_far_as_they_are_reached(
    tmp_path: Path, dead: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving({"/metrics": (200, TEXT, NODE)}) as node:
        jobs = "\n".join(
            f"- job_name: {job}\n  scrape_interval: 1s\n  static_configs: [{{targets: ['{url.removeprefix('http://')}']}}]"
            for job, url in {"node": node, "gone": dead}.items()
        )
        with prometheus_server(f"scrape_configs:\n{jobs}\n", tmp_path / "prometheus") as server:
            wait_until(
                lambda: len(server.get("/api/v1/targets")["activeTargets"]) == 2,
                what="its targets",
            )
            assert run("--prometheus", server.url, "-o", "json") == 0
            document = json.loads(capsys.readouterr().out)
            assert run("--prometheus", server.url) == 0
    out, err = capsys.readouterr()
    assert "2 targets, 1 of them reached from here" in err
    [finding] = document["findings"]
    by_name = {one["values"]["name"]: one for one in finding["entries"]}
    assert by_name["node"]["values"]["url"] == f"{node}/metrics"
    assert by_name["node"]["is_active"]
    assert not by_name["gone"]["is_active"]
    assert "is not reached from here: Connection refused" in out
    [target] = loaded(out, tmp_path).scrapers.prometheus
    assert (target.name, target.service, target.url) == ("node", "node", f"{node}/metrics")


def test_beside_queries_nothing_is_scraped_unless_a_person_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It proposed to scrape Prometheus' own page, and all others, beside asking it: series without a past, of what watches."""
    pages = {
        "/shop": (200, TEXT, 'http_requests_total{code="200",handler="/cart"} 10\n'),
        "/node": (200, TEXT, NODE),
        "/self": (200, TEXT, "prometheus_tsdb_head_series 7\nprometheus_build_info 1\n"),
    }
    with serving(pages) as url:
        place = url.removeprefix("http://")
        jobs = "\n".join(
            f"- job_name: {name}\n  metrics_path: /{name}\n  scrape_interval: 1s\n  static_configs: [{{targets: ['{place}']}}]"
            for name in ("shop", "node", "self")
        )
        with prometheus_server(f"scrape_configs:\n{jobs}\n", tmp_path / "prometheus") as server:
            wait_until(lambda: len(server.query("up == 1")) == 3, what="a scrape of each")
            assert run("--prometheus", server.url) == 0
        own, err = capsys.readouterr()
        assert run("--metrics", f"{url}/self") == 0
    asked = loaded(own, tmp_path).scrapers
    assert asked.prometheus_queries[0].queries[0].signal == "traffic"
    assert asked.prometheus == ()
    assert f"Not scraped: self at {place}: of what watches" in err
    assert "/self" not in own
    # The machine's page may be wanted: it stands there as a comment, with what it would be.
    assert "Pages of other targets stand as comments" in err
    assert re.search(rf"#   - name: node\n +#     url: {re.escape(url)}/node\n", own)
    assert "Scraped beside the queries it has no past" in own
    # Who names a page has it.
    [target] = loaded(capsys.readouterr().out, tmp_path).scrapers.prometheus
    assert target.url == f"{url}/self"


@pytest.mark.parametrize(("metrics", "switches"), [(KONG_BARE, 4), (KONG_WHOLE, 0)])
def test_a_kong_is_told_which_of_its_switches_are_off(
    metrics: str, switches: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(kong(metrics)) as url:
        assert run("--kong", url) == 0
    out, err = capsys.readouterr()
    assert err.count("off by default, or there was no traffic yet") == switches
    assert ("set status_code_metrics to true" in err) == bool(switches)
    assert err.startswith("found, but  kong" if switches else "found       kong")
    [target] = loaded(out, tmp_path).scrapers.kong
    assert target.url == f"{url}/metrics"
    assert target.service == "kong"


def test_a_nats_gives_its_streams_and_moves_no_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(nats()) as url:
        assert run("--nats", url) == 0
    out, err = capsys.readouterr()
    assert "NATS 2.10.1 with 2 streams and 2 consumers" in err
    assert "one of the cluster east" in err
    assert "\x1b" not in out + err
    loaded(out, tmp_path)


def test_a_real_nats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary = require_binary("nats-server")
    ports = tmp_path / "ports"
    ports.mkdir()
    argv = [binary, "-a", "127.0.0.1", "-p", "-1", "-m", "-1", "-js", "-sd", str(tmp_path / "js")]
    with running_process([*argv, "--ports_file_dir", str(ports)], log=tmp_path / "log"):
        wait_until(lambda: bool(list(ports.glob("*.ports"))), what="the ports of NATS")
        [file] = ports.glob("*.ports")
        wait_until(lambda: bool(file.read_text()), what="the ports of NATS")
        [url] = json.loads(file.read_text())["monitoring"]
        assert run("--nats", url) == 0
    out, err = capsys.readouterr()
    assert "with 0 streams and 0 consumers" in err
    [target] = loaded(out, tmp_path).scrapers.nats
    assert target.urls == (url,)


def test_a_page_of_metrics_and_a_folder_of_logs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "app.log").write_text('{"level": "info"}\n')
    with serving({"/metrics": (200, TEXT, NODE)}) as url:
        assert run("--metrics", f"{url}/metrics", "--logs", str(tmp_path / "logs")) == 0
    out, err = capsys.readouterr()
    assert "2 samples of the machine, through node_exporter" in err
    assert "1 file: 1 of JSON lines" in err
    [source] = loaded(out, tmp_path).receivers.log_files.sources
    assert source.paths == (str(tmp_path / "logs" / "*.log"),)


HTML = "<html><body>hello</body></html>"


@pytest.mark.parametrize("kind", ["prometheus", "kong", "nats", "metrics"])
@pytest.mark.parametrize(
    ("page", "code", "sentence"),
    [
        ((200, "text/html", HTML), 1, "does not answer as"),
        ((200, "application/json", "[" * 100_000), 1, "does not answer as"),
        ((302, TEXT, ""), 1, "answers with status 302"),
        ((401, TEXT, ""), 0, "it wants credentials"),
        ((500, TEXT, ""), 1, "answers with status 500"),
        ((200, TEXT, "x" * 9_000_000), 1, "too large"),
    ],
)
def test_something_else_at_an_address_is_told(
    kind: str,
    page: tuple[int, str, str],
    code: int,
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paths = ("/metrics", "/status", "/varz", "/api/v1/status/buildinfo")
    with serving(dict.fromkeys(paths, page)) as url:
        assert run(f"--{kind}", f"{url}/metrics" if kind == "metrics" else url) == code
    out, err = capsys.readouterr()
    assert sentence in err
    loaded(out, tmp_path)


def test_what_is_not_there_is_told_and_the_rest_is_written(
    dead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(nats()) as url:
        arguments = ["--kong", dead, "--nats", url, "--postgres", dead.removeprefix("http://")]
        assert run(*arguments, "--logs", str(tmp_path / "gone")) == 3
    out, err = capsys.readouterr()
    assert err.count("not found") == 3
    assert err.count("onnection refused") + err.count("connect call failed") == 2
    assert "# found       nats" in out
    loaded(out, tmp_path)


def test_who_never_answers_is_given_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        arguments = [f"--{kind}={place}" for kind in ("prometheus", "kong", "nats", "postgres")]
        assert run(*arguments, "--timeout", "0.3") == 3
    out, err = capsys.readouterr()
    assert err.count("not found") == 4
    loaded(out, tmp_path)


@pytest.mark.parametrize("columns", [80, 120])
def test_what_is_told_keeps_to_the_width(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with serving(kong(KONG_BARE)) as url:
        assert run("--kong", url) == 0
    out, err = capsys.readouterr()
    assert max(map(len, err.splitlines())) <= columns
    assert max(map(len, out.splitlines())) <= 120


def test_one_that_drips_is_given_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(kong(KONG_WHOLE), before=lambda: time.sleep(1)) as url:
        assert run("--kong", url, "--timeout", "0.3") == 3
    assert "no whole answer" in capsys.readouterr().err


def test_a_password_in_the_arguments_is_refused_and_not_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--postgres", "postgresql://me:geheim@127.0.0.1/db") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "can be read by everybody" in err
    assert "geheim" not in err


def test_nothing_is_written_unless_told_and_nothing_is_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with serving(nats()) as url:
        assert run("--nats", url) == 0
        assert list(folder.iterdir()) == []
        assert run("--nats", url, "--write", "sentinel.yaml") == 0
        capsys.readouterr()
        text = (folder / "sentinel.yaml").read_text()
        assert "found       nats" in text
        assert load_config(folder / "sentinel.yaml", environment={}).warnings == ()
        assert run("--nats", url, "--write", "sentinel.yaml") == 1
    assert (folder / "sentinel.yaml").read_text() == text
    assert "remove it, or give another name" in capsys.readouterr().err
    assert [one.name for one in folder.iterdir()] == ["sentinel.yaml"]


def test_without_a_place_only_what_is_there_is_told(
    monkeypatch: pytest.MonkeyPatch, dead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sentinel.app import discover as looking

    with serving(nats()) as url:
        usual = looking.Places(kong=(dead,), nats=(url,), logs=(tmp_path / "gone",))
        monkeypatch.setattr(looking, "USUAL", usual)
        assert run() == 0
        _, err = capsys.readouterr()
        assert err.startswith("found       nats")
        assert "not found" not in err
    monkeypatch.setattr(looking, "USUAL", looking.Places(kong=(dead,)))
    assert run() == 0
    assert capsys.readouterr().err.startswith("Nothing that usually stands on this machine")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server(15) as made:
        made.make_role()
        yield made


def test_a_postgres_is_logged_into_with_a_password_from_a_file(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dsn = f"postgresql://sentinel@127.0.0.1:{postgres.port}/postgres"
    file = postgres.password_file(tmp_path)
    assert run("--postgres", dsn, "--postgres-password-file", str(file)) == 0
    out, err = capsys.readouterr()
    assert "PostgreSQL 15" in err
    assert "as sentinel" in err
    assert "Databases: postgres." in out
    [target] = loaded(out, tmp_path).scrapers.postgres
    assert (target.host, target.port, target.user) == ("127.0.0.1", postgres.port, "sentinel")
    assert target.password_file == str(file)
    assert ROLE_PASSWORD not in out + err


def test_a_postgres_that_wants_credentials_is_a_comment_to_finish(
    postgres: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    dsn = f"postgresql://sentinel@127.0.0.1:{postgres.port}/postgres"
    assert run("--postgres", dsn) == 0
    out, err = capsys.readouterr()
    assert "PostgreSQL; it wants the password of sentinel" in err
    assert "deploy/postgres/role.sql" in err
    assert "# password_file: /etc/sentinel/postgres-password" in out
    assert loaded(out, tmp_path).scrapers.postgres == ()
    # With the password in the environment it is seen, and where to put it stands as a comment.
    monkeypatch.setenv("PGPASSWORD", ROLE_PASSWORD)
    assert run("--postgres", dsn) == 0
    out, err = capsys.readouterr()
    assert "as sentinel" in err
    assert "# password_file: /etc/sentinel/postgres-password" in out
    assert ROLE_PASSWORD not in out + err
    monkeypatch.setenv("PGPASSWORD", "wrong")
    assert run("--postgres", dsn) == 0
    _, err = capsys.readouterr()
    assert "PostgreSQL; it refuses the password in PGPASSWORD for sentinel" in err
    assert "wants" not in err


def test_a_refused_password_role_or_database_is_no_password_that_is_wanted(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever gave a password was told that one is wanted, and looked for the option that gives it."""
    file = postgres.password_file(tmp_path, "geheim-1")
    given = ["--postgres-password-file", str(file)]
    here = f"127.0.0.1:{postgres.port}"
    assert run("--postgres", f"postgresql://sentinel@{here}/postgres", *given) == 0
    out, err = capsys.readouterr()
    told = " ".join(err.split())
    assert f"it refuses the password in {file} for sentinel" in told
    assert "Either that is not its password, or there is no such role." in told
    assert f"# password_file: {file}" in out.replace("#   ", "# ").replace("    ", "")
    assert "geheim-1" not in out + err
    assert run("--postgres", f"postgresql://postgres@{here}/nowhere") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert 'it refuses: database "nowhere" does not exist' in told
    assert "Name a database that is there" in told
    assert "role.sql" not in told
    assert run("--postgres", f"postgresql://nobody@{here}/postgres") == 0
    assert "it wants the password of nobody" in capsys.readouterr().err


async def test_what_keeps_statements_from_being_seen_is_told_by_what_is_missing(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An extension without its library was told as all there: then it gave nothing."""
    file = postgres.password_file(tmp_path)
    dsn = f"postgresql://sentinel@127.0.0.1:{postgres.port}/postgres"

    async def told() -> str:
        arguments = ["--postgres", dsn, "--postgres-password-file", str(file)]
        assert await asyncio.to_thread(run, *arguments) == 0
        return " ".join(capsys.readouterr().err.split())

    preload = "add pg_stat_statements to shared_preload_libraries and restart the server"
    create = "CREATE EXTENSION pg_stat_statements in the database postgres, as a superuser"
    without_library = await told()
    assert "and the server was started without its library" in without_library
    assert f"To have it, {preload}." in without_library
    await postgres.execute("DROP EXTENSION pg_stat_statements")
    assert f"To have it, {preload}, then {create}." in await told()
    postgres.stop()
    postgres.start(shared_preload_libraries="pg_stat_statements")
    try:
        assert f"To have it, {create}." in await told()
        await postgres.execute("CREATE EXTENSION pg_stat_statements")
        assert "statements" not in await told()
    finally:
        del postgres.settings["shared_preload_libraries"]
        postgres.stop()
        postgres.start()


def test_the_roles_file_says_when_the_library_is_not_loaded(postgres: PostgresServer) -> None:
    """It made the extension, said nothing, and statements stayed away."""
    assert "pg_stat_statements is not in shared_preload_libraries" in postgres.make_role()
    postgres.stop()
    postgres.start(shared_preload_libraries="pg_stat_statements")
    try:
        assert "shared_preload_libraries" not in postgres.make_role()
    finally:
        del postgres.settings["shared_preload_libraries"]
        postgres.stop()
        postgres.start()


def test_a_role_that_may_do_everything_is_told_of(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--postgres", f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres") == 0
    out, err = capsys.readouterr()
    assert "more than is needed" in err
    [target] = loaded(out, tmp_path).scrapers.postgres
    assert target.user == "postgres"


def test_something_else_than_a_postgres(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(nats()) as url:
        assert run("--postgres", url.removeprefix("http://")) in (1, 3)
    out, err = capsys.readouterr()
    assert "found       postgres" not in err
    assert loaded(out, tmp_path).scrapers.postgres == ()


def test_what_was_found_is_watched_by_the_sidecar_as_it_stands(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The configuration is started unchanged, but for ports that are free here and a store in the test's folder."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "app.log").write_text('{"level": "info", "msg": "hello"}\n')
    found = tmp_path / "found.yaml"
    dsn = f"postgresql://sentinel@127.0.0.1:{postgres.port}/postgres"
    kong_page = (DATA / "metrics_3x.txt").read_text()
    with (
        serving(kong(kong_page)) as gateway,
        nats_server(tmp_path / "nats", binary=debian_binary()) as monitoring,
        serving({"/metrics": (200, TEXT, NODE)}) as node,
    ):
        code = run(
            *("--kong", gateway, "--nats", monitoring.monitor_url, "--metrics", f"{node}/metrics"),
            *(
                "--postgres",
                dsn,
                "--postgres-password-file",
                str(postgres.password_file(tmp_path)),
            ),
            *("--logs", str(tmp_path / "logs"), "--write", str(found)),
        )
        assert code == 0
        capsys.readouterr()
        targets = {"kong", "nats", "postgres", "prometheus"}
        with started(found, tmp_path) as web_url:
            wait_until(lambda: up_scrapers(web_url) == targets, what="a poll of each target")
            with urllib.request.urlopen(f"{web_url}/-/ready", timeout=10) as reply:
                components = json.load(reply)["components"]
    assert {f"scrapers.{name}" for name in targets} <= set(components)
    assert components["receivers.log_files"]["status"] == "ok"


def up_scrapers(web_url: str) -> set[str]:
    with urllib.request.urlopen(f"{web_url}/metrics", timeout=10) as reply:
        text = reply.read().decode()
    return set(re.findall(r'(?m)^sentinel_scraper_up\{scraper="scrapers\.(\w+)",.*\} 1\.0$', text))


@contextlib.contextmanager
def started(config: Path, folder: Path) -> Iterator[str]:
    """`sentinel run` with it; where its pages are."""
    ready, log = folder / "ready.json", folder / "run.log"
    free = {
        f"SENTINEL_{section}__LISTEN__PORT": "0"
        for section in ("RECEIVERS__OTLP_HTTP", "RECEIVERS__OTLP_GRPC", "WEB")
    }
    argv = command("run", "--config", str(config), "--ready-file", str(ready))
    store = {"SENTINEL_STORE__DIRECTORY": str(folder / "store")}
    with running_process(argv, log=log, env={**environment(), **free, **store}) as process:
        wait_until(lambda: ready.exists() or process.poll() is not None, what="the start")
        assert process.poll() is None, log.read_text()
        yield json.loads(ready.read_text())["web_url"]


def test_a_place_that_does_not_answer_leaves_no_file_in_the_way(
    dead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "found.yaml"
    assert run("--prometheus", dead, "--write", str(path)) == 3
    assert "nothing is written" in capsys.readouterr().err
    assert not path.exists()
