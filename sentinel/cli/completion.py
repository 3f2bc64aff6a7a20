"""`sentinel completion SHELL`: a script by which the shell completes commands, options, their values and file names.

The script holds the whole grammar as it is in this version, so that pressing a key starts no program. It is made by shtab,
which is loaded by this command alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

SHELLS = ("bash", "zsh", "fish")
_FILES = frozenset({"FILE", "PATH", "DIR|FILE"})
_FOLDERS = frozenset({"DIR", "FOLDER"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes to its grammar."""
    parser.description = "Prints a script; where the shell looks for it is the shell's own affair."
    parser.epilog = (
        "examples:\n"
        "  bash   sentinel completion bash \\\n"
        "             > ~/.local/share/bash-completion/completions/sentinel\n"
        "  zsh    sentinel completion zsh > ~/.zfunc/_sentinel\n"
        "             (with fpath+=~/.zfunc before compinit)\n"
        "  fish   sentinel completion fish > ~/.config/fish/completions/sentinel.fish\n"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    # Late, as each of these is slow or wants the other: the grammar needs every command's file.
    import shtab

    from sentinel.cli.main import build_parser

    parser = build_parser()
    _prepare(parser)
    sys.stdout.write(shtab.complete(parser, shell=args.shell) + "\n")
    return 0


def _prepare(parser: argparse.ArgumentParser) -> None:
    """Mark arguments that are files or folders, by their type or by what the help calls them; one line on each command."""
    import shtab

    for action in parser._actions:  # noqa: SLF001  # argparse has no other way to ask for them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # nor for this
            lines = {one.dest: one.help for one in action._choices_actions}  # noqa: SLF001  # nor this
            for name, inner in cast(dict[str, argparse.ArgumentParser], action.choices).items():
                # shtab shows the description, which for some commands is a page.
                inner.description = lines[name]
                _prepare(inner)
        elif action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]  # shtab's own mark
        elif action.metavar in _FILES or action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own mark
