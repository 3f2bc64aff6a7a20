"""Goal: a primary tells how far its replica is behind and what a slot keeps; the replica tells its own delay.

Method: a primary, a standby made by pg_basebackup with a slot, both watched; replay is paused, then the standby stopped.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from sentinel.reference.ledger.operate.folders import temporary_folder
from tests.support.postgres_scene import config_for, scene
from tests.support.postgres_server import PostgresServer, cluster, programs_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with temporary_folder() as base:
        programs = programs_of(15, base)
        with (
            cluster(programs, base / "primary") as primary,
            cluster(programs, base / "standby", empty=True) as standby,
        ):
            primary.start(wal_level="replica", max_slot_wal_keep_size="64MB")
            primary.make_role("postgres")
            standby.run(
                "pg_basebackup",
                *("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres", "-R", "-N"),
                *("-D", str(standby.data), "-c", "fast", "-C", "-S", "standby_one"),
            )
            standby.data.chmod(0o700)
            standby.start(hot_standby="on")
            yield primary, standby


async def _written(primary: PostgresServer) -> None:
    await primary.execute(
        "CREATE TABLE IF NOT EXISTS w (t text);"
        "INSERT INTO w SELECT repeat('x', 500) FROM generate_series(1, 2000)"
    )


async def test_a_replica_that_falls_behind_and_is_stopped(
    pair: tuple[PostgresServer, PostgresServer],
) -> None:
    primary, standby = pair
    async with (
        scene(config_for(primary)) as here,
        scene(config_for(standby, name="standby", service="standby")) as there,
    ):
        while not (await here.poll()).get(("replica walreceiver", "replica_streaming_count")):
            await asyncio.sleep(0.05)
        await _written(primary)
        while (await there.poll()).get(("standby", "standby_delay_s")) is None:
            await asyncio.sleep(0.05)
        await standby.execute("SELECT pg_wal_replay_pause()")
        await _written(primary)
        found = await here.poll(after_s=30.0)
        while found["replication", "replicas_lag_max_bytes"] < 2**20:
            await asyncio.sleep(0.05)
            found = await here.poll(after_s=30.0)
        assert found["replication", "replicas_count"] == 1.0
        assert found["slot standby_one", "slot_active_count"] == 1.0
        assert found["slot standby_one", "slot_safe_bytes"] > 0
        assert found["slots", "slots_inactive_count"] == 0.0
        own = await there.polls(2)
        # On a busy machine the standby may be about to replay: then it has no lag, and no delay to tell.
        while (
            own.get(("standby", "standby_lag_bytes"), 0.0) < 2**20
            or ("standby", "standby_delay_s") not in own
        ):
            await asyncio.sleep(0.05)
            own = await there.poll()
        assert own["standby", "standby_delay_s"] >= 0.0
        assert own["standby", "receivers_streaming_count"] == 1.0
        assert there.notes == here.notes
        assert ("standby", "standby_lag_bytes") not in found
        await standby.execute("SELECT pg_wal_replay_resume()")
        while (await there.poll()).get(("standby", "standby_lag_bytes"), 1.0):
            await asyncio.sleep(0.05)
        standby.stop(signal.SIGQUIT)
        await _written(primary)
        found = await here.poll(after_s=30.0)
        while found["slots", "slots_inactive_count"] != 1.0:
            await asyncio.sleep(0.05)
            found = await here.poll(after_s=30.0)
        assert found["slots", "inactive_slot_retained_bytes"] > 2**20
        assert found["replication", "replicas_count"] == 0.0
        assert ("replica walreceiver", "replica_lag_bytes") not in found
        assert found["slots", "slots_at_risk_count"] == 0.0
        # Each switch begins a segment of 16 MiB; a slot may keep 64 MiB.
        for _ in range(6):
            await primary.execute("INSERT INTO w VALUES ('y'); SELECT pg_switch_wal()")
        await primary.execute("CHECKPOINT")
        found = await here.poll(after_s=30.0)
        assert found["slots", "slots_at_risk_count"] == 1.0
