"""Goal: real programs' logs arrive, through their own rotation, and kill -9 loses and doubles nothing.

Method: Debian's nginx and PostgreSQL write to files in a folder of the test; a child follows a file and is killed many times
while lines are written and the file is rotated. What it handed on is in a file, as a durable queue would keep it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # ships no types
import pytest

from sentinel.core.model import LogKind, RejectReason
from sentinel.core.normalise.logs.times import LogTimes
from sentinel.ports import Admission
from sentinel.receivers.log_files import LogSourceConfig, component
from sentinel.receivers.log_files.config import StartAt
from sentinel.receivers.log_files.reading import Reading
from sentinel.runtime.component import HealthStatus
from sentinel.runtime.polling.reach import ReachStatus
from tests.support.log_files import Followed, following
from tests.support.postgres_server import postgres_server
from tests.support.servers import running_process, wait_until
from tests.support.sinks import ListSink
from tests.support.skips import require_binary

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 64; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    log_format timed '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time';
    access_log {folder}/logs/access.log timed;
    server {{
        listen 127.0.0.1:{port};
        location = /fine {{ return 200 "fine"; }}
        location = /bad {{ return 502 "bad"; }}
        location = /gone {{ proxy_pass http://127.0.0.1:9; }}
    }}
}}
"""


def kinds(followed: Followed) -> Counter[LogKind]:
    """How many lines of each kind were counted."""
    found: Counter[LogKind] = Counter()
    for batch in followed.sink.batches:
        columns = batch.log_columns
        if columns is not None:
            for number in columns.kind_index.tolist():
                found[columns.kinds[number]] += 1
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[str]:
    """A running nginx with its logs below the test's folder; its URL."""
    binary = require_binary("nginx")
    (tmp_path / "logs").mkdir()
    port = free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(NGINX.format(folder=tmp_path, port=port))
    argv = [binary, "-c", str(config), "-p", str(tmp_path), "-e", str(tmp_path / "start.log")]
    with running_process(argv, log=tmp_path / "nginx.out"):
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/fine"), what="nginx to answer")
        yield f"http://127.0.0.1:{port}"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:
        return False
    except OSError:
        return False


async def test_nginx_over_its_own_rotation(nginx: str, tmp_path: Path) -> None:
    access = LogSourceConfig(
        name="access", paths=(f"{tmp_path}/logs/access.log",), service="gateway", start=StartAt.END
    )
    errors = LogSourceConfig(name="errors", paths=(f"{tmp_path}/error.log",), service="gateway")
    async with following(access, errors, state=tmp_path / "state") as followed:

        async def ask(path: str, count: int) -> None:
            for _ in range(count):
                await asyncio.to_thread(_answers, f"{nginx}/{path}")

        await ask("fine?card=4111111111111111", 20)
        await ask("bad", 5)
        # As logrotate does it: the file is renamed, nginx told to open a new one.
        (tmp_path / "logs/access.log").rename(tmp_path / "logs/access.log.1")
        await ask("fine", 10)
        os.kill(int((tmp_path / "nginx.pid").read_text()), signal.SIGUSR1)
        await asyncio.to_thread(
            wait_until, (tmp_path / "logs/access.log").exists, what="nginx to open a new log"
        )
        await ask("gone", 3)

        def all_came() -> bool:
            return sum(count for kind, count in kinds(followed).items() if kind.place) >= 38

        await followed.sees(all_came, "every request")
        found = kinds(followed)
        calls = Counter[tuple[int, bool]]()
        for kind, count in found.items():
            if kind.place is not None:
                calls[kind.severity, kind.error] += count
        assert calls == {(9, False): 30, (17, True): 8}
        refused = [kind for kind in found if "connect() failed" in kind.gist]
        assert [kind.severity for kind in refused] == [17]
        assert "4111" not in " ".join(followed.tap.texts())
        assert any("card=[PAN]" in text for text in followed.tap.texts())
        assert followed.component.health().status is HealthStatus.OK


async def test_postgres_jsonlog(tmp_path: Path) -> None:
    with postgres_server(
        15,
        logging_collector="on",
        log_destination="jsonlog",
        log_directory="log",
        log_filename="pg.log",
        log_timezone="UTC",
        log_min_messages="warning",
    ) as server:
        source = LogSourceConfig(
            name="pg", paths=(f"{server.data}/log/*.json",), start=StartAt.BEGINNING
        )
        async with following(source, state=tmp_path / "state") as followed:
            for sql in ("SELECT 1/0", "SELECT * FROM missing_7"):
                with pytest.raises(asyncpg.PostgresError):
                    await server.execute(sql)

            def gists() -> set[tuple[int, str]]:
                return {(kind.severity, kind.gist) for kind in kinds(followed)}

            await followed.sees(lambda: (17, "division by zero") in gists(), "the error")
            await followed.sees(
                lambda: (17, "relation * does not exist") in gists(), "the other error"
            )
            assert {kind.service for kind in kinds(followed)} == {"pg"}


async def test_a_mount_that_hangs_is_told_and_holds_up_neither_start_nor_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that never came back stopped all sources while health said that they were followed."""
    monkeypatch.setattr(component, "HANGS_S", 0.1)
    monkeypatch.setattr(component, "_STOP_S", 0.1)
    answers = threading.Event()
    look = Reading.look

    def hangs(self: Reading, *, now_s: float, now_ns: int) -> None:
        assert answers.wait(20)
        look(self, now_s=now_s, now_ns=now_ns)

    monkeypatch.setattr(Reading, "look", hangs)
    log = tmp_path / "app.log"
    log.write_text("first\n")
    source = LogSourceConfig(name="app", paths=(str(log),), start=StartAt.BEGINNING)
    async with following(source, state=tmp_path / "state") as followed:
        health = followed.component.health
        await followed.sees(lambda: health().status is HealthStatus.FAILING, "the hang")
        assert "does a mount hang?" in health().sentence
        answers.set()
        await followed.sees(lambda: followed.tap.texts() == ["first"], "the line")
        assert health().status is HealthStatus.OK
        answers.clear()
        await followed.sees(lambda: health().status is HealthStatus.FAILING, "the next hang")
    assert followed.component.health().sentence == "Stopped"
    answers.set()


async def test_what_is_not_taken_is_read_later(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("")
    sink = ListSink(*[Admission.RETRY_LATER] * 20)
    source = LogSourceConfig(name="app", paths=(str(log),))
    async with following(source, state=tmp_path / "state", sink=sink) as followed:
        with log.open("a") as file:
            file.writelines(f"line {number:04d}\n" for number in range(1000))
        await followed.sees(
            lambda: followed.component.health().status is HealthStatus.DEGRADED, "back-pressure"
        )
        await followed.sees(lambda: len(followed.tap.texts()) >= 1000, "all lines")
        assert followed.tap.texts() == [f"line {number:04d}" for number in range(1000)]
        await followed.sees(
            lambda: followed.component.health().status is HealthStatus.OK, "good health"
        )


async def test_a_line_that_breaks_the_reader_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time of the year 1 did: its batch was read again and again, and no file any more."""
    real = LogTimes.of_text

    def of_text(times: LogTimes, text: str) -> int | None:
        if text == "broken":
            raise OverflowError
        return real(times, text)

    monkeypatch.setattr(LogTimes, "of_text", of_text)
    one, other = tmp_path / "one.log", tmp_path / "other.log"
    one.write_text(
        "".join(
            json.dumps({"time": "broken" if number % 7 == 3 else "", "msg": f"line {number}"})
            + "\n"
            for number in range(20)
        )
    )
    other.write_text("well\n")
    source = LogSourceConfig(name="app", paths=(str(tmp_path / "*.log"),), start=StartAt.BEGINNING)
    async with following(source, state=tmp_path / "state") as followed:
        await followed.sees(lambda: len(followed.tap.texts()) >= 18, "all lines that can be read")
        told = [text for text in followed.tap.texts() if text != "well"]
        expected = [f"line {number}" for number in range(20) if number % 7 != 3]
        assert [json.loads(text)["msg"] for text in told] == expected
        assert "well" in followed.tap.texts()
        rejected = sum(
            (Counter(batch.rejected) for batch in followed.sink.batches), Counter[RejectReason]()
        )
        assert rejected == {RejectReason.BAD_SHAPE: 3}


async def test_a_torrent_starves_no_other_file(tmp_path: Path) -> None:
    torrent, trickle = tmp_path / "torrent.log", tmp_path / "trickle.log"
    torrent.write_text("2026-11-22 06:35:37 INFO one of very many lines\n" * 200_000)
    trickle.write_text("the one that matters\n")
    source = LogSourceConfig(name="app", paths=(f"{tmp_path}/*.log",), start=StartAt.BEGINNING)
    async with following(source, state=tmp_path / "state", ships=False) as followed:
        await followed.sees(
            lambda: any(kind.service == "trickle" for kind in kinds(followed)), "the quiet file"
        )
        before = sum(kinds(followed).values())
        assert before < 100_000


async def test_files_that_cannot_be_read_show_in_health(tmp_path: Path) -> None:
    """A link that leads to itself stands for whatever keeps a file from being read: root may read all others."""
    (tmp_path / "app.log").symlink_to(tmp_path / "app.log")
    source = LogSourceConfig(name="app", paths=(f"{tmp_path}/*.log",))
    async with following(source, state=tmp_path / "state") as followed:
        health = followed.component.health()
        assert health.status is HealthStatus.DEGRADED
        assert "app.log" in health.sentence
        (reach,) = await followed.component.reach()
        assert reach.status is ReachStatus.FAILING


def _killed_runs(tmp_path: Path, *, kills: int, seed: int) -> None:
    """Write and rotate while a follower is killed again and again; every line must have been handed on under one id."""
    rng = random.Random(seed)
    folder = tmp_path / "logs"
    folder.mkdir()
    log, out, state = folder / "app.log", tmp_path / "out", tmp_path / "state"
    log.touch()
    argv = [sys.executable, "-m", "tests.support.log_files", f"{folder}/app.log", str(state), str(out)]  # fmt: skip
    written = rotated = 0
    for _ in range(kills):
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"following\n"
            for _ in range(rng.randrange(1, 40)):
                with log.open("a") as file:
                    for _ in range(rng.randrange(1, 60)):
                        written += 1
                        file.write(f"line {written:07d} {'x' * rng.randrange(200)}\n")
                if rng.random() < 0.1:
                    rotated += 1
                    log.rename(folder / f"app.log.{rotated}")
                    log.touch()
                if rng.random() < 0.3:
                    time.sleep(rng.random() * 0.03)
            child.kill()
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as child:
        try:
            wait_until(lambda: len(_handed(out)) >= written, what="the last lines")
        finally:
            child.kill()
    numbers = Counter(line.split()[1] for line in _handed(out).values())
    assert set(numbers) == {f"{number:07d}" for number in range(1, written + 1)}
    assert set(numbers.values()) == {1}


def _handed(out: Path) -> dict[str, str]:
    """What was handed on, by its id; the same id always says the same."""
    found: dict[str, str] = {}
    if out.exists():
        for line in out.read_text().splitlines():
            if not line.endswith("$"):
                continue  # it is being written, or its writer was killed
            uid, _, text = line.removesuffix("$").partition(" ")
            assert found.setdefault(uid, text) == text
    return found


def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    _killed_runs(tmp_path, kills=4, seed=1)


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_kill_9_many_times(tmp_path: Path, seed: int) -> None:
    _killed_runs(tmp_path, kills=60, seed=100 + seed)
