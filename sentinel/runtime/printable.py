"""Text of others on a terminal: nothing in it may move the cursor."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with what could end a line or move a cursor escaped, and everything else as it is.

    >>> printable("C:\\x\x1b")
    'C:\\x\\x1b'
    """
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )
