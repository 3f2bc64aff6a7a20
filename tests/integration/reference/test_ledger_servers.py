"""Goal: the servers start from wherever the wheels lie, and the written history is what it says it is.

Method: PostgreSQL is started as if its user could not read the wheel; the OpenMetrics file is given
to Prometheus' own tool.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from sentinel.reference.ledger.domain import LedgerError
from sentinel.reference.ledger.operate import servers
from sentinel.reference.ledger.operate.cli import run
from sentinel.reference.ledger.operate.folders import temporary_folder
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from tests.support.skips import NOT_ROOT, require_binary

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def test_postgres_runs_from_a_copy_when_its_user_cannot_read_the_wheel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if os.geteuid() != 0:
        pytest.skip(NOT_ROOT)
    monkeypatch.setattr(servers.programs, "_is_reachable", lambda path, owner: False)
    with temporary_folder() as folder:
        server = await servers.start_postgres(folder / "postgres")
        try:
            config = PostgresConfig(url=server.url_file.read_text(encoding="utf-8"))
            assert server.url_file.stat().st_mode & 0o777 == 0o600
            async with postgres.session(config, application_name="test") as session:
                assert await session.fetchval("select 41 + 1") == 42
                where = await session.fetchval("show data_directory")
            assert Path(where).is_relative_to(folder)
            executable = Path(f"/proc/{server.child.pid}/exe").resolve()
            assert executable.is_relative_to(folder)
        finally:
            await server.child.stop(with_signal=signal.SIGQUIT, timeout_s=5.0)


async def test_a_folder_postgres_cannot_enter_is_named(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip(NOT_ROOT)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(LedgerError, match="cannot enter"):
        await servers.start_postgres(closed / "postgres")


def test_prometheus_accepts_the_openmetrics_history(tmp_path: Path) -> None:
    promtool = require_binary("promtool")
    file = tmp_path / "history.om"
    code = run(
        [
            *("history", "--weeks", "0.02", "--end", "1760000000"),
            *("--format", "openmetrics", "-o", str(file)),
        ]
    )
    assert code == 0
    done = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", file, tmp_path / "blocks"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [promtool, "tsdb", "list", tmp_path / "blocks"],
        capture_output=True,
        text=True,
        check=True,
    )
    samples = sum(int(line.split()[4]) for line in listed.stdout.splitlines()[1:])
    windows_count = int(0.02 * 7 * 86_400 // 300)
    assert samples == 24 * 2 * windows_count
