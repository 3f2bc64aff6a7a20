"""Goal: no document tells a person to type what the programs refuse.

Method: every command of ours in a document, a runbook, an alert or an example is parsed by the programs' own grammars.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from sentinel.cli.main import build_parser, main
from sentinel.reference.ledger.operate.cli import build_parser as build_ledger_parser

ROOT = Path(__file__).parents[2]
GENERATED = {ROOT / "docs/cli.md"}  # a grammar, not commands to paste
SOURCES = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").iterdir(),
        *(ROOT / "alert_rules").iterdir(),
    }
    - GENERATED
)
_OURS = r"(?:\.venv/bin/)?(sentinel|sentinel-ledger) "


def commands(text: str) -> list[str]:
    """Commands in back-ticks, on lines of a block, and in comments of an example."""
    inline = re.findall(rf"`({_OURS}[^`]+)`", text)
    lines = re.findall(rf"(?m)^[ #]*(?:\$ )?({_OURS}(?=[a-z]+[ \n]).*)$", text)
    substituted = re.findall(rf"\$\(({_OURS}[^)]+)\)", text)
    inside_a_pod = re.findall(rf"kubectl exec [^`\n]* -- ({_OURS}[^`\n]+)", text)
    return [found[0] for found in (*inline, *lines, *substituted, *inside_a_pod)]


def words(command: str) -> list[str]:
    """As a shell would split it, up to what follows the command or comments on it."""
    command = re.split(r" \| | > | && |  +[a-z#]", command.replace("\\\n", " "))[0]
    return shlex.split(command.removeprefix(".venv/bin/"), comments=True)


PASTED = sorted(
    {
        (str(path.relative_to(ROOT)), command)
        for path in SOURCES
        if path.suffix in (".md", ".yaml")
        for command in commands(path.read_text())
    }
)


def test_there_are_some() -> None:
    assert len(PASTED) > 20


@pytest.mark.parametrize(("path", "command"), PASTED)
def test_it_is_understood(path: str, command: str) -> None:
    program, *arguments = words(command)
    parser = build_parser() if program == "sentinel" else build_ledger_parser()
    told = io.StringIO()
    # A command that is only named lacks what it requires; what it has must be known.
    with contextlib.redirect_stderr(told), contextlib.suppress(SystemExit):
        parser.parse_args(arguments)
    faults = [line for line in told.getvalue().splitlines() if "error:" in line]
    assert not [line for line in faults if "required" not in line], f"{path}: {faults}"


INJECTED = sorted(
    {
        (path, match[0])
        for path, command in PASTED
        if (match := re.match(r"sentinel inject -f deploy/\S+[^|\"]*", command))
    }
)


def test_some_are_injections() -> None:
    assert {path for path, _ in INJECTED} >= {"README.md", "docs/components/injection.md"}


@pytest.mark.parametrize(("path", "command"), INJECTED)
def test_an_injection_works_as_it_stands(
    path: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It named files that are nowhere, so the first command that somebody typed of it failed."""
    monkeypatch.chdir(ROOT)
    assert main(words(command)[1:]) == 0, (path, capsys.readouterr().err)
    assert "sentinel" in capsys.readouterr().out
