"""Goal: a shell completes what the program understands: commands, what follows them, values of options, files.

Method: the printed scripts are read by the shells themselves, and what they offer is asked for as a key press would.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest

from sentinel.cli.completion import SHELLS
from sentinel.cli.main import COMMANDS
from tests.support.skips import require_binary

_ASK_BASH = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMPREPLY=()
"$(complete -p "$1" | sed -E 's/.*-F ([^ ]+).*/\\1/')" "$1" "${@: -1}" "${@: -2:1}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
_ASK_FISH = 'source "$argv[1]"; complete -C "$argv[2]"'
_ASK_ZSH = """
autoload -Uz compinit; compinit -D -u; eval "$(<"$1")"
print -l "$_comps[sentinel]" "${(k)functions[(I)_shtab_sentinel*]}"
"""


_MODULES = {"sentinel": "sentinel", "sentinel-ledger": "sentinel.reference.ledger"}


@functools.cache
def _script(shell: str, program: str = "sentinel") -> str:
    done = subprocess.run(
        [sys.executable, "-m", _MODULES[program], "completion", shell],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def _offered(shell: str, line: str, folder: Path) -> set[str]:
    """What the shell would offer at the end of the line, in a folder."""
    script = folder / f"script.{shell}"
    script.write_text(_script(shell, line.split(" ", 1)[0]))
    if shell == "bash":
        ask = [
            require_binary("bash"),
            "--norc",
            "-c",
            _ASK_BASH,
            "bash",
            str(script),
            *line.split(" "),
        ]
    else:
        ask = [require_binary("fish"), "--no-config", "-c", _ASK_FISH, str(script), line]
    done = subprocess.run(ask, capture_output=True, text=True, timeout=60, check=True, cwd=folder)
    assert done.stderr == ""
    return {offer.partition("\t")[0].strip() for offer in done.stdout.splitlines() if offer}


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("sentinel ", set(COMMANDS)),
        ("sentinel inc", {"incidents"}),
        ("sentinel check ", {"config", "ready"}),
        ("sentinel config show --output ", {"yaml", "json"}),
        ("sentinel completion ", set(SHELLS)),
        ("sentinel run --config sent", {"sentinel.yaml"}),
        ("sentinel-ledger ", {"up", "edge", "poster", "load", "history", "fault", "completion"}),
        ("sentinel-ledger fault ", {"start", "stop", "list"}),
        ("sentinel-ledger fault start ", {"lock", "stall", "errors"}),
        ("sentinel-ledger load --shape ", {"flat", "day"}),
        ("sentinel-ledger up --state sent", {"sentinel.yaml"}),
    ],
)
def test_it_offers_what_may_follow(
    shell: str, line: str, offers: set[str], tmp_path: Path
) -> None:
    (tmp_path / "sentinel.yaml").touch()
    assert _offered(shell, line, tmp_path) >= offers
    if not line.endswith(" "):
        assert _offered(shell, line, tmp_path) == offers


def test_zsh_takes_the_ledgers_script(tmp_path: Path) -> None:
    zsh = require_binary("zsh")
    script = tmp_path / "_sentinel-ledger"
    script.write_text(_script("zsh", "sentinel-ledger"))
    subprocess.run([zsh, "-n", str(script)], capture_output=True, timeout=60, check=True)
    assert script.read_text().startswith("#compdef sentinel-ledger")


def test_zsh_takes_the_script_for_this_command(tmp_path: Path) -> None:
    zsh = require_binary("zsh")
    script = tmp_path / "_sentinel"
    script.write_text(_script("zsh"))
    subprocess.run([zsh, "-n", str(script)], capture_output=True, timeout=60, check=True)
    done = subprocess.run(
        [zsh, "-f", "-c", _ASK_ZSH, "zsh", str(script)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    known = done.stdout.split()
    assert known[0] == "_shtab_sentinel"
    assert {f"_shtab_sentinel_{name}" for name in ("check", "baseline")} <= {k.removesuffix("_commands") for k in known}  # fmt: skip
    text = script.read_text()
    for name, command in COMMANDS.items():
        assert f"{name}:'{command.help}".split("'s")[0] in text


def test_another_shell_is_told_which_there_are() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sentinel", "completion", "tcsh"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert all(shell in done.stderr for shell in SHELLS)
