"""What commands say, kept to the width of who reads it.

On a terminal, or where COLUMNS gives a width, a sentence is broken between words and goes on set in; into a file or a pipe it is one
line, so that it can be searched for. A command to be typed next has a line of its own that is never broken: it is pasted as it stands.
"""

from __future__ import annotations

import sys
import textwrap
from typing import TextIO

from sentinel.cli.options import terminal_columns

_COLUMNS_MIN = 40
_SET_IN = "    "


def tell(sentence: str, *, file: TextIO | None = None, set_in: str = _SET_IN) -> None:
    """Print a sentence, or some a line each, no wider than the terminal.

    Args:
        sentence: what is said.
        file: where to; standard output unless said.
        set_in: what the further lines of a sentence begin with.
    """
    stream = sys.stdout if file is None else file
    columns = terminal_columns(stream)
    for one in sentence.split("\n"):
        for line in wrapped(one, columns, set_in=set_in):
            print(line, file=stream)


def next_step(command: str, *, file: TextIO | None = None) -> None:
    """Say which command comes next."""
    print(f"Next: {command}", file=sys.stdout if file is None else file)


def wrapped(sentence: str, columns: int | None, *, set_in: str = _SET_IN) -> list[str]:
    """The lines of a sentence; one where there is no width to keep to. A word that is wider stands alone and whole.

    >>> wrapped("stop the sidecar, backfill, and start it again", 40)
    ['stop the sidecar, backfill, and start it', '    again']
    """
    if columns is None or len(sentence) <= columns:
        return [sentence]
    return textwrap.wrap(
        sentence,
        max(columns, _COLUMNS_MIN),
        subsequent_indent=set_in,
        break_long_words=False,
        break_on_hyphens=False,
    )
