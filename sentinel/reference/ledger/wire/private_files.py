"""Files with private keys: whose they may be, and how they come to be whole or not at all.

Who may read one beside its reader decides what its signatures are worth. And nobody writes one over: half a key that a kill left
would be kept for ever.
"""

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


def has_content(path: Path) -> bool:
    """Say whether there is a file with something in it; an empty one is what somebody left who was stopped while making it."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def write_once(path: Path, content: bytes) -> None:
    """Make a file that only its owner can read, whole and on the disk, or none at all.

    Raises:
        FileExistsError: there is one that is not empty.
    """
    if has_content(path):
        raise FileExistsError(path)
    draft = _draft(path, content, 0o600)
    path.unlink(missing_ok=True)
    # A link and no rename: it does not take the place of what somebody else has made meanwhile.
    os.link(draft, path)
    draft.unlink()
    _sync(path.parent)


def write_over(path: Path, content: bytes) -> None:
    """Replace a file that anybody may read, in one step and on the disk."""
    _draft(path, content, 0o644).replace(path)
    _sync(path.parent)


def _draft(path: Path, content: bytes, mode: int) -> Path:
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return draft


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
