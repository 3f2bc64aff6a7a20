"""What being watched costs a PostgreSQL server under load.

Goal: under 1 % of the database's time. Method: Debian's PostgreSQL 15 with pg_stat_statements and some hundreds of tables; pgbench
loads it, and one target of the scraper asks it as configured by default. Counted are, from the server's side: execution
time of our role beside that of all roles (pg_stat_statements), and processor time of our session's process beside that of
all of the server's processes (which has parsing, planning and what is no statement too). Transactions a second are those
that pgbench tells, watched and not, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import re
import statistics
import sys
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import describe
from sentinel.ports import Admission
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import Surroundings
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.polling.component import Scraping
from sentinel.scrapers.postgres.target import PostgresTarget
from tests.support.postgres_scene import config_for
from tests.support.postgres_server import PostgresServer, postgres_server

GOAL_RATIO = 0.01


class Counted:
    """A sink that counts what it is given."""

    def __init__(self) -> None:
        self.samples = 0

    def accept(self, batch: object, *, size_bytes: int) -> Admission:  # noqa: ARG002  # the port's
        """Take all."""
        self.samples += batch.sample_count  # type: ignore[attr-defined]
        return Admission.ACCEPTED


async def load(server: PostgresServer, *, seconds: int, clients: int) -> float:
    """Transactions a second that pgbench did."""
    done = await asyncio.to_thread(
        server.run,
        "pgbench",
        *("-n", "-h", str(server.folder), "-p", str(server.port), "-U", "postgres"),
        *("-c", str(clients), "-j", "1", "-T", str(seconds), "app"),
        timeout_s=seconds + 60,
    )
    found = re.search(r"tps = ([0-9.]+)", done)
    assert found is not None, done
    return float(found.group(1))


async def times(server: PostgresServer) -> tuple[float, float]:
    """Seconds of execution of our role, and of all."""
    connection = await server.connect("app")
    try:
        row = await connection.fetchrow(
            "SELECT coalesce(sum(total_exec_time) FILTER (WHERE userid = 'sentinel'::regrole), 0) AS ours,"
            " sum(total_exec_time) AS of_all FROM pg_stat_statements"
        )
        return float(row["ours"]) / 1000, float(row["of_all"]) / 1000
    finally:
        await connection.close()


async def processor(server: PostgresServer) -> tuple[dict[int, float], int]:
    """Processor seconds of each of the server's processes that are there, and the process of our session."""
    connection = await server.connect("app")
    try:
        ours = await connection.fetchval(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'sentinel'"
        )
    finally:
        await connection.close()
    assert server.process is not None
    used = {}
    for one in psutil.Process(server.process.pid).children():
        spent = one.cpu_times()
        used[one.pid] = spent.user + spent.system
    return used, int(ours or 0)


async def watched(server: PostgresServer, *, seconds: int, clients: int) -> dict[str, float]:
    """One round under load with the scraper beside it."""
    surroundings = Surroundings(
        clock=SystemClock(), metrics=Metrics(CATALOGUE), logger=logging.getLogger("bench")
    )
    sink = Counted()
    target = PostgresTarget(config_for(server, database="app"), surroundings)
    scraping = Scraping("scrapers.postgres", [target], Downstream(sink=sink), surroundings)  # type: ignore[arg-type]
    await scraping.start()
    try:
        while not sink.samples:
            await asyncio.sleep(0.1)
        before, (cpu_before, ours) = await times(server), await processor(server)
        own_cpu_s = psutil.Process().cpu_times()
        under_load = asyncio.create_task(load(server, seconds=seconds, clients=clients))
        await asyncio.sleep(seconds - 1)
        # Looked at while pgbench's own processes are there.
        cpu_after, _ = await processor(server)
        ended_cpu_s = psutil.Process().cpu_times()
        tps = await under_load
        after = await times(server)
    finally:
        await scraping.stop()
    spent = {pid: cpu - cpu_before.get(pid, 0.0) for pid, cpu in cpu_after.items()}
    ours_s, all_s = after[0] - before[0], after[1] - before[1]
    sidecar_s = ended_cpu_s.user + ended_cpu_s.system - own_cpu_s.user - own_cpu_s.system
    return {
        "execution": ours_s / all_s,
        "processor": spent[ours] / sum(spent.values()),
        "ours_s": spent[ours],
        "all_s": sum(spent.values()),
        "a_second": ours_s / seconds,
        "sidecar": sidecar_s / seconds,
        "tps": tps,
        "samples": float(sink.samples),
    }


async def bench(*, rounds: int, seconds: int, clients: int, tables: int, scale: int) -> bool:
    """Print the figures; whether the goal was reached."""
    with postgres_server(
        15, shared_preload_libraries="pg_stat_statements", max_connections="60"
    ) as server:
        await server.execute("CREATE DATABASE app")
        server.make_role("app")
        server.run(
            "pgbench",
            *("-i", "-q", "-s", str(scale), "-h", str(server.folder)),
            *("-p", str(server.port), "-U", "postgres", "app"),
            timeout_s=300,
        )
        await server.execute(
            "".join(f"CREATE TABLE t{at} (n int PRIMARY KEY);" for at in range(tables)), "app"
        )
        plain, told = [], []
        for _ in range(rounds):
            plain.append(await load(server, seconds=seconds, clients=clients))
            told.append(await watched(server, seconds=seconds, clients=clients))
    print(describe())
    print(
        f"PostgreSQL 15, {tables} tables more, pgbench with {clients} clients, {rounds} x {seconds} s"
    )
    found = {name: statistics.median(one[name] for one in told) for name in told[0]}
    print(f"share of execution time (pg_stat_statements)   {found['execution']:.4%}")
    # Of all rounds together: the kernel counts a process in hundredths of a second, and a round has few of ours.
    processor_ratio = sum(one["ours_s"] for one in told) / sum(one["all_s"] for one in told)
    print(f"share of the server's processor time           {processor_ratio:.4%}")
    print(f"execution time, seconds a second               {found['a_second']:.5f}")
    print(f"processor time of the sidecar's side           {found['sidecar']:.3%} of a core")
    print(
        f"samples a poll                                 {found['samples'] / (seconds / 10 + 1):.0f}"
    )
    print(f"transactions a second: watched {found['tps']:.0f}, not {statistics.median(plain):.0f}")
    worst = max(max(one["execution"], one["processor"]) for one in told)
    print(f"worst share of a round {worst:.3%}; goal below {GOAL_RATIO:.0%}")
    return worst < GOAL_RATIO


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--scale", type=int, default=5)
    given = parser.parse_args()
    reached = asyncio.run(
        bench(
            rounds=given.rounds,
            seconds=given.seconds,
            clients=given.clients,
            tables=given.tables,
            scale=given.scale,
        )
    )
    return 0 if reached else 1


if __name__ == "__main__":
    raise SystemExit(main())
