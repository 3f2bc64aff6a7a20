"""The database's schema, as numbered files of SQL that are applied once and never edited."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

SCHEMA: Final = "ledger"


def _migrations() -> tuple[str, ...]:
    """Return the texts in the order of their numbers, which have no gap."""
    folder = files("sentinel.reference.ledger.wire") / "schema"
    found = sorted(one.name for one in folder.iterdir() if one.name.endswith(".sql"))
    return tuple((folder / name).read_text(encoding="utf-8") for name in found)


MIGRATIONS: Final = _migrations()
