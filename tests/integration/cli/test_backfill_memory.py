"""Goal: a backfill holds as much of four times the past as of once: what is not stored yet has a bound, whatever comes in.

Method: the command in a process of its own, its peak of resident memory as the kernel tells it. The bounds that are tuned for a large past
(values of a slice, rows in memory) are set twenty times lower in it, so that a small past is as many times as large as they are; with
the bounds out of reach the same past takes more, which shows that the peak would tell. Four times the series, and four times the
days, of a real Prometheus; four times the days of each kind of file.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.support.prometheus_past import put_past
from tests.support.servers import PrometheusServer, prometheus_server
from tests.support.sidecar_process import environment

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

STEP_S = 300
STORED, DAYS = 20, 14
"""Series of the Prometheus; each is asked for under many names."""
COPIES, SPAN_DAYS = 15, 3.5
MORE_MB = 14.0
"""What four times the past may take more: what is known of each series and each chunk, and how memory happens to lie."""
UNBOUNDED_MB = 20.0
"""What it takes more at least where nothing has a bound: 900,000 values of 24 bytes each and more."""
SLICE_VALUES = 20_000
SPOOLED_ROWS = 50_000
BOUNDED = (SLICE_VALUES, SPOOLED_ROWS)
UNBOUNDED = (10**9, 10**9)

_CHILD = """
import pathlib, re, sys
from sentinel.history.promql import cutting
from sentinel.pipeline.backfill import spool
cutting.ROWS_MAX, spool._SPOOLED_ROWS_MAX = int(sys.argv[1]), int(sys.argv[2])
from sentinel.cli.main import main
code = main(sys.argv[3:])
peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())
sys.stderr.write(f"\\npeak {peak[1]}\\n")
sys.exit(code)
"""


def peak_mb(words: Sequence[str], *, values: int, bounds: tuple[int, int] = BOUNDED) -> float:
    """Highest resident memory of a backfill that must store so many windows."""
    argv = [sys.executable, "-c", _CHILD, *map(str, bounds), "baseline", "backfill", "-o", "json"]
    done = subprocess.run(
        [*argv, *words], capture_output=True, timeout=240, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["window_count"] == pytest.approx(values, rel=0.02)
    return int(done.stderr.decode().rsplit("peak ", 1)[1]) / 1024


@dataclass(frozen=True)
class Past:
    """A Prometheus whose samples end at `end_s`."""

    server: PrometheusServer
    end_s: int


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("prometheus")
    end_s = (int(time.time()) - 4 * 3600) // 14_400 * 14_400

    def lines() -> Iterator[str]:
        yield "# TYPE depth gauge"
        for one in range(STORED):
            for second in range(end_s - DAYS * 86_400, end_s, STEP_S):
                yield f'depth{{queue="q{one}"}} {100 + second // STEP_S % 97 * 1.37 + one:.4f} {second}'
        yield "# EOF"

    put_past(lines(), folder / "data")
    with prometheus_server("{}", folder, options=("--storage.tsdb.retention.time=1y",)) as server:
        yield Past(server, end_s)


def of_server(past: Past, folder: Path, *, copies: int, days: float) -> list[str]:
    folder.mkdir()
    query = " or ".join(
        f'label_replace(depth, \\"copy\\", \\"{one}\\", \\"\\", \\"\\")' for one in range(copies)
    )
    config = folder / "sentinel.yaml"
    config.write_text(
        "scrapers: {prometheus_queries: [{name: main, url: '"
        + past.server.url
        + "', queries: [{signal: depth, series_max: 100000, service: bank, route_labels: [queue, copy], query: \""
        + query
        + '"}]}]}\n'
    )
    start_s = past.end_s - round(days * 86_400)
    words = ["--config", str(config), "--store", str(folder / "store"), "--step", "5m"]
    return [*words, "--start", _iso(start_s), "--end", _iso(past.end_s)]


@pytest.mark.full
def test_four_times_the_past_of_a_prometheus(past: Past, tmp_path: Path) -> None:
    def peak(name: str, copies: int, days: float, bounds: tuple[int, int] = BOUNDED) -> float:
        words = of_server(past, tmp_path / name, copies=copies, days=days)
        return peak_mb(words, values=round(STORED * copies * days * 288), bounds=bounds)

    once = peak("once", COPIES, SPAN_DAYS)
    series = peak("series", 4 * COPIES, SPAN_DAYS)
    days = peak("days", COPIES, 4 * SPAN_DAYS)
    assert series - once < MORE_MB, (once, series, days)
    assert days - once < MORE_MB, (once, series, days)
    unbounded = peak("unbounded", COPIES, 4 * SPAN_DAYS, UNBOUNDED)
    assert unbounded - once > UNBOUNDED_MB, (once, unbounded)


def in_csv(path: Path, start_s: int, value: np.ndarray) -> None:
    with path.open("w") as file:
        file.write("timestamp,service,stage,route,signal,value,weight\n")
        for row, numbers in enumerate(value.tolist()):
            head = f"{start_s + row * STEP_S},bank,edge"
            file.writelines(
                f"{head},/{at},depth,{number:.3f},\n" for at, number in enumerate(numbers)
            )


def in_openmetrics(path: Path, start_s: int, value: np.ndarray) -> None:
    with path.open("w") as file:
        file.write("# TYPE depth gauge\n")
        for at, numbers in enumerate(value.T.tolist()):
            head = f'depth{{service="bank",stage="edge",route="/{at}"}}'
            file.writelines(
                f"{head} {number:.3f} {start_s + row * STEP_S}\n"
                for row, number in enumerate(numbers)
            )
        file.write("# EOF\n")


def in_parquet(path: Path, start_s: int, value: np.ndarray) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows, series = value.shape
    names = np.array([f"/{at}" for at in range(series)])
    table = arrow.table(
        {
            "timestamp": np.repeat(start_s + np.arange(rows) * STEP_S, series),
            "service": np.full(rows * series, "bank"),
            "stage": np.full(rows * series, "edge"),
            "route": np.tile(names, rows),
            "signal": np.full(rows * series, "depth"),
            "value": value.ravel(),
        }
    )
    parquet.write_table(table, path, row_group_size=20_000)


@pytest.mark.parametrize("write", [in_csv, in_openmetrics, in_parquet])
def test_four_times_the_days_of_a_file(
    write: Callable[[Path, int, np.ndarray], None], tmp_path: Path
) -> None:
    end_s = (int(time.time()) - 4 * 3600) // 14_400 * 14_400
    peaks = []
    for days in (2, 8):
        value = np.random.default_rng(1).lognormal(3, 1, (days * 288, 200))
        path = (
            tmp_path / f"{days}.{write.__name__.removeprefix('in_').replace('openmetrics', 'om')}"
        )
        write(path, end_s - days * 86_400, value)
        words = ["--store", str(tmp_path / f"store{days}"), str(path)]
        peaks.append(peak_mb(words, values=value.size))
    assert peaks[1] - peaks[0] < MORE_MB, peaks


def _iso(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
