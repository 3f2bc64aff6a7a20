"""What an answer of 202 survives: a mode that is stated, and what a database must do for it.

`process`: the death of any process of the ledger or of its servers. NATS answers before what it has is on the disk, and has it there
within two minutes; PostgreSQL has each commit on the disk. `machine`: the loss of power as well. NATS, too, has each message on the
disk before it answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

# By PostgreSQL's names; any other value of `synchronous_commit` than `off` waits for the server's own disk.
DATABASE_SETTINGS: Final = ("fsync", "full_page_writes", "synchronous_commit")


class Durability(StrEnum):
    """What is lost of what was accepted: nothing when a process dies, or nothing when the machine does."""

    PROCESS = "process"
    MACHINE = "machine"


def lacking(settings: Mapping[str, str]) -> list[str]:
    """Return what of a database's settings would lose a commit with the machine's power, as `name=value`.

    >>> lacking({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "local"})
    []
    >>> lacking({"fsync": "off", "full_page_writes": "on", "synchronous_commit": "off"})
    ['fsync=off', 'synchronous_commit=off']
    """
    return [f"{name}={settings[name]}" for name in DATABASE_SETTINGS if settings[name] == "off"]
