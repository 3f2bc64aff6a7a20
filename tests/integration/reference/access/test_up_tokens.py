"""Goal: a ledger that believes tokens only is used by its own programs, and by a person who asks it for one.

Method: `up --tokens-only` with its commands, each a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.support.ledger_run import end_up, eventually, ledger, start_up
from tests.support.otlp_collector import OtlpCollector

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


async def test_programs_come_in_by_tokens_also_after_the_issuer_began_anew(tmp_path: Path) -> None:
    collector = OtlpCollector()
    await collector.start()
    up = await start_up(tmp_path, collector, "--tokens-only", "--no-replica")
    try:
        assert up.ready["issuer_url"].startswith("http://127.0.0.1:")
        assert Path(up.ready["accounts_file"]).stat().st_mode & 0o077 == 0
        status, told = await up.transfer("by-header")
        assert (status, told["code"]) == (401, "no_credentials")
        state = ("--state", str(up.state_file), "--tenant", "shop")

        async def read() -> int:
            process = await ledger("token", *state, mark=up.mark)
            token, _ = await process.communicate()
            assert process.returncode == 0
            bearer = {"Authorization": f"Bearer {token.decode().strip()}"}
            async with up.http.get("/v1/accounts/alice/balance", headers=bearer) as response:
                return response.status

        assert await read() == 404
        before = json.loads(up.state_file.read_text())["pids"]["authorize"]
        os.kill(before, signal.SIGKILL)
        await eventually(
            "a new issuer",
            lambda: json.loads(up.state_file.read_text())["pids"]["authorize"],
            lambda pid: pid != before,
        )
        # Its keys are new, which the edge finds out by the first token that it does not know.
        await eventually("the new keys", read, lambda status: status == 404)
        process = await ledger("load", *state, "--rate", "30", "--seconds", "2", mark=up.mark)
        output, _ = await process.communicate()
        counts = json.loads(output)["status_counts"]
        assert counts["202"] > 0
        assert set(counts) <= {"200", "202", "401", "404"}
        process = await ledger(
            "token", "--state", str(up.state_file), "--tenant", "nobody", mark=up.mark
        )
        await process.communicate()
        assert process.returncode == 1
    finally:
        await end_up(up)
        await collector.stop()
