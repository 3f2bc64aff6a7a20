"""What `sentinel baseline backfill` says of a server, and what it refuses, each with a sentence and its exit code.

Method: the command in-process against a server that answers as it is told to, in a thread of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from sentinel.cli.baseline import command as baseline
from sentinel.cli.progress import ProgressLine
from sentinel.pipeline.backfill import STEP_NS
from sentinel.pipeline.latest import LATEST_SOURCE, LATEST_WINDOWS, latest_from_bytes
from sentinel.storage.sqlite import StoreReader
from sentinel.storage.sqlite.connection import DirectoryLock
from tests.support.clock import ManualClock
from tests.support.query_api import Fault, QueryApi, serving

NOW_NS = 1_790_000_000_000_000_000
PLACE = (("route", "/a"), ("service", "shop"))


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.runtime.clock.SystemClock.now_ns", lambda _: NOW_NS)


@contextmanager
def served(api: QueryApi) -> Iterator[QueryApi]:
    """The server in a thread: the command has an event loop of its own."""
    up, down = threading.Event(), threading.Event()

    async def serve() -> None:
        async with serving(api):
            up.set()
            while not down.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert up.wait(10)
        yield api
    finally:
        down.set()
        thread.join(10)


def api() -> QueryApi:
    return QueryApi(queries={"rate": {PLACE: lambda at: 1.0 if at < 1e15 else None}})


def written(folder: Path, url: str, *, more: str = "", queries: str = "") -> str:
    path = folder / "sentinel.yaml"
    asked = queries or "[{signal: traffic, query: rate}]"
    path.write_text(
        f"scrapers:\n  prometheus_queries:\n    - {{name: main, url: '{url}', queries: {asked}}}\n{more}"
    )
    return str(path)


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    baseline.add_arguments(parser.add_subparsers(required=True).add_parser("baseline"))
    args = parser.parse_args(["baseline", "backfill", *words])
    code: int = args.run(args)
    return code


def test_a_server_is_read_and_what_came_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(api()) as running:
        config = written(tmp_path, running.url)
        store = str(tmp_path / "store")
        words = ("--config", config, "--store", store, "--weeks", "1")
        assert run(*words, "--dry-run", "-o", "json") == 0
        told = json.loads(capsys.readouterr().out)
        assert not (tmp_path / "store").exists()
        assert run(*words, "-o", "json") == 0
        taken = capsys.readouterr()
        again = json.loads(taken.out)
        assert run(*words) == 0
        out = capsys.readouterr().out
    told.pop("dry_run")
    again.pop("dry_run")
    timed = ("read_s", "store_s")
    assert {name: told[name] for name in told if name not in timed} == {
        name: again[name] for name in again if name not in timed
    }
    assert (told["series_count"], told["window_count"]) == (1, 7 * 288)
    assert told["remarks"] == []
    assert re.search(
        r"main: 100%, 0 s left, .* values, .*/s, read until \d{4}-\d\d-\d\d \d\d:\d\dZ", taken.err
    )
    assert all(len(line) < 80 for line in taken.err.splitlines())
    assert out.splitlines()[-3:] == [
        "Stored. Start the sidecar; it fits at once.",
        "Within the hour it judges from its first window on: the last ones are kept as it will see them.",
        f"Next: SENTINEL_STORE__DIRECTORY={store} sentinel run --config {config}",
    ]
    with StoreReader(tmp_path / "store") as reader:
        [(step, _, end_ns)] = reader.history_span()
        assert (step, end_ns) == (STEP_NS, (NOW_NS - 30 * 10**9) // STEP_NS * STEP_NS)
        latest = latest_from_bytes(reader.past_progress(LATEST_SOURCE))
    # The last hour as the sidecar will see it: windows of a minute, up to where the server knows them.
    assert latest is not None
    minute_ns = 60 * 10**9
    assert (latest.step_ns, latest.window_count) == (minute_ns, LATEST_WINDOWS)
    assert latest.end_ns == (NOW_NS - 30 * 10**9) // minute_ns * minute_ns
    assert (latest.value == 1.0).all()


@pytest.mark.parametrize("more", [(), ("--end", "2026-09-20T00:00Z"), ("--dry-run",)])
def test_the_last_windows_are_kept_where_the_past_reaches_up_to_now(
    more: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(api()) as running:
        config = written(tmp_path, running.url, more=f"store: {{directory: {tmp_path}/own}}\n")
        assert run("--config", config, "--weeks", "1", *more) == 0
    assert ("judges from its first window on" in capsys.readouterr().out) is (not more)


def test_last_windows_that_cannot_be_had_are_told_and_nothing_else_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    since_s = NOW_NS / 1e9 - 62 * 60

    def fault_of(given: Mapping[str, str]) -> Fault | None:
        is_last = float(given.get("start", 0)) >= since_s
        return Fault(422, text="no more\ntoday") if is_last else None

    running = api()
    running.fault_of = fault_of
    with served(running):
        config = written(tmp_path, running.url)
        assert run("--config", config, "--store", str(tmp_path / "store"), "--weeks", "1") == 0
    out, err = capsys.readouterr()
    assert "waits for six before it judges: " in err
    assert "Stored." in out
    assert "judges from its first window" not in out
    with StoreReader(tmp_path / "store") as reader:
        assert reader.past_progress(LATEST_SOURCE) == b""


def test_the_store_is_that_of_the_configuration(tmp_path: Path) -> None:
    with served(api()) as running:
        config = written(tmp_path, running.url, more=f"store: {{directory: {tmp_path}/own}}\n")
        assert run("--config", config, "--weeks", "1") == 0
    assert (tmp_path / "own").is_dir()


def test_what_it_skips_and_lacks_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begins_s = NOW_NS / 1e9 - 3 * 86_400
    running = QueryApi(
        queries={
            "rate": {PLACE: lambda at: (1.0 if at % 600 else -1.0) if at > begins_s else None},
            "none": {},
        },
        warnings=("PromQL warning: a label is odd",),
    )
    queries = "[{signal: traffic, query: rate}, {signal: depth, query: none}]"
    with served(running):
        config = written(tmp_path, running.url, queries=queries)
        assert run("--config", config, "--weeks", "1", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "skipped        432 not possible for its signal" in out
    assert "there is nothing before" in out
    assert "query depth gives nothing now" in out
    assert "the server says: PromQL warning: a label is odd" in out
    assert out.splitlines()[-2:] == [
        "Dry run: all of it can be stored, and nothing was.",
        "Next: the same without --dry-run.",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--config"),
        (("x.csv", "--weeks", "3"), "--weeks: only without files"),
        (("--config", "C", "--weeks", "3", "--start", "2026-01-01"), "not both"),
        (("--config", "C", "--end", "2027-01-01"), "lies in the future"),
        (("--config", "C", "--start", "2026-09-21T14:13:00Z"), "not before the end"),
        (("--config", "C", "--prometheus", "other"), "called other"),
        (("--config", "C", "--prometheus", "http://u:p@h"), "credentials"),
    ],
)
def test_what_makes_no_sense_is_a_fault_of_usage(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = written(tmp_path, "http://127.0.0.1:1")
    assert run(*(config if word == "C" else word for word in words)) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("--weeks", "0"), ("--step", "7s"), ("--step", "1h"), ("--parallel", "99")]
)
def test_an_option_out_of_bounds_is_a_fault_of_usage(words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("--config", "x", *words)
    assert caught.value.code == 2


def test_a_configuration_without_queries_has_nothing_to_ask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("mode: shadow\n")
    assert run("--config", str(path)) == 2
    assert "no scrapers.prometheus_queries" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (Fault(400, "bad_data", "parse error"), 1, "main: parse error"),
        (Fault(401, "", ""), 1, "bearer_token_file"),
    ],
)
def test_a_server_that_refuses_ends_it(
    fault: Fault, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = api()
    running.fault_of = lambda given: fault
    with served(running):
        config = written(tmp_path, running.url)
        assert run("--config", config, "--store", str(tmp_path / "store")) == code
    assert said in capsys.readouterr().err


def test_what_the_store_does_not_keep_is_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(api()) as running:
        config = written(tmp_path, running.url, more="store: {keep_5m: 2d}\n")
        assert run("--config", config, "--weeks", "1", "--dry-run") == 0
    taken = capsys.readouterr()
    assert "the store keeps no longer" in taken.err
    assert "window count   575" in taken.out


def test_parquet_is_known_by_its_name_or_its_first_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = {
        "timestamp": [NOW_NS // 10**9 - 900, NOW_NS // 10**9 - 600],
        **{name: [name] * 2 for name in ("service", "stage", "route")},
        "signal": ["traffic"] * 2,
        "value": [1.0, None],
    }
    for name in ("h.parquet", "unnamed"):
        pq.write_table(pa.table(columns), tmp_path / name)
        assert run(str(tmp_path / name), "--dry-run", "-o", "json") == 0
        assert json.loads(capsys.readouterr().out)["window_count"] == 2
    monkeypatch.setitem(sys.modules, "sentinel.history.parquet", None)
    assert run(str(tmp_path / "h.parquet"), "--dry-run") == 1
    assert "pip install 'sentinel-sidecar[parquet]'" in capsys.readouterr().err


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def test_progress_is_one_line_on_a_terminal_and_some_lines_elsewhere() -> None:
    clock = ManualClock()
    for stream, shown in (
        (_Terminal(), ["\r\x1b[K1", "\r\x1b[K3", "\r\x1b[Ksaid\n", "\r\x1b[K4"]),
        (io.StringIO(), ["1\n", "said\n", "4\n"]),
    ):
        line = ProgressLine(clock, stream=stream)
        line.show("1")
        line.show("2")
        await clock.advance(1)
        line.show("3")
        line.say("said")
        line.show("4", is_last=True)
        assert stream.getvalue() == "".join(shown)


def test_files_of_which_nothing_can_be_stored_are_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It said that all was stored, and that the sidecar would fit at once."""
    path = tmp_path / "old.csv"
    path.write_text(
        "timestamp,service,stage,route,signal,value,weight\n1000,pay,edge,/x,traffic,1,\n"
    )
    assert run(str(path), "--store", str(tmp_path / "store")) == 1
    out, err = capsys.readouterr()
    assert "Stored" not in out
    assert "nothing is stored: no row is of a series and of the time that the store keeps" in err


def test_a_store_that_is_used_is_told_of_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was told after minutes of reading."""
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    try:
        assert run(str(tmp_path / "not-even-there.csv"), "--store", str(tmp_path)) == 3
    finally:
        lock.release()
    assert "another process uses the store" in capsys.readouterr().err
    assert run(str(tmp_path / "not-even-there.csv"), "--store", str(tmp_path)) == 3
    assert "not-even-there.csv" in capsys.readouterr().err
