"""Goal: the audit goes on by itself after whatever passes, and says what does not.

Method: the loop in the test's own event loop on a real PostgreSQL from the wheel, with a witness over
HTTP that comes, goes and refuses, and a slot that is taken away.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from sentinel.reference.ledger.audit import service
from sentinel.reference.ledger.audit.checkpoints import CheckpointConfig
from sentinel.reference.ledger.audit.recorder import SETTINGS
from sentinel.reference.ledger.audit.rows import BrokenLogError
from sentinel.reference.ledger.audit.service import Audit, AuditConfig
from sentinel.reference.ledger.audit.witness import Memory, Witness
from sentinel.reference.ledger.audit.witness_server import WitnessServer, WitnessServerConfig
from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.domain.audit.entry import Op
from sentinel.reference.ledger.operate.up.audit import why_not
from sentinel.reference.ledger.telemetry import Telemetry
from sentinel.reference.ledger.wire.config import PostgresConfig
from sentinel.reference.ledger.wire.postgres import session
from tests.support.audit_log import Keys
from tests.support.audit_scene import DROP_SLOTS, Scene, audit_scene, transfer
from tests.support.ledger_servers import LedgerServers
from tests.support.silent_path import SilentPath

pytest_plugins = ("tests.support.ledger_fixtures",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PAST_THE_TRIGGERS = "set session_replication_role = replica"


@pytest.fixture
async def scene(ledger_servers: LedgerServers) -> AsyncIterator[Scene]:
    async with audit_scene(ledger_servers) as made:
        yield made


class Measured:
    """Telemetry whose metrics can be looked at."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.telemetry = Telemetry(
            service="test",
            tracers=TracerProvider(shutdown_on_exit=False),
            meters=MeterProvider(metric_readers=[self._reader], shutdown_on_exit=False),
            loggers=LoggerProvider(shutdown_on_exit=False),
        )

    def value(self, name: str, **attributes: str | bool) -> float | None:
        """The last value of a metric; None when there is none."""
        data = self._reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        said = dict(point.attributes or {})
                        if metric.name == name and said == attributes:
                            return float(point.value)  # type: ignore[union-attr]
        return None

    def has(self, name: str, **attributes: str | bool) -> bool:
        """Whether the metric has a value."""
        return self.value(name, **attributes) is not None


@asynccontextmanager
async def witness_of(scene: Scene, memory: Memory) -> AsyncIterator[str]:
    """The scene's witness, listening."""
    server = WitnessServer(
        WitnessServerConfig(),
        witness=Witness(signer=scene.keys.witness, logs=[scene.keys.log.public], memory=memory),
        telemetry=Measured().telemetry,
    )
    try:
        yield await server.start()
    finally:
        await server.stop()


@asynccontextmanager
async def recording(
    scene: Scene, measured: Measured, witness: Callable[[], str] | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """The loop, until the block ends."""
    config = AuditConfig(
        postgres=scene.audit,
        witness=witness,
        witness_key=scene.keys.witness.public if witness is not None else None,
        checkpoint=CheckpointConfig(interval_s=0.1),
        pause_s=0.05,
        back_off_s=0.1,
    )
    audit = Audit(config, signer=scene.keys.log, telemetry=measured.telemetry)
    stop = asyncio.Event()
    task = asyncio.create_task(audit.run(stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=20)


async def eventually(what: str, is_so: Callable[[], bool]) -> None:
    for _ in range(600):
        if is_so():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(what)


def memory_in(folder: Path) -> Memory:
    Memory.create(folder)
    memory = Memory(folder)
    memory.open()
    return memory


async def test_a_witness_that_is_away_costs_its_signature_and_signs_all_when_it_is_back(
    scene: Scene, tmp_path: Path
) -> None:
    memory, measured = memory_in(tmp_path / "memory"), Measured()
    where = ["http://127.0.0.1:9"]
    async with recording(scene, measured, lambda: where[0]):
        await scene.post(transfer("a"))
        await eventually("unwitnessed", lambda: measured.value("ledger.audit.unwitnessed") == 6)
        async with witness_of(scene, memory) as url:
            where[0] = url
            await eventually("witnessed", lambda: measured.value("ledger.audit.unwitnessed") == 0)
        assert measured.value("ledger.audit.checkpoints", **{"ledger.audit.witnessed": True})
        assert measured.value("ledger.audit.entries") == 6
        assert measured.value("ledger.audit.lag") == 0
        assert measured.value("ledger.audit.slot.lost") == 0
        assert (measured.value("ledger.audit.slot.safe") or 0) > 0
    last = memory.last(scene.keys.log.public.name)
    assert last is not None
    assert last.checkpoint.size == 6


async def test_a_witness_that_saw_another_history_refuses_and_that_is_counted(
    scene: Scene, tmp_path: Path
) -> None:
    memory, measured = memory_in(tmp_path / "memory"), Measured()
    elsewhere = scene.keys.records(40)
    for reason, seen in (("inconsistent", elsewhere[:2]), ("behind_witness", elsewhere)):
        memory.keep(scene.keys.checkpoint(seen))
        async with witness_of(scene, memory) as url, recording(scene, measured, lambda: url):
            await scene.post(transfer(reason))
            refused = {"ledger.audit.reason": reason}
            await eventually(reason, partial(measured.has, "ledger.audit.refused", **refused))
    # What was committed is recorded all the same.
    assert len(await scene.entries()) == 9


async def test_a_lost_slot_is_told_until_somebody_resumes(scene: Scene) -> None:
    measured = Measured()
    async with recording(scene, measured):
        await scene.post(transfer("recorded"))
        await eventually("recorded", lambda: measured.value("ledger.audit.entries") == 6)
    await scene.execute(DROP_SLOTS)
    await scene.post(transfer("lost"))
    measured = Measured()
    async with recording(scene, measured) as task:
        await eventually("lost", lambda: measured.value("ledger.audit.slot.lost") == 1)
        assert measured.value("ledger.audit.refused", **{"ledger.audit.reason": "slot_lost"}) == 1
        resuming = Audit(
            AuditConfig(postgres=scene.audit),
            signer=scene.keys.log,
            telemetry=Measured().telemetry,
        )
        assert await resuming.resume("the disk was full")
        await scene.post(transfer("after"))
        await eventually("recorded again", lambda: measured.value("ledger.audit.entries") == 3)
        assert measured.value("ledger.audit.slot.lost") == 0
        assert not task.done()
    ops = [one.op for one in await scene.entries()]
    # The first five came as a snapshot or as changes, as it happened.
    assert ops[6:] == [Op.GAP, *3 * [Op.SNAPSHOT], *3 * [Op.INSERT]]
    assert (await scene.check()).whole


async def test_a_trail_that_was_changed_is_not_written_on(scene: Scene) -> None:
    measured = Measured()
    async with recording(scene, measured):
        await scene.post(transfer("a"))
        await eventually("recorded", lambda: measured.value("ledger.audit.entries") == 6)
    await scene.execute(PAST_THE_TRIGGERS, "delete from ledger.audit_log where sequence = 5")
    async with recording(scene, measured) as task:
        with pytest.raises(BrokenLogError, match="tells of 6 entries, and the trail has 5"):
            await asyncio.wait_for(task, timeout=20)
    assert measured.value("ledger.audit.refused", **{"ledger.audit.reason": "broken"}) == 1


async def test_a_restart_of_the_connection_is_gone_on_from(scene: Scene) -> None:
    measured = Measured()
    async with recording(scene, measured):
        await scene.post(transfer("a"))
        await eventually("recorded", lambda: measured.value("ledger.audit.entries") == 6)
        await scene.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name = 'audit'"
        )
        await scene.post(transfer("b"))
        await eventually("recorded", lambda: measured.value("ledger.audit.entries") == 9)
    assert (await scene.check()).whole


async def test_a_server_that_was_given_is_recorded_where_it_can_be_and_where_keys_last(
    scene: Scene,
) -> None:
    assert await why_not(scene.admin, given=False, lasting=False) == ""
    assert await why_not(scene.admin, given=True, lasting=True) == ""
    assert "--dir" in await why_not(scene.admin, given=True, lasting=False)
    await scene.execute("drop publication ledger_audit")
    assert "no publication" in await why_not(scene.admin, given=True, lasting=True)


def test_a_witness_without_its_key_is_no_witness(tmp_path: Path) -> None:
    config = AuditConfig(postgres=PostgresConfig(url="postgresql://x"), witness=lambda: "http://x")
    with pytest.raises(LedgerError, match="anybody could sign"):
        Audit(config, signer=Keys().log, telemetry=Measured().telemetry)


async def test_a_primary_whose_host_vanishes_is_let_go_of_and_recording_goes_on_by_the_next_way(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that goes without a word ends no connection; the recorder waited for its answer for hours, its heartbeat fresh."""
    monkeypatch.setattr(service, "SETTINGS", {**SETTINGS, "statement_timeout": "2000"})
    straight, path = scene.audit, SilentPath(scene.audit.url)
    scene.audit = PostgresConfig(url=await path.start(), connect_timeout_s=1.0)
    measured = Measured()
    try:
        async with recording(scene, measured) as task:
            async with session(scene.audit, application_name="test") as connection:
                # The server's side asks too whether its client is there.
                assert await connection.fetchval("show tcp_keepalives_idle") == "30"
            await scene.post(transfer("before"))
            await eventually("recorded", lambda: measured.value("ledger.audit.entries") == 6)
            path.is_passable = False
            path.vanish()
            await asyncio.sleep(1.0)
            await scene.post(transfer("meanwhile"))
            path.is_passable = True
            await eventually("recorded again", lambda: measured.value("ledger.audit.entries") == 9)
            assert not task.done()
    finally:
        await path.stop()
    scene.audit = straight
    assert (await scene.check()).whole
