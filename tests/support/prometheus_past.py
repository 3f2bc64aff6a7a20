"""A Prometheus that has a past: what it would have scraped of a shop, made by the numbers and put into blocks by promtool."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.servers import require_binary

SCRAPE_S = 15
BOUNDS_S = (0.05, 0.1, 0.2, 0.5, 1.0)
ROUTES = ("/cart", "/pay")


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """What one route of the shop does in a second.

    Attributes:
        calls_per_s: how many calls.
        error_ratio: share of them that fail.
        slow_ratio: share that takes between 0.2 and 0.5 s; the others take between 0.05 and 0.1 s.
    """

    calls_per_s: float = 4.0
    error_ratio: float = 0.0
    slow_ratio: float = 0.0


Story = Callable[[str, int], Minute]
"""What a route does at a Unix second."""


def usual(route: str, _second: int) -> Minute:
    """Four calls a second, of which none fails."""
    return Minute(calls_per_s=8.0 if route == "/cart" else 4.0)


def shop_lines(story: Story, *, start_s: int, end_s: int, job: str = "shop") -> Iterator[str]:
    """The pages of a shop as OpenMetrics with times: counters by code and histograms of seconds, for each scrape."""
    counters: list[str] = []
    buckets: list[str] = []
    for route in ROUTES:
        base = f'handler="{route}",method="POST",job="{job}",instance="shop-1:8080"'
        done = failed = slow = 0.0
        for second in range(start_s, end_s + 1, SCRAPE_S):
            minute = story(route, second)
            gained = minute.calls_per_s * SCRAPE_S
            done += gained
            failed += gained * minute.error_ratio
            slow += gained * minute.slow_ratio
            counters.append(
                f'http_requests_total{{{base},code="200"}} {done - failed:.6f} {second}'
            )
            # A client shows no series of a code before it met it.
            if failed:
                counters.append(f'http_requests_total{{{base},code="503"}} {failed:.6f} {second}')
            for bound in (*BOUNDS_S, float("inf")):
                under = 0.0 if bound <= 0.05 else done - slow if bound <= 0.2 else done
                edge = "+Inf" if bound == float("inf") else f"{bound:g}"
                buckets.append(
                    f'http_request_duration_seconds_bucket{{{base},le="{edge}"}} {under:.6f} {second}'
                )
            buckets.append(f"http_request_duration_seconds_count{{{base}}} {done:.6f} {second}")
    yield "# TYPE http_requests counter"
    yield from sorted(counters, key=_series)
    yield "# TYPE http_request_duration_seconds histogram"
    yield from sorted(buckets, key=_series)
    yield "# TYPE up gauge"
    for second in range(start_s, end_s + 1, SCRAPE_S):
        yield f'up{{job="{job}",instance="shop-1:8080"}} 1 {second}'
    yield "# EOF"


def put_past(lines: Iterator[str], data: Path) -> None:
    """Write samples into the blocks of a Prometheus that does not run yet."""
    promtool = require_binary("promtool")
    data.mkdir(parents=True, exist_ok=True)
    file = data.parent / "past.om"
    with file.open("w", encoding="utf-8") as written:
        written.writelines(f"{line}\n" for line in lines)
    made = subprocess.run(  # Debian's own tool
        [promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(file), str(data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    file.unlink()


def _series(line: str) -> tuple[str, int]:
    name, _, second = line.rpartition(" ")
    return name.rpartition(" ")[0], int(second)
