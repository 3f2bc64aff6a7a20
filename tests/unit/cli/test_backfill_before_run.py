"""Goal: a container in front of a sidecar gives its store a past once, and never keeps it from starting.

Method: the command in-process against a server that answers as it is told to; killed runs as processes of their own.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sentinel.app.backfill.promql import digest_of
from sentinel.app.config import load_config
from sentinel.cli.baseline.backfill_told import opened_store
from sentinel.pipeline.backfill import STEP_NS
from sentinel.pipeline.backfill.first_past import DEATHS_MAX, FirstPast, first_past_of
from sentinel.storage.sqlite import StoreConfig, StoreReader
from sentinel.storage.sqlite.connection import DirectoryLock
from tests.support.query_api import Fault, QueryApi
from tests.support.sidecar_process import command, environment
from tests.unit.cli.test_baseline_backfill import NOW_NS, api, run, served, written

WEEK_NS = 7 * 86_400 * 10**9


@dataclass
class Now:
    """What the command takes for the present."""

    now_ns: int = NOW_NS


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    one = Now()
    monkeypatch.setattr("sentinel.runtime.clock.SystemClock.now_ns", lambda _: one.now_ns)
    return one


@pytest.fixture(autouse=True)
def _handler_as_it_was() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def ranges(server: QueryApi) -> int:
    return sum(one["path"].endswith("query_range") for one in server.asked)


def span_of(folder: Path) -> tuple[int, int]:
    with StoreReader(folder / "store") as reader:
        [(_, start_ns, end_ns)] = reader.history_span()
    return start_ns, end_ns


def test_a_restart_reads_nothing_again_and_more_weeks_do(
    tmp_path: Path, now: Now, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(api()) as server:
        config = written(tmp_path, server.url)
        words = ("--config", config, "--store", str(tmp_path / "store"), "--before-run")
        assert run(*words, "--weeks", "1") == 0
        first = span_of(tmp_path)
        assert ranges(server) > 0
        assert first[1] - first[0] == WEEK_NS
        server.asked.clear()
        now.now_ns += 2 * 86_400 * 10**9
        capsys.readouterr()
        assert run(*words, "--weeks", "1") == 0
        assert server.asked == []
        assert "is there already" in capsys.readouterr().err
        assert span_of(tmp_path) == first
        # Not up to the present: of the two days since, the sidecar has windows of its own.
        assert run(*words, "--weeks", "2") == 0
        assert ranges(server) > 0
        assert span_of(tmp_path) == (first[0] - WEEK_NS + 2 * 86_400 * 10**9, first[1])


def test_what_was_cut_short_goes_on_at_the_next_start(
    tmp_path: Path, now: Now, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server hangs after its first slices; the run ends by --within, and the sidecar starts."""
    assert now.now_ns == NOW_NS
    server = api()
    answered = threading.Semaphore(3)
    mended = threading.Event()

    def fault_of(given: dict[str, str]) -> Fault | None:
        if given["path"].endswith("query_range") and not mended.is_set():
            if answered.acquire(blocking=False):
                return None
            return Fault(503, "unavailable", "busy", headers={"Retry-After": "600"})
        return None

    server.fault_of = fault_of  # type: ignore[assignment]  # a mapping is a dict here
    with served(server):
        config = written(tmp_path, server.url)
        words = (
            "--config",
            config,
            "--store",
            str(tmp_path / "store"),
            "--weeks",
            "4",
            "--before-run",
        )
        assert run(*words, "--within", "3s") == 0
        err = capsys.readouterr().err
        assert "not read to the end within 3 s; " in err.replace("\n", "; ")
        assert "the sidecar starts with what its store has" in err
        cut = ranges(server)
        stored = span_of(tmp_path)
        mended.set()
        server.asked.clear()
        assert run(*words, "-o", "json") == 0
        assert json.loads(capsys.readouterr().out)["resumed"] is True
        assert ranges(server) > 0
        assert cut > 0
    assert span_of(tmp_path)[1] > stored[1]
    assert span_of(tmp_path)[1] - span_of(tmp_path)[0] == 4 * WEEK_NS


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(401, "unauthorized", "who are you"), "401"),
        (Fault(422, "execution", "no such thing"), "no such thing"),
    ],
    ids=["refused", "cannot work"],
)
def test_a_server_that_refuses_keeps_no_sidecar_from_starting(
    tmp_path: Path, now: Now, capsys: pytest.CaptureFixture[str], fault: Fault, told: str
) -> None:
    assert now.now_ns == NOW_NS
    server = api()
    server.fault_of = lambda given: fault
    with served(server):
        words = ("--config", written(tmp_path, server.url), "--store", str(tmp_path / "store"))
        assert run(*words) == 1
        capsys.readouterr()
        assert run(*words, "--before-run") == 0
        err = capsys.readouterr().err
        assert told in err
        assert err.splitlines()[-1].endswith("the sidecar starts with what its store has")
        # It is asked again at the next start.
        server.fault_of = lambda given: None
        assert run(*words, "--before-run", "--weeks", "1") == 0
        assert span_of(tmp_path)[1] == (NOW_NS - 30 * 10**9) // STEP_NS * STEP_NS


def test_nor_does_a_store_in_use_or_a_configuration_with_faults_or_without_queries(
    tmp_path: Path, now: Now, capsys: pytest.CaptureFixture[str]
) -> None:
    assert now.now_ns == NOW_NS
    config = written(tmp_path, "http://127.0.0.1:1")
    words = ("--store", str(tmp_path / "store"), "--before-run")
    (tmp_path / "store").mkdir()
    lock = DirectoryLock(tmp_path / "store")
    lock.acquire()
    try:
        assert run("--config", config, *words) == 0
    finally:
        lock.release()
    for text, told in (
        ("modus: live\n", "modus"),
        ("mode: live\n", "no scrapers.prometheus_queries"),
    ):
        Path(config).write_text(text)
        capsys.readouterr()
        assert run("--config", config, *words) == 0
        assert told in capsys.readouterr().err
    assert run("--config", str(tmp_path / "nowhere.yaml"), *words) == 0
    # What a person typed wrongly is told of as ever.
    assert run("--before-run", config) == 2
    assert run("--config", config, "--before-run", "--dry-run") == 2


def test_runs_that_are_killed_are_given_up_after_some(
    tmp_path: Path, now: Now, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed for its memory, say, at the same place each time: a container that is restarted for ever is a scorer that never starts."""
    assert now.now_ns == NOW_NS
    asked = threading.Event()
    held = threading.Event()
    server = api()

    def fault_of(given: dict[str, str]) -> Fault | None:
        if given["path"].endswith("query_range") and not held.is_set():
            asked.set()
            return Fault(503, "unavailable", "busy", headers={"Retry-After": "600"})
        return None

    server.fault_of = fault_of  # type: ignore[assignment]  # a mapping is a dict here
    with served(server):
        config = written(tmp_path, server.url)
        words = ("--config", config, "--store", str(tmp_path / "store"), "--before-run")
        asking = ("baseline", "backfill", *words, "--weeks", "1")
        source = f"first {digest_of(load_config(Path(config)).config.scrapers.prometheus_queries[0], 60 * 10**9)}"
        note: FirstPast | None = None
        for death_count in (1, 2):
            asked.clear()
            process = subprocess.Popen(command(*asking), env=environment(), stderr=subprocess.DEVNULL)  # fmt: skip
            try:
                assert asked.wait(30)
            finally:
                process.kill()
                process.wait(10)
            with opened_store(StoreConfig(directory=str(tmp_path / "store"))) as store:
                assert store is not None
                note = first_past_of(store.past_progress(source))
                assert note is not None
                assert note.death_count == death_count
        with opened_store(StoreConfig(directory=str(tmp_path / "store"))) as store:
            assert store is not None
            assert note is not None
            last = replace(note, death_count=DEATHS_MAX).to_bytes()
            store.append_past((), source=source, progress=last, now_ns=NOW_NS)
        done = subprocess.run(command(*asking), env=environment(), capture_output=True, text=True, timeout=30, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"{DEATHS_MAX} runs were killed before they ended" in done.stderr
        # The pod's end is no such death: it is heard, also as the first process of a container.
        asked.clear()
        ending = subprocess.Popen(command(*asking), env=environment(), stderr=subprocess.PIPE)
        try:
            assert asked.wait(30)
            ending.terminate()
            _, err = ending.communicate(timeout=30)
        finally:
            ending.kill()
        assert ending.returncode == 130, err
        held.set()
        done = subprocess.run(command(*asking), env=environment(), capture_output=True, text=True, timeout=30, check=False)  # fmt: skip
        assert "Stored." in done.stdout
    assert capsys.readouterr().out == ""


def test_a_note_that_cannot_be_read_is_none() -> None:
    for payload in (b"", b"[1]", b"{}", b'["a", 1, true, 0]', b"\xff"):
        assert first_past_of(payload) is None
    note = FirstPast(span=(1, 2), is_whole=True, death_count=3)
    assert first_past_of(note.to_bytes()) == note
