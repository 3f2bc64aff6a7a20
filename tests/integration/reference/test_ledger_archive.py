"""Goal: what is archived stays as it was stored, and a server at any point in time comes back from it, with books that add up.

Method: moto's S3 endpoint, and PostgreSQL from the wheel that hands its log over. What moto cannot prove is in
docs/components/ledger_storage.md: it lets a lock be shortened, and moves nothing to another class.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import orjson
import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from sentinel.reference.ledger.domain import (
    LedgerError,
    PermanentError,
    Transfer,
    UnavailableError,
)
from sentinel.reference.ledger.domain.backups import Backup
from sentinel.reference.ledger.domain.target import Target, parse_target
from sentinel.reference.ledger.domain.tenant import Opening, Tier, new_cohort
from sentinel.reference.ledger.operate.cli import run
from sentinel.reference.ledger.operate.folders import temporary_folder
from sentinel.reference.ledger.operate.servers import SPOOL, start_postgres
from sentinel.reference.ledger.operate.storage.backup import find_backups, take_backup
from sentinel.reference.ledger.operate.storage.handing import Storekeeper, store_one
from sentinel.reference.ledger.operate.storage.restore import drill_restore
from sentinel.reference.ledger.operate.storage.schedule import Schedule, ScheduleConfig
from sentinel.reference.ledger.posting import BY_INDEX
from sentinel.reference.ledger.posting.apply import apply_batch
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig, read_url
from sentinel.reference.ledger.wire.envelope import Envelope
from sentinel.reference.ledger.wire.register import open_tenants
from sentinel.reference.ledger.wire.s3 import Archive, ArchiveConfig
from tests.support.ledger_run import end_up, eventually, ledger, left_behind, start_up
from tests.support.ledger_servers import recorded
from tests.support.otlp_collector import OtlpCollector

pytest_plugins = ("tests.support.s3_server",)
pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SEGMENT = "000000010000000000000001"
COHORT = new_cohort("shop")


def raw(archive_file: Path) -> tuple[Any, str]:
    """A client that does as it likes, and the bucket."""
    told = json.loads(archive_file.read_text())
    client = boto3.client(
        "s3",
        endpoint_url=told["endpoint_url"],
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",
    )
    return client, told["bucket"]


def test_the_bucket_has_lock_versions_and_rules(archive_file: Path, capsys: Any) -> None:
    for _ in range(2):  # doing it again changes nothing
        assert run(["archive", "setup", "--archive", str(archive_file)]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["lock_mode"], told["lock_days"]) == ("COMPLIANCE", 14)
        assert told["versioning"] == "Enabled"
        assert told["rules"] == ["ledger-keep", "ledger-sweep"]
    client, bucket = raw(archive_file)
    keep, sweep = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert (keep["Filter"]["Prefix"], keep["Expiration"]["Days"]) == ("one/checkpoints/", 35)
    # By its age alone no backup goes, and nothing of the log.
    assert "Days" not in sweep["Expiration"]
    assert sweep["NoncurrentVersionExpiration"]["NoncurrentDays"] == 1
    assert sweep["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 1
    assert run(["archive", "list", "--archive", str(archive_file)]) == 0
    assert json.loads(capsys.readouterr().out)["expiring"] == ["checkpoints/"]


def by_age(archive_file: Path) -> None:
    """The rule of versions before: everything goes by its age."""
    client, bucket = raw(archive_file)
    rule = {
        "ID": "ledger-keep",
        "Status": "Enabled",
        "Filter": {"Prefix": "one/"},
        "Expiration": {"Days": 35},
    }
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration={"Rules": [rule]}
    )


def test_a_bucket_without_a_lock_is_refused(archive_file: Path, capsys: Any) -> None:
    client, bucket = raw(archive_file)
    client.create_bucket(Bucket=bucket)
    assert run(["archive", "setup", "--archive", str(archive_file)]) == 1
    assert "topsecret" not in capsys.readouterr().err


def test_what_is_stored_is_never_overwritten_nor_removed(
    archive: Archive, archive_file: Path, tmp_path: Path
) -> None:
    file = tmp_path / SEGMENT
    file.write_bytes(b"log")
    assert store_one(archive, file)
    assert not store_one(archive, file)  # PostgreSQL asks again when it has not heard the answer
    file.write_bytes(b"another log")
    with pytest.raises(PermanentError, match="holds another"):
        store_one(archive, file)
    assert archive.get(f"wal/00000001/{SEGMENT}") == b"log"
    client, bucket = raw(archive_file)
    key = f"one/wal/00000001/{SEGMENT}"
    [version] = client.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(
            Bucket=bucket, Key=key, VersionId=version["VersionId"], BypassGovernanceRetention=True
        )
    # Who may write can lay a version over it; that it is another is found when it is fetched.
    client.put_object(Bucket=bucket, Key=key, Body=b"forged", Metadata={"sha256": "0" * 64})
    with pytest.raises(PermanentError, match="not what was stored"):
        archive.get(f"wal/00000001/{SEGMENT}")
    with pytest.raises(LedgerError, match="no file of PostgreSQL's log"):
        store_one(archive, tmp_path / "passwords")


async def test_an_archive_that_is_away_fails_loudly_and_loses_nothing(tmp_path: Path) -> None:
    away = Archive(
        ArchiveConfig(
            endpoint_url="http://127.0.0.1:9", bucket="b", credentials_file=keys(tmp_path)
        )
    )
    file = tmp_path / SEGMENT
    file.write_bytes(b"log")
    with pytest.raises(UnavailableError, match="cannot be used"):
        await asyncio.to_thread(store_one, away, file)
    seen = recorded("ledger-archive")
    stop = asyncio.Event()
    keeper = asyncio.create_task(Storekeeper(away, tmp_path, seen.telemetry).run(stop))
    await eventually("a failure", lambda: seen.values("ledger.archive.failed"), bool)
    stop.set()
    await keeper
    assert file.read_bytes() == b"log"
    assert not file.with_name(f"{SEGMENT}.done").exists()
    assert "archive.failed" in seen.events()


def keys(folder: Path) -> str:
    file = folder / "some-keys"
    file.write_text("[default]\naws_access_key_id=a\naws_secret_access_key=topsecret\n")
    return str(file)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", 2),
        ("[]", 2),
        ('{"bucket": ""}', 2),
        ('{"bucket": "b", "region_name": "x"}', 2),
        ('{"bucket": "b", "retention_days": 9, "keep_days": 3}', 2),
        ('{"bucket": "b", "endpoint_url": "ftp://x"}', 2),
        ('{"bucket": "b", "prefix": "x"}', 2),
        ('{"bucket": "b", "infrequent_days": 3}', 2),
        ('{"bucket": "b", "credentials_file": "/nowhere"}', 3),
    ],
)
def test_a_description_that_describes_nothing_is_refused(
    text: str, code: int, tmp_path: Path, capsys: Any
) -> None:
    file = tmp_path / "archive.json"
    file.write_text(text)
    assert run(["archive", "list", "--archive", str(file)]) == code
    assert capsys.readouterr().err.startswith("sentinel-ledger: ")


def test_keys_that_are_none_are_not_shown(tmp_path: Path, capsys: Any) -> None:
    secret = tmp_path / "keys"
    secret.write_text("[default]\naws_secret_access_key = topsecret\n")
    file = tmp_path / "archive.json"
    file.write_bytes(orjson.dumps({"bucket": "b", "credentials_file": str(secret)}))
    assert run(["archive", "list", "--archive", str(file)]) == 2
    assert "topsecret" not in capsys.readouterr().err


async def post(config: PostgresConfig, *keys: str) -> None:
    requests = [
        Transfer(
            tenant="shop",
            idempotency_key=key,
            debit_account="external:bank",
            credit_account="alice",
            amount_minor=5,
            currency="EUR",
        )
        for key in keys
    ]
    async with postgres.session(
        config, application_name="test", settings=dict(BY_INDEX)
    ) as connection:
        await apply_batch(
            connection,
            COHORT,
            [Envelope(asked=one, cohort=COHORT, accepted_ns=1) for one in requests],
        )


async def scalar(config: PostgresConfig, query: str) -> Any:
    async with postgres.session(config, application_name="test") as session:
        return await session.fetchval(query)


@asynccontextmanager
async def archived(archive: Archive) -> AsyncIterator[PostgresConfig]:
    """A server whose log goes to the archive, with the ledger's tables."""
    with temporary_folder() as folder:
        server = await start_postgres(folder / "postgres", spool=True)
        stop = asyncio.Event()
        keeper = asyncio.create_task(
            Storekeeper(archive, folder / "archive" / SPOOL, recorded("a").telemetry).run(stop)
        )
        try:
            config = PostgresConfig(url=read_url(server.url_file))
            await postgres.migrate(config)
            await open_tenants(config, [Opening(name="shop", tier=Tier.STANDARD)])
            yield config
        finally:
            stop.set()
            await keeper
            await server.child.stop(with_signal=signal.SIGQUIT, timeout_s=5.0)


async def switched(config: PostgresConfig, archive: Archive) -> None:
    """Have all that was written so far archived."""
    segment = await scalar(config, "select pg_walfile_name(pg_switch_wal())")
    await eventually(
        f"{segment} is archived",
        lambda: asyncio.to_thread(archive.keys, "wal/"),
        lambda seen: any(key.endswith(segment) for key in seen),
    )


async def test_a_server_at_a_point_in_time_comes_back_from_backup_and_log(
    archive: Archive,
) -> None:
    with pytest.raises(LedgerError, match="no base backup"):
        await drill_restore(archive, Target())
    async with archived(archive) as config:
        await post(config, "before-the-backup")
        backup = await take_backup(archive, config)
        assert await asyncio.to_thread(find_backups, archive) == [backup]
        await post(config, "one", "two")
        moment_s = await scalar(config, "select extract(epoch from clock_timestamp())::float8")
        place = await scalar(config, "select pg_current_wal_flush_lsn()::text")
        await post(config, "three")
        await scalar(config, "select 1 from pg_switch_wal()")
        await post(config, "four")
        await switched(config, archive)

        async def drill(target: Target) -> dict[str, Any]:
            found = await drill_restore(archive, target)
            assert found["ok"], found
            assert set(found["steps_s"]) == {
                *("find", "fetch_base", "fetch_log", "recover", "check", "remove")
            }
            assert found["rto_s"] > 0
            assert found["rpo_s"] >= 0
            return found

        for target, expected in (
            (Target(), 5),
            (Target(time_s=moment_s), 3),
            (parse_target(place), 3),
        ):
            found = await drill(target)
            assert found["checks"]["rows"]["transactions"] == expected
            assert found["checks"]["rows"]["entries"] == 2 * expected
            assert found["backup"] == backup.name
        assert await scalar(config, "select count(*) from ledger.transactions") == 5
        with pytest.raises(LedgerError, match="ends before the point"):
            await drill_restore(archive, Target(time_s=moment_s + 3600))
        with pytest.raises(LedgerError, match="no base backup from before"):
            await drill_restore(archive, Target(time_s=backup.begun_s - 1))


async def test_backups_are_taken_when_they_are_due_and_old_ones_go(
    archive: Archive, archive_file: Path
) -> None:
    """As `up --archive` has it: the first at once, later ones by their time, what failed again; and no rule by age goes unsaid."""
    by_age(archive_file)
    seen = recorded("ledger-backup")
    stop = asyncio.Event()
    async with archived(archive) as config:
        away = PostgresConfig(url="postgresql://127.0.0.1:9/x")
        schedule = ScheduleConfig(every_s=3600.0, prunes=True, look_s=0.2, retry_s=0.2)
        failing = asyncio.create_task(Schedule(schedule, archive, away, seen.telemetry).run(stop))
        await eventually("a failure", lambda: seen.values("ledger.backup.failed"), bool)
        stop.set()
        await failing
        assert "backup.failed" in seen.events()
        assert "backup.expires" in seen.events()
        assert seen.values("ledger.backup.kept") == {(): 0}
        assert seen.values("ledger.backup.age") == {}

        seen, stop = recorded("ledger-backup"), asyncio.Event()
        keeping = asyncio.create_task(
            Schedule(schedule, archive, config, seen.telemetry).run(stop)
        )
        # Not before the log that it needs has come.
        await eventually("a backup", lambda: seen.values("ledger.backup.kept"), lambda found: found == {(): 1})  # fmt: skip
        await asyncio.sleep(0.6)
        [first] = await asyncio.to_thread(find_backups, archive)
        assert first.last_segment >= first.first_segment
        [age_s] = seen.values("ledger.backup.age").values()
        assert 0 <= age_s < 60
        assert seen.values("ledger.backup.taken") == {(): 1}
        stop.set()
        await keeping

        # One that is 40 days old, and another as old before it: the newest of them is where what is kept begins.
        moved = [_older(archive, first, days) for days in (41, 40)]
        await post(config, "one")
        stop = asyncio.Event()
        often = replace(schedule, every_s=0.1)
        keeping = asyncio.create_task(Schedule(often, archive, config, recorded("b").telemetry).run(stop))  # fmt: skip
        names = await eventually(
            "a newer one, and the oldest gone",
            lambda: asyncio.to_thread(lambda: [one.name for one in find_backups(archive)]),
            lambda found: moved[0] not in found and len(found) > 2,
        )
        stop.set()
        await keeping
        assert names[0] == moved[1]
        assert await asyncio.to_thread(archive.keys, f"base/{moved[0]}/") == []
        await post(config, "two")
        await switched(config, archive)
    assert (await drill_restore(archive, Target()))["ok"]


def _older(archive: Archive, backup: Backup, days: int) -> str:
    """Put a copy of a backup that claims to be so many days old."""
    ended_s = backup.ended_s - days * 86_400
    older = replace(
        backup,
        name=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(ended_s)) + f"-{backup.first_segment}",
        begun_s=backup.begun_s - days * 86_400,
        ended_s=ended_s,
    )
    archive.put(f"base/{older.name}/base.tar.gz", b"as it was")
    archive.put(f"base/{older.name}/backup.json", orjson.dumps(asdict(older)))
    return older.name


async def test_a_run_archives_its_log_and_a_drill_brings_it_back(
    archive: Archive, archive_file: Path, tmp_path: Path
) -> None:
    collector = OtlpCollector()
    await collector.start()
    try:
        told = ("--archive", str(archive_file))
        up = await start_up(tmp_path, collector, "--no-replica", *told)
        try:
            database = Path(up.ready["postgres_url_file"])
            await up.posted("one")
            # Nobody asked for one: the run takes it by itself, and each day another.
            await eventually(
                "a base backup",
                lambda: asyncio.to_thread(find_backups, archive),
                lambda found: len(found) == 1,
            )
            process = await ledger(
                *("archive", "base", "--prune", *told, "--postgres-url-file", str(database)),
                mark=up.mark,
            )
            await process.communicate()
            assert process.returncode == 0
            assert len(await asyncio.to_thread(find_backups, archive)) == 2
            await up.posted("two")
            await switched(PostgresConfig(url=read_url(database)), archive)
            failed = await scalar(
                PostgresConfig(url=read_url(database)),
                "select failed_count from pg_stat_archiver",
            )
            assert failed == 0
            keys = []
            for name in ("log", "witness"):
                public = Path(up.ready["audit_folder"]) / f"{name}.key.pub"
                keys += [f"--{name}-key", public.read_text().strip()]
        finally:
            assert await end_up(up) == 0
        assert left_behind(up.mark) == []
        # Its last checkpoint is beside its log.
        assert await asyncio.to_thread(archive.keys, "checkpoints/")
        # Whatever became of the machine: this is all that is left, and public keys.
        process = await ledger("drill", "restore", *told, *keys, mark=up.mark)
        output, _ = await process.communicate()
        found = json.loads(output)
        assert (process.returncode, found["ok"]) == (0, True)
        assert found["checks"]["rows"]["transactions"] == 2
        assert found["target"] == "latest"
        assert found["audit"]["whole"], found["audit"]
        assert found["audit"]["entries_count"] > 0
        assert "verify" in found["steps_s"]
    finally:
        await collector.stop()


@pytest.mark.parametrize("text", ["yesterday", "2026-11-03T14:00:00", "0/XYZ", ""])
def test_a_point_that_is_none_is_refused(text: str, archive_file: Path, capsys: Any) -> None:
    assert run(["drill", "restore", "--archive", str(archive_file), "--to", text]) == 2
    assert "is no point to restore to" in capsys.readouterr().err


def test_a_witness_alone_verifies_nothing(archive_file: Path) -> None:
    told = ["drill", "restore", "--archive", str(archive_file)]
    assert run([*told, "--witness-key", "x+1+y"]) == 2
    assert run([*told, "--log-key", "no-such-file"]) == 3


def test_an_archive_beside_a_given_server_is_refused(archive_file: Path) -> None:
    given = ["--postgres-url", "postgresql://127.0.0.1:1/x"]
    assert run(["up", "--archive", str(archive_file), *given]) == 2
