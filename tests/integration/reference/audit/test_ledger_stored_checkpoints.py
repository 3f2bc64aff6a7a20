"""Goal: checkpoints come into the locked archive whatever passes, and tell there of a trail that was shortened, rewritten or restored.

Method: moto's S3 endpoint and a real PostgreSQL from the wheel; the loop that stores in the test's own event loop, with an archive that is
away and comes back; a trail that is taken back; and a database at rest, as a restore leaves one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit.shelf import Objects, Shelf, Shelving, ShelvingConfig
from sentinel.reference.ledger.audit.verify import Keys as PublicKeys
from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.operate.cli import run
from sentinel.reference.ledger.operate.storage.trail import verify_restored
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.s3 import Archive
from tests.support.audit_log import ORIGIN
from tests.support.audit_scene import DROP_SLOTS, Scene, audit_scene, drain, now_us, transfer
from tests.support.ledger_run import eventually
from tests.support.ledger_servers import LedgerServers, Recorded, recorded

pytest_plugins = ("tests.support.ledger_fixtures", "tests.support.s3_server")
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PAST_THE_TRIGGERS = "set session_replication_role = replica"


@pytest.fixture
async def scene(ledger_servers: LedgerServers) -> AsyncIterator[Scene]:
    async with audit_scene(ledger_servers) as made:
        yield made


async def record(scene: Scene, *transfers: str) -> int:
    """Post these, record them, and make a checkpoint that the witness signed; returns its size."""
    async with scene.recorder() as recorder:
        await recorder.open(now_us=now_us())
        for key in transfers:
            await scene.post(transfer(key))
        await drain(recorder)
    note = scene.keys.checkpoint(await scene.records())
    async with postgres.session(scene.audit, application_name="test") as connection:
        await rows.add_checkpoint(connection, note, witnessed=True)
    return note.checkpoint.size


class Doors:
    """An archive that can be shut."""

    def __init__(self, archive: Objects) -> None:
        self._archive = archive
        self.open = True

    def put(self, key: str, content: bytes) -> bool:
        """Store, unless it is shut."""
        self._pass()
        return self._archive.put(key, content)

    def get(self, key: str) -> bytes:
        """Fetch."""
        return self._archive.get(key)

    def keys(self, below: str) -> list[str]:
        """List."""
        return self._archive.keys(below)

    def _pass(self) -> None:
        if not self.open:
            message = "the archive is away"
            raise UnavailableError(message, code="shut")


@asynccontextmanager
async def storing(scene: Scene, objects: Objects) -> AsyncIterator[Recorded]:
    seen = recorded("ledger-audit")
    config = ShelvingConfig(postgres=scene.audit, witnessed=True, interval_s=0.05)
    shelving = Shelving(config, Shelf(objects, ORIGIN), seen.telemetry)
    stop = asyncio.Event()
    task = asyncio.create_task(shelving.run(stop))
    try:
        yield seen
    finally:
        stop.set()
        await task
        await shelving.finish()


async def largest(archive: Objects) -> int:
    last = await asyncio.to_thread(Shelf(archive, ORIGIN).last)
    return 0 if last is None else last.checkpoint.size


async def test_the_newest_checkpoint_is_stored_also_after_the_archive_was_away(
    scene: Scene, archive: Archive
) -> None:
    doors = Doors(archive)
    first = await record(scene, "a")
    async with storing(scene, doors) as seen:
        await eventually("stored", lambda: largest(archive), lambda size: size == first)
        doors.open = False
        second = await record(scene, "b")
        await eventually(
            "told", lambda: seen.values("ledger.audit.checkpoints.failed"), lambda found: found
        )
        assert seen.values("ledger.audit.unstored") == {(): second - first}
        assert seen.values("ledger.audit.unstored.age")[()] > 0
        assert await largest(archive) == first
        doors.open = True
        await eventually("stored", lambda: largest(archive), lambda size: size == second)
        await eventually(
            "told", lambda: seen.values("ledger.audit.unstored"), lambda found: found == {(): 0}
        )
        assert seen.values("ledger.audit.checkpoints.stored") == {("False",): 2}
        assert seen.events() == ["audit.checkpoint_unstored", "audit.checkpoint_stored"]
    # Begun anew it knows what is there, and stores it no second time.
    async with storing(scene, doors) as seen:
        await eventually(
            "told", lambda: seen.values("ledger.audit.unstored"), lambda found: found == {(): 0}
        )
        assert seen.values("ledger.audit.checkpoints.stored") == {}
    # The last one is stored at the end.
    async with storing(scene, doors):
        last = await record(scene, "c")
    assert await largest(archive) == last
    again = await asyncio.to_thread(Shelf(archive, ORIGIN).last)
    assert again is not None
    assert await asyncio.to_thread(Shelf(archive, ORIGIN).put, again) is False


async def test_a_trail_that_was_taken_back_is_told_of_by_what_the_archive_has(
    scene: Scene,
    archive: Archive,
    archive_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    size = await record(scene, "a", "b")
    async with storing(scene, archive):
        await eventually("stored", lambda: largest(archive), lambda found: found == size)
    (tmp_path / "url").write_text(scene.audit.url)
    told = [
        *("audit", "verify", "--postgres-url-file", str(tmp_path / "url"), "--wait", "5"),
        *("--log-key", str(scene.keys.log.public)),
        *("--witness-key", str(scene.keys.witness.public)),
        *("--archive", str(archive_file), "-o", "json"),
    ]
    assert await asyncio.to_thread(run, told) == 0
    # By somebody who takes the database's own checkpoints away as well.
    await scene.execute(
        PAST_THE_TRIGGERS,
        f"delete from ledger.audit_log where sequence >= {size - 3}",
        "delete from ledger.audit_checkpoints",
    )
    capsys.readouterr()
    assert await asyncio.to_thread(run, told) == 1
    assert '"truncated":1' in capsys.readouterr().out
    # And no checkpoint of such a trail is laid beside those that are there.
    async with postgres.session(scene.audit, application_name="test") as connection:
        shorter = scene.keys.checkpoint(await scene.records())
        await rows.add_checkpoint(connection, shorter, witnessed=True)
    async with storing(scene, archive) as seen:
        await eventually(
            "told",
            lambda: seen.values("ledger.audit.checkpoints.failed"),
            lambda found: ("BrokenLogError",) in found,
        )
    assert await largest(archive) == size


async def test_the_trail_of_a_restored_database_is_verified(
    scene: Scene, archive: Archive
) -> None:
    keys = PublicKeys(log=scene.keys.log.public, witness=scene.keys.witness.public)
    empty = await verify_restored(scene.admin, keys, archive)
    assert (empty["whole"], empty["entries_count"]) == (False, 0)
    size = await record(scene, "a", "b")
    note = scene.keys.checkpoint(await scene.records())
    assert await asyncio.to_thread(Shelf(archive, ORIGIN).put, note)
    found = await verify_restored(scene.admin, keys, archive)
    assert (found["whole"], found["counts"], found["lost_count"]) == (True, {}, 0)
    assert found["entries_count"] == found["witnessed_size"] == found["archived_size"] == size
    assert found["balances_compared"]
    # The point that was restored to: the trail had not come to the last commit.
    await scene.execute(DROP_SLOTS)
    await scene.post(transfer("last"))
    found = await verify_restored(scene.admin, keys, archive)
    assert (found["whole"], found["counts"]) == (True, {})
    assert found["unrecorded_count"] == 5  # itself, two entries, two balances
    # Written into the past, or with nothing behind the end that could account for it, it is found.
    await scene.execute(
        PAST_THE_TRIGGERS,
        "update ledger.transactions set posted_at = posted_at - interval '1 day' where idempotency_key = 'last'",
    )
    found = await verify_restored(scene.admin, keys, archive)
    assert (found["whole"], found["counts"]) == (False, {"ledger_differs": 5})
    # A later checkpoint than what came back says how much did not.
    later = scene.keys.checkpoint(scene.keys.records(size + 4))
    await asyncio.to_thread(Shelf(archive, ORIGIN).put, later)
    found = await verify_restored(scene.admin, keys, archive)
    assert (found["archived_size"], found["lost_count"]) == (size + 4, 4)
