"""Goal: the past of a real Prometheus comes into a store as it was, and a process killed at any point goes on to the same store.

Method: Debian's Prometheus with blocks that promtool made of counters, durations and a gauge with a gap; the command as a process of
its own, killed with SIGKILL at random moments (the seed is fixed) and started again.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.core.model import SeriesKey
from sentinel.pipeline.backfill import STEP_NS
from sentinel.storage.sqlite import StoreReader
from tests.support.servers import PrometheusServer, prometheus_server, require_binary
from tests.support.sidecar_process import command, environment
from tests.support.store_blocks import rectangle

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

DAYS = 4
SCRAPE_S = 60
GAP_S = (40_000, 50_000)
"""Of the gauge, from the first sample on."""
ROUTES = ("/pay", "/refund")
QUERIES = """
        - {name: rate, signal: traffic, query: 'sum by (service, route) (rate(calls_total[5m]))'}
        - name: failed
          signal: errors
          query: >-
            sum by (service, route) (rate(calls_total{code="500"}[5m])) / sum by (service, route) (rate(calls_total[5m]))
        - {name: times, signal: latency, query: 'latency_ms', scale: 0.001, without_labels: [job]}
        - {signal: depth, query: 'queue_depth', service: bank, route_labels: [queue]}
"""


@dataclass(frozen=True)
class Past:
    """A Prometheus with a past.

    Attributes:
        server: running.
        start_s, end_s: of its samples.
    """

    server: PrometheusServer
    start_s: int
    end_s: int


def openmetrics(path: Path, *, start_s: int, end_s: int) -> None:
    """Counters that grow by 10 a second (a tenth of it failed on one route), durations, and a gauge with a gap."""
    with path.open("w") as file:
        file.write("# TYPE calls counter\n")
        for route in ROUTES:
            for code in ("200", "500"):
                rate = {"200": 10.0, "500": 1.0 if route == "/pay" else 0.0}[code]
                labels = f'service="bank",route="{route}",code="{code}"'
                file.writelines(
                    f"calls_total{{{labels}}} {rate * (at - start_s):g} {at}\n"
                    for at in range(start_s, end_s, SCRAPE_S)
                )
        file.write("# TYPE latency_ms gauge\n")
        file.writelines(
            f'latency_ms{{service="bank",route="/pay"}} {100 + at // 3600 % 24} {at}\n'
            for at in range(start_s, end_s, SCRAPE_S)
        )
        file.write("# TYPE queue_depth gauge\n")
        file.writelines(
            f'queue_depth{{queue="q",instance="i"}} {at % 7} {at}\n'
            for at in range(start_s, end_s, SCRAPE_S)
            if not start_s + GAP_S[0] <= at < start_s + GAP_S[1]
        )
        file.write("# EOF\n")


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    promtool = require_binary("promtool")
    folder = tmp_path_factory.mktemp("prometheus")
    end_s = (int(time.time()) - 4 * 3600) // 7200 * 7200
    start_s = end_s - DAYS * 86_400
    source = folder / "past.om"
    openmetrics(source, start_s=start_s, end_s=end_s)
    made = [promtool, "tsdb", "create-blocks-from", "openmetrics"]
    made += [str(source), str(folder / "data")]
    subprocess.run(made, check=True, capture_output=True, timeout=120)
    with prometheus_server("{}", folder) as server:
        yield Past(server, start_s, end_s)


def written(folder: Path, past: Past) -> Path:
    path = folder / "sentinel.yaml"
    path.write_text(
        f"scrapers:\n  prometheus_queries:\n    - name: main\n      url: {past.server.url}\n      queries:{QUERIES}"
    )
    return path


def words(folder: Path, past: Past, *more: str) -> list[str]:
    return command(
        *("baseline", "backfill", "--config", str(written(folder, past))),
        *("--store", str(folder / "store"), "-o", "json"),
        *("--start", _iso(past.start_s - 86_400), "--end", _iso(past.end_s), *more),
    )


def _iso(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def ended(argv: list[str]) -> dict[str, Any]:
    done = subprocess.run(argv, capture_output=True, timeout=120, env=environment())
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def content(folder: Path) -> tuple[dict[Any, Any], list[tuple[int, SeriesKey]]]:
    with StoreReader(folder / "store") as reader:
        blocks = list(reader.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62))
        return rectangle(blocks), [(row.series_id, row.key) for row in reader.series()]


def column(folder: Path, key: SeriesKey) -> dict[int, tuple[float, float]]:
    """Value and weight of a series by the second its window begins."""
    with StoreReader(folder / "store") as reader:
        number = next(row.series_id for row in reader.series() if row.key == key)
        found = {}
        for block in reader.windows(step_ns=STEP_NS, start_ns=0, end_ns=2**62, series=[number]):
            for at in np.flatnonzero(block.heard[:, 0]):
                second = (block.start_ns + int(at) * STEP_NS) // 10**9
                found[second] = (float(block.value[at, 0]), float(block.weight[at, 0]))
        return found


def test_the_past_comes_in_as_it_was(past: Past, tmp_path: Path) -> None:
    told = ended(words(tmp_path, past))
    assert told["series_count"] == 6
    assert told["remarks"][0].startswith("asked for from")  # a day more than there is
    assert "23 h 55 min less" in told["remarks"][0]
    traffic = column(tmp_path, SeriesKey("bank", "edge", "/pay", "traffic"))
    errors = column(tmp_path, SeriesKey("bank", "edge", "/pay", "errors"))
    middle = past.start_s + 2 * 86_400
    assert traffic[middle] == pytest.approx((11.0, 3300.0))
    assert errors[middle] == pytest.approx((1 / 11, 3300.0))
    latency = column(tmp_path, SeriesKey("bank", "edge", "/pay", "latency"))
    assert latency[middle][0] == pytest.approx((100 + middle // 3600 % 24) / 1000)
    assert latency[middle][1] == pytest.approx(3300.0)
    depth = column(tmp_path, SeriesKey("bank", "metrics", "q", "depth"))
    # The last value is repeated for the five minutes of Prometheus' lookback; then there is nothing, and no zero.
    missing = [second for second in range(past.start_s, past.end_s, 300) if second not in depth]
    gap = [second for second in missing if second > past.start_s + 600]
    assert gap[0] == pytest.approx(past.start_s + GAP_S[0] + 300, abs=600)
    assert gap[-1] == pytest.approx(past.start_s + GAP_S[1] - 300, abs=600)
    assert len(gap) == pytest.approx((GAP_S[1] - GAP_S[0]) / 300 - 1, abs=2)
    before = content(tmp_path)
    again = ended(words(tmp_path, past, "--parallel", "1"))
    assert not again["resumed"]
    assert content(tmp_path) == before


def killed_again_and_again(past: Past, folder: Path, *, kill_count: int, seed: int) -> None:
    whole, killed = folder / "whole", folder / "killed"
    for one in (whole, killed):
        one.mkdir()
    began_s = time.monotonic()
    expected = ended(words(whole, past, "--step", "15s"))
    lasts_s = time.monotonic() - began_s
    rng = random.Random(seed)
    for _ in range(kill_count):
        process = started(killed, past)
        try:
            out, err = process.communicate(timeout=lasts_s * rng.uniform(0.3, 1.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate(timeout=20)
            continue
        # Done before it was killed: what is there must be right, and the next one begins anew.
        assert process.returncode == 0, err.decode()
        _compare(json.loads(out), expected)
        assert content(killed) == content(whole)
    for _ in range(5):
        process = started(killed, past)
        assert process.stderr is not None
        try:
            process.stderr.readline()  # the first slice is stored
        finally:
            process.kill()
            process.communicate(timeout=20)
        told = ended(words(killed, past, "--step", "15s"))
        _compare(told, expected)
        assert content(killed) == content(whole)
        if told["resumed"]:
            return
    pytest.fail("no run went on from an earlier one")


def started(folder: Path, past: Past) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words(folder, past, "--step", "15s"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )


def _compare(told: dict[str, Any], expected: dict[str, Any]) -> None:
    for name in ("series_count", "window_count", "row_count", "start", "end", "skipped"):
        assert told[name] == expected[name], name


def test_killed_at_any_point_it_goes_on_to_the_same_store(past: Past, tmp_path: Path) -> None:
    killed_again_and_again(past, tmp_path, kill_count=5, seed=1)


@pytest.mark.full
@pytest.mark.timeout(1500)
def test_killed_at_a_hundred_points_it_goes_on_to_the_same_store(
    past: Past, tmp_path: Path
) -> None:
    killed_again_and_again(past, tmp_path, kill_count=100, seed=2)
