"""Goal: a command costs what it does, and no more. Method: fresh interpreters, which tell at their end what they have loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sentinel.cli.main import COMMANDS

HEAVY = {"numpy", "grpc", "aiohttp", "asyncpg", "asyncio", "nats", "sqlite3", "ssl", "yaml"}


TELL = """
import atexit, sys
atexit.register(lambda: print("\\n".join(sys.modules), file=sys.stderr))
from sentinel.cli.main import main
sys.exit(main())
"""


def loaded(*arguments: str) -> set[str]:
    """The modules, and the packages they are in, that a run of the command loads."""
    ran = subprocess.run(
        [sys.executable, "-c", TELL, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names = set(ran.stderr.splitlines())
    return names | {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("argument", ["--version", "--help"])
def test_what_needs_no_command_loads_none(argument: str) -> None:
    """It took a second and 70 MB to say the version."""
    names = loaded(argument)
    assert "sentinel.cli.main" in names
    assert names & HEAVY == set()
    assert names & {command.file for command in COMMANDS.values()} == set()


def test_a_command_loads_its_own_file_alone() -> None:
    names = loaded("config", "--help")
    files = {command.file for command in COMMANDS.values()}
    assert names & files == {"sentinel.cli.config"}


def test_a_sidecar_on_its_defaults_loads_nothing_of_what_is_off() -> None:
    names = loaded("run", "--help")
    assert "sentinel.receivers.otlp_http" in names
    off = {
        "asyncpg",
        "cramjam",
        "nacl",
        "nats",
        "opentelemetry",
        "requests",
        "sentinel.core.normalise.kong.log",
        "sentinel.core.normalise.logs.reader",
        "sentinel.core.normalise.prometheus",
        "sentinel.receivers.http_log.component",
        "sentinel.history",
        "sentinel.receivers.log_files.component",
        "sentinel.runtime.http.fetch",
        "sentinel.runtime.polling.component",
        "sentinel.senders.otlp_forward.forwarding",
    }
    assert names & off == set()
