"""`sentinel-ledger completion SHELL`: a script by which the shell completes commands, options and file names, made by shtab."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, cast

SHELLS: Final = ("bash", "zsh", "fish")


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The whole grammar as a script of one of `SHELLS`; the parser is changed for it."""
    # Late: no other command needs it.
    import shtab

    _mark_paths(parser, shtab.FILE)
    script: str = shtab.complete(parser, shell=shell)
    return f"{script}\n"


def _mark_paths(parser: argparse.ArgumentParser, mark: object) -> None:
    for action in parser._actions:  # noqa: SLF001  # argparse has no public list of them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # nor of these
            for inner in cast("dict[str, argparse.ArgumentParser]", action.choices).values():
                _mark_paths(inner, mark)
        elif action.type is Path:
            action.complete = mark  # type: ignore[attr-defined]  # shtab's own mark
