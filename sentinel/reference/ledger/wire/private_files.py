"""Whose a file with a private key may be: who may read it beside its reader decides what its signatures are worth."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import UnreadableError

_ROOT: Final = 0
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MORE_THAN_READ_BY_GROUP: Final = _OTHERS & ~stat.S_IRGRP


def is_private(mode: int, *, owner: int, reader: int) -> bool:
    """Say whether a file is private to its reader: its own alone, or root's and shown to the reader's group.

    The second is how an orchestrator hands a key to a process that does not run as root; root could read it in any
    case. It is what PostgreSQL's own client asks of a key.

    >>> is_private(0o600, owner=65532, reader=65532), is_private(0o640, owner=65532, reader=65532)
    (True, False)
    >>> is_private(0o440, owner=0, reader=65532), is_private(0o444, owner=0, reader=65532)
    (True, False)
    """
    handed = owner == _ROOT and reader != _ROOT
    return not mode & (_MORE_THAN_READ_BY_GROUP if handed else _OTHERS)


def check_private(path: Path) -> None:
    """Refuse a file with a private key that others can read.

    Raises:
        UnreadableError: they can, or nobody can.
    """
    try:
        found = path.stat()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise UnreadableError(message) from error
    if not is_private(found.st_mode, owner=found.st_uid, reader=os.geteuid()):
        message = f"others can read the private key in {path}: chmod 600, or, of a file of root's, 640 for the reader's group"
        raise UnreadableError(message)
