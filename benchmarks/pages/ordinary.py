"""What is ordinary: a week that goes by in a day, with bursts and batches of salaries; and a past in which it was so.

The past is the ledger's own simulated one (`sentinel-ledger history`) at the levels that were measured, with three things that
only this machine knows put into it, all drawn from what was measured: how much each latency varies here from window to window, what
each gauge shows while nothing is wrong, and what a burst and a batch of salaries look like. These are in it as often as they are in
the quiet stretches of the run, at any hour: a past that was lived through would have them.
"""

from __future__ import annotations

import csv
import io
import statistics
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import numpy as np

from sentinel.reference.ledger.domain.shape import DAY_S, load_factor, ordinary_week

Place = tuple[str, str, str, str]
Measured = Mapping[Place, Sequence[float]]

# A whole week of the load's shape goes by in a day, so the same hour of yesterday is what is usual.
SHORT_DAY_S: Final = DAY_S / 7
BURST_S: Final = 60.0
BURST_RATIO: Final = 0.5
# As large a part of the load as the largest batch that the edge takes (5,000) is of what the ledger is measured at, 600 writes a
# second: what comes in eight seconds.
BATCH_ITEMS: Final = 100

_CALLS: Final = ("traffic", "errors", "latency")
# Whose calls are as many as the load; what else calls by its own clock would be learned with a shape that it has not.
_LOADED: Final = ("ledger-edge", "ledger-poster", "ledger-webhooks")
_CALLS_MIN_PER_S: Final = 0.2
# Of NATS and PostgreSQL: those that say how they are, and neither grow nor age by themselves.
_GAUGES: Final = frozenset(
    {
        "consumer_backlog_count", "consumer_pending_count", "consumer_ack_pending_count", "consumer_ack_pending_ratio",
        "consumer_redelivered_per_s", "consumer_oldest_unacked_age_s", "consumer_last_delivery_age_s",
        "stream_limit_ratio", "stream_oldest_message_age_s",
        "server_store_memory_ratio", "server_slow_consumers_per_s", "server_unhealthy_count", "server_api_errors_per_s",
        "connections_used_ratio", "clients_refused_count", "sessions_blocked_count", "sessions_blocking_count",
        "sessions_waiting_lock_count", "sessions_idle_in_transaction_count", "lock_wait_max_s", "locks_waited_count",
        "idle_in_transaction_max_s", "oldest_transaction_s", "longest_query_s", "deadlocks_per_s", "rollback_ratio",
        "checksum_failures_count", "slots_at_risk_count", "slots_inactive_count", "archiver_failing_count",
        "archiver_failures_per_s", "archive_ready_count", "replicas_count", "replicas_lag_max_s", "replicas_lag_max_bytes",
        "replica_lag_s", "replica_lag_bytes",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happens on an ordinary day now and then, as it was measured.

    Attributes:
        share_ratio: of all windows, how many are of such an event.
        windows: what each window of one showed, by series.
    """

    share_ratio: float
    windows: Sequence[Mapping[Place, float]]


def event_of(
    windows: Sequence[Mapping[Place, float]], *, every_s: float, window_s: float
) -> Event:
    """An event that comes once in so many seconds, of the windows that were measured while there was one.

    >>> event_of([{}, {}], every_s=400, window_s=10).share_ratio
    0.05
    """
    return Event(share_ratio=min(1.0, len(windows) * window_s / every_s), windows=windows)


def by_series(windows: Sequence[Mapping[Place, float]]) -> dict[Place, list[float]]:
    """The values of each series over some windows."""
    found: dict[Place, list[float]] = {}
    for window in windows:
        for place, value in window.items():
            found.setdefault(place, []).append(value)
    return found


def factor_at(unix_s: float) -> float:
    """The load at an instant as a multiple of the average."""
    return float(load_factor(ordinary_week(np.array([unix_s]), day_s=SHORT_DAY_S))[0])


def levels(measured: Measured) -> list[dict[str, Any]]:
    """What the ledger's history should end at, as `--levels` reads it: of places that the load calls often."""
    names = ("service", "stage", "route", "signal")
    often = {
        place[:3]
        for place, values in measured.items()
        if place[0] in _LOADED
        and place[3] == "traffic"
        and values
        and statistics.median(values) >= _CALLS_MIN_PER_S
    }
    return [
        {**dict(zip(names, place, strict=True)), "value": statistics.median(values)}
        for place, values in sorted(measured.items())
        if place[3] in _CALLS and place[:3] in often and values
    ]


def write_past(
    plain: Path, out: Path, measured: Measured, *, seed: int, events: Sequence[Event] = ()
) -> int:
    """Write the past that the sidecar learns from; how many series it has.

    Args:
        plain: the ledger's simulated history, sorted by time.
        out: where to write it.
        measured: values of each series over some windows in which nothing was wrong.
        seed: of what is drawn.
        events: what happens now and then, each at times that are drawn as well.
    """
    rng = np.random.default_rng(seed)
    ratios = {
        place: np.array(values) / max(statistics.median(values), 1e-9)
        for place, values in measured.items()
        if place[3] == "latency" and len(values) > 1
    }
    drawn = {
        place: np.array(values)
        for place, values in measured.items()
        if values and _is_drawn(place)
    }
    prefixes = {place: _fields(place) for place in drawn}
    usual = {place: statistics.median(values) for place, values in measured.items() if values}
    window: Mapping[Place, float] = {}
    seen: set[str] = set()
    stamp = ""
    with plain.open(newline="") as source, out.open("w", newline="") as target:
        target.write(source.readline())
        for line in source:
            at, labels, value, weight = _parts(line)
            if at != stamp:
                stamp = at
                window = _drawn_window(events, rng)
                target.write(_drawn_rows(stamp, drawn, prefixes, window, rng))
            seen.add(labels)
            place = _place(labels)
            by = _times_usual(place, window, usual)
            if by is not None:
                value = f"{float(value) * by:.6g}"
            elif place[3] == "latency" and place in ratios:
                value = f"{float(value) * float(rng.choice(ratios[place])):.6g}"
            calls = _times_usual((*place[:3], "traffic"), window, usual)
            if calls is not None and weight:
                weight = f"{float(weight) * calls:.6g}"
            target.write(f"{at},{labels},{value},{weight}\n")
    return len(seen) + len(drawn)


def _drawn_window(events: Sequence[Event], rng: np.random.Generator) -> Mapping[Place, float]:
    """A window of an event, where there is one at this time; empty else."""
    at = float(rng.random())
    for event in events:
        if at < event.share_ratio and event.windows:
            return event.windows[int(rng.integers(len(event.windows)))]
        at -= event.share_ratio
    return {}


def _times_usual(
    place: Place, window: Mapping[Place, float], usual: Mapping[Place, float]
) -> float | None:
    """How many times its usual value a series of calls has in a window; None where nobody can say."""
    before = usual.get(place, 0.0)
    if place[0] not in _LOADED or place[3] not in ("traffic", "latency") or before <= 0:
        return None
    now = window.get(place)
    return None if now is None else now / before


def _is_drawn(place: Place) -> bool:
    if place[3] == "slow_calls":
        return place[0] in _LOADED
    # Streams that keep what was read have old messages, and ever older ones.
    return place[3] in _GAUGES and (place[3] != "stream_oldest_message_age_s" or "_C" in place[2])


def _drawn_rows(
    stamp: str,
    drawn: Mapping[Place, np.ndarray[Any, Any]],
    prefixes: Mapping[Place, str],
    window: Mapping[Place, float],
    rng: np.random.Generator,
) -> str:
    rows = []
    for place, values in drawn.items():
        value = values[rng.integers(len(values))]
        value = window.get(place, value)
        # How many calls a share of slow ones is of is not measured here; hundreds, at these rates.
        weight = "300" if place[3] == "slow_calls" else ""
        rows.append(f"{stamp},{prefixes[place]},{value:.6g},{weight}\n")
    return "".join(rows)


def _parts(line: str) -> tuple[str, str, str, str]:
    at, _, rest = line.rstrip("\n").partition(",")
    labels, value, weight = rest.rsplit(",", 2)
    return at, labels, value, weight


def _place(labels: str) -> Place:
    service, stage, route, signal = next(csv.reader([labels]))
    return service, stage, route, signal


def _fields(place: Place) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(place)
    return text.getvalue()


async def pay_salaries(edge_url: str, *, items: int = BATCH_ITEMS) -> None:
    """Hand a batch in, as employers do: one request, many transfers. Refused or not, it is what a client sent."""
    body = {
        "items": [
            {
                "debit_account": "external:payroll",
                "credit_account": f"employee-{number:04d}",
                "amount_minor": 250_000,
                "currency": "EUR",
            }
            for number in range(items)
        ]
    }
    headers = {"X-Tenant": "demo", "Idempotency-Key": f"salaries-{uuid.uuid4()}"}
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as http,
        http.post(f"{edge_url}/v1/batches", json=body, headers=headers) as answer,
    ):
        await answer.read()
        if answer.status != 202:
            print(f"  the batch of salaries was answered {answer.status}")
