"""Goal: what would have been expected of the past is in Prometheus under the names that live has, to the last digit.

Method: a store as a backfill leaves it, the command itself, promtool and Debian's Prometheus. What must be there is what a
replay of the same windows decides, taken without any of the code that cuts, sorts and writes.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.cli.main import main
from sentinel.core.decide import Decision, DecisionSettings
from sentinel.core.model import Kind, SeriesKey, WindowBlock
from sentinel.pipeline.replay import replay
from sentinel.pipeline.replay.stored_pages import coarse_series
from sentinel.storage.sqlite import StoreReader
from tests.support.dashboards import BOARDS, substitute
from tests.support.past_store import DAY_NS, KEYS, STEP_NS, past_store
from tests.support.remote_write import write_receiver
from tests.support.servers import PrometheusServer, prometheus_server, running_process
from tests.support.skips import require_binary

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

DAYS = 3
COLUMNS = ("value", "expected", "lower", "upper", "score")
EXTRA = ("--label", "instance=127.0.0.1:9640", "--label", "job=sentinel")
Samples = dict[tuple[tuple[str, str], ...], list[tuple[float, float]]]


@pytest.fixture(scope="module")
def start_ns() -> int:
    return time.time_ns() // DAY_NS * DAY_NS - (DAYS + 1) * DAY_NS


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, start_ns: int) -> Path:
    return past_store(tmp_path_factory.mktemp("past"), start_ns=start_ns, days=DAYS)


@pytest.fixture(scope="module")
def decided(store: Path) -> Samples:
    """Every sample that there must be, by its labels."""
    found: Samples = {}

    def note(block: WindowBlock, decision: Decision) -> None:
        for row in range(block.window_count):
            at_s = (block.start_ns + (row + 1) * block.step_ns) / 1e9
            for place, number in enumerate(block.series.tolist()):
                key = given[number - 1].key
                assert key is not None
                for column in COLUMNS:
                    value = float(getattr(decision.verdicts, column)[row, place])
                    if math.isnan(value) or (column in {"lower", "upper"} and math.isinf(value)):
                        continue
                    labels = {"__name__": f"sentinel_{column}", **key._asdict()}
                    labels |= {"instance": "127.0.0.1:9640", "job": "sentinel"}
                    named = tuple(sorted(one for one in labels.items() if one[1]))
                    # As it stands on a page: nine digits.
                    found.setdefault(named, []).append((at_s, float(f"{value:.9g}")))

    with StoreReader(store) as reader:
        given = coarse_series(reader, step_ns=STEP_NS, start_ns=0, end_ns=2**62)
    replay(given, kind=Kind.GAUGE, settings=DecisionSettings(), on_decided=note)
    scores = [
        one for labels, own in found.items() if labels[0][1] == "sentinel_score" for one in own
    ]
    assert len(scores) > 1000
    assert max(score for _, score in scores) > 1
    return found


def held(server: PrometheusServer, start_ns: int) -> Samples:
    """All raw samples of the verdicts that a Prometheus holds."""
    query = f'{{__name__=~"sentinel_.*"}}[{DAYS + 2}d]'
    end_s = start_ns / 1e9 + (DAYS + 1) * 86_400
    result = server.get("/api/v1/query", query=query, time=str(end_s))["result"]
    return {
        tuple(sorted(one["metric"].items())): [
            (float(at_s), float(value)) for at_s, value in one["values"]
        ]
        for one in result
    }


def exported(
    capsys: pytest.CaptureFixture[str], *args: str | Path, code: int = 0
) -> tuple[dict[str, Any], str]:
    assert main(["baseline", "export", *map(str, args), *EXTRA, "-o", "json"]) == code
    shown = capsys.readouterr()
    return json.loads(shown.out), shown.err


def test_files_become_blocks_that_a_prometheus_serves(
    store: Path,
    decided: Samples,
    start_ns: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    promtool = require_binary("promtool")
    report, said = exported(capsys, "--store", store, "--openmetrics", tmp_path / "om")
    files = sorted((tmp_path / "om").iterdir())
    assert report["files"] == len(files) == DAYS + 1  # the last sample is at midnight
    assert report["samples"] == sum(map(len, decided.values()))
    assert "as a sidecar would have judged them" in said
    before = [one.read_bytes() for one in files]
    exported(capsys, "--store", store, "--openmetrics", tmp_path / "om")
    assert [one.read_bytes() for one in files] == before

    data = tmp_path / "prometheus" / "data"
    data.mkdir(parents=True)
    for file in files:
        made = subprocess.run(
            [promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", file, data],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert made.returncode == 0, made.stderr
    with prometheus_server("", tmp_path / "prometheus") as server:
        assert held(server, start_ns) == decided
        for title, query in banded(KEYS[0]):
            at = str(start_ns / 1e9 + (DAYS - 0.5) * 86_400)
            assert server.get("/api/v1/query", query=query, time=at)["result"], title


def banded(key: SeriesKey) -> list[tuple[str, str]]:
    """Title and query of what the shipped board draws of one series: value, expected, band and score."""
    (board,) = (one for one in BOARDS if one.path.name == "sentinel-series.json")
    values = {**key._asdict(), "instance": "127.0.0.1:9640"}
    found = [
        (title, substitute(query, values))
        for title, query in board.queries()
        # Red points are of values outside the band, of which there need be none.
        if title in ("Value, what was expected, and the band", "Score") and " and on " not in query
    ]
    assert len(found) == 5
    return found


def test_a_receiver_that_does_not_know_2_is_found_out_and_gets_the_same_by_1(
    store: Path,
    decided: Samples,
    start_ns: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Debian's Prometheus takes a request of 2.0 for an empty one, and says it is written: nothing would be there."""
    with receiving(tmp_path) as server:
        report, said = exported(
            capsys, "--store", store, "--remote-write", server.url, "--to", halfway(start_ns)
        )
        assert "does not say what it wrote to remote write 2.0: it is written to by 1.0" in said
        assert (report["protocol"], report["refused"]) == ("1.0", 0)
        # The second half, and the first once more: what is there already is no fault.
        report, _ = exported(capsys, "--store", store, "--remote-write", server.url)
        assert report["refused"] == 0
        assert held(server, start_ns) == decided
        # What a scrape would have marked as ended has ended at once.
        gone_s = start_ns / 1e9 + DAYS * 86_400 * 3 / 4 + 300
        query = {"query": 'sentinel_value{service="pay"}'}
        at = {"time": str(gone_s + 60)}
        assert server.get("/api/v1/query", **query, **at)["result"] == []


def test_a_prometheus_without_a_window_takes_it_once_and_what_it_refuses_is_told(
    store: Path,
    decided: Samples,
    start_ns: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Samples come in order of time over all series, so that an empty one takes them as they are."""
    with receiving(tmp_path, window="") as server:
        args = ("--store", store, "--remote-write", server.url, "--protocol", "1.0")
        report, _ = exported(capsys, *args, "--to", halfway(start_ns))
        assert report["refused"] == 0
        # As after a kill: the same command, from where it had come to.
        report, _ = exported(capsys, *args, "--from", halfway(start_ns))
        assert report["refused"] == 0
        assert held(server, start_ns) == decided
        report, said = exported(capsys, *args, code=1)
        assert report["written"] == 0
        assert report["refused"] > 0
        assert "20 requests in a row were refused" in said
        assert "out_of_order_time_window" in said


def halfway(start_ns: int) -> str:
    return np.datetime_as_string(np.datetime64(start_ns + DAYS * DAY_NS // 2, "ns"), "s") + "Z"


def receiving(tmp_path: Path, *, window: str = "30d") -> AbstractContextManager[PrometheusServer]:
    config = f"storage: {{tsdb: {{out_of_order_time_window: {window}}}}}\n" if window else ""
    options = ("--web.enable-remote-write-receiver",)
    return prometheus_server(config, tmp_path / "prometheus", options=options)


def test_after_a_kill_the_same_command_writes_the_same_and_leaves_nothing_behind(
    store: Path, tmp_path: Path
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    argv = [sys.executable, "-m", "sentinel", "baseline", "export", "--store", str(store), *EXTRA]
    env = {**os.environ, "TMPDIR": str(temporary)}
    with write_receiver() as first:
        take = first.take
        with running_process(
            [*argv, "--remote-write", first.url], log=tmp_path / "log", env=env
        ) as process:

            def killing(headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], str]:
                answer = take(headers, body)
                if len(first.requests) == 20:
                    process.kill()
                return answer

            first.take = killing  # type: ignore[method-assign]
            assert process.wait(timeout=60) == -signal.SIGKILL
    assert len(list(temporary.iterdir())) == 1
    with write_receiver() as second:
        done = subprocess.run(
            [*argv, "--remote-write", second.url, "-o", "json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=env,
        )
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["protocol"] == "2.0"
    assert list(temporary.iterdir()) == []
    assert 0 < sum(map(len, first.series.values())) < sum(map(len, second.series.values()))
    for labels, samples in first.series.items():
        assert second.series[labels][: len(samples)] == samples
