"""Goal: clients that are generated from the contract compile, and do against a running ledger what integrators do.

Method: each is generated and compiled as `make sdks` does; then a program in its language (`tests/sdks`) uses it, with bearer tokens, against
`up --tokens-only`, and reads the webhooks that come of it. All three must have seen the same.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.ledger_run import Up, end_up, eventually, ledger, start_up
from tests.support.otlp_collector import OtlpCollector
from tests.support.skips import require_binary
from tests.support.webhook_receiver import Receiver

pytestmark = [
    pytest.mark.full,
    pytest.mark.integration,
    pytest.mark.timeout(1800),
    pytest.mark.asyncio(loop_scope="module"),
]

ROOT = Path(__file__).parents[4]
PROGRAMS = ROOT / "tests/sdks"
NEWER = {
    "account_id": "a",
    "currency": "EUR",
    "balance_minor": 7,
    "available_minor": 7,
    "version": 1,
    "opened_at": "2026-12-01T00:00:00Z",
    "limits": {"minor": 5},
}
SEEN = {
    "transfer": ["posted", "transfer", 500, "EUR"],
    "balance": [500, 500],
    "newer": 7,
    "replayed": [True, "true"],
    "reused": {"status": 409, "code": "idempotency_key_reused", "fields": ["Idempotency-Key"]},
    "wrong": {"status": 400, "code": "same_account", "fields": ["credit_account"]},
    "unknown": {"status": 404, "code": "unknown_account", "fields": []},
    "batch": ["decided", ["posted", None], ["rejected", "insufficient_funds"]],
    "pending": ["posted", 30, "posted", True],
    "left": [370, 370],
    "limited": {"status": 429, "code": "rate_limited", "fields": [], "waits": True},
    "stranger": {"status": 401, "code": "no_credentials", "fields": []},
}


@dataclass(frozen=True, slots=True)
class Site:
    """A running ledger, and who hears its webhooks."""

    up: Up
    receiver: Receiver


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    collector, receiver = OtlpCollector(), Receiver()
    await collector.start()
    await receiver.start()
    # The receiver of `up` is for who tries it out; with it, webhooks may go to loopback.
    arguments = ("--tokens-only", "--no-replica", "--receiver", "--tenant", "slow=enterprise:1:1")
    up = await start_up(tmp_path_factory.mktemp("up"), collector, *arguments)
    try:
        yield Site(up, receiver)
    finally:
        await end_up(up)
        await receiver.stop()
        await collector.stop()


async def token_of(up: Up, tenant: str) -> str:
    """A token of the demo's issuer."""
    process = await ledger(
        "token", "--state", str(up.state_file), "--tenant", tenant, mark=up.mark
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


async def run(
    *command: str,
    given: object = None,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> bytes:
    """What a program said; it fails the test when it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, **(environ or {})},
    )
    try:
        sent = b"" if given is None else json.dumps(given).encode()
        output, complaint = await asyncio.wait_for(process.communicate(sent), 1200)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (output + complaint).decode()[-4000:]
    return output


async def generated(language: str, folder: Path) -> Path:
    """The folder of a client that was generated and compiled."""
    if importlib.util.find_spec("openapi_generator_cli") is None:
        pytest.skip("openapi-generator is not installed (make sdk-deps)")
    await run(
        *(sys.executable, str(ROOT / "deploy/sdks.py"), language, "--output", str(folder)),
        cwd=ROOT,
    )
    return folder / language


async def python_program(folder: Path) -> tuple[list[str], dict[str, str]]:
    client = await generated("python", folder)
    return [sys.executable, str(PROGRAMS / "exercise.py")], {"PYTHONPATH": str(client)}


async def node_program(folder: Path) -> tuple[list[str], dict[str, str]]:
    node = require_binary("node")
    if not (ROOT / "tests/node/node_modules/typescript").is_dir():
        pytest.skip("TypeScript is not installed (make node-deps)")
    client = await generated("node", folder)
    return [node, str(PROGRAMS / "exercise.mjs"), str(client)], {}


async def go_program(folder: Path) -> tuple[list[str], dict[str, str]]:
    client = await generated("go", folder)
    program = client / "exercise"
    program.mkdir()
    shutil.copy(PROGRAMS / "exercise.go", program / "main.go")
    spec = importlib.util.spec_from_file_location("sdks", ROOT / "deploy/sdks.py")
    assert spec is not None
    assert spec.loader is not None
    sdks = importlib.util.module_from_spec(spec)
    sys.modules["sdks"] = sdks
    spec.loader.exec_module(sdks)
    go = sdks.tool("go", Path(sys.prefix) / "bin", "make sdk-deps")
    environ = sdks.go_environment(client)
    await run(go, "build", "-o", "used", "./exercise", cwd=client, environ=environ)
    return [str(client / "used")], {}


PROGRAM_OF = {"python": python_program, "node": node_program, "go": go_program}


@pytest.mark.parametrize("language", PROGRAM_OF)
async def test_a_generated_client_does_what_integrators_do(
    site: Site, tmp_path: Path, language: str
) -> None:
    command, environ = await PROGRAM_OF[language](tmp_path)
    [program, *arguments] = command
    phase = 1 if language != "go" else 0  # after the script, where there is one

    async def told(what: str, given: object) -> Any:
        words = [*arguments[:phase], what, *arguments[phase:]]
        return json.loads(await run(program, *words, given=given, environ=environ))

    path = f"/{language}"
    asked = {
        "url": site.up.ready["edge_url"],
        "token": await token_of(site.up, "shop"),
        # A tenant that may ask once a second.
        "limited_token": await token_of(site.up, "slow"),
        "name": language,
        "newer": NEWER,
        "hook_url": site.receiver.url + path,
    }
    seen = await told("use", asked)
    webhook = seen.pop("webhook")
    assert seen == SEEN
    expected = {
        ("transaction.posted", webhook["transaction_id"]),
        ("webhook_endpoint.test", webhook["endpoint_id"]),
    }
    # Each at least once.
    messages = await eventually(
        "both webhooks",
        lambda: [
            {"body": one.body.decode(), "headers": one.headers} for one in site.receiver.at(path)
        ],
        lambda found: len({one["body"] for one in found}) >= len(expected),
    )
    heard = await told("hear", {"key": webhook["key"], "messages": messages})
    assert {tuple(one) for one in heard} == expected


async def test_a_language_that_there_is_none_of_is_refused(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "deploy/sdks.py"), "cobol", "--output", str(tmp_path)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    assert process.returncode == 2
    assert b"no such language: cobol" in complaint
