"""`sentinel-ledger completion SHELL`: a script by which the shell completes commands, options and file names, made by shtab."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, cast

SHELLS: Final = ("bash", "zsh", "fish")


def completion_script(
    parser: argparse.ArgumentParser, shell: str, *, words: Mapping[str, Sequence[str]]
) -> str:
    """The whole grammar as a script of one of `SHELLS`; the parser is changed for it.

    `words` are what an argument that is called so may be, where the grammar leaves that to the command.
    """
    # Late: no other command needs it.
    import shtab

    _mark(parser, shtab.FILE, words)
    script: str = shtab.complete(parser, shell=shell)
    return f"{script}\n"


def _mark(
    parser: argparse.ArgumentParser, file: object, words: Mapping[str, Sequence[str]]
) -> None:
    for action in parser._actions:  # noqa: SLF001  # argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # nor of these
            for inner in cast("dict[str, argparse.ArgumentParser]", action.choices).values():
                _mark(inner, file, words)
        elif action.dest in words and not action.option_strings:
            action.choices = words[action.dest]
        elif action.type is Path:
            action.complete = file  # type: ignore[attr-defined]  # shtab's own mark
