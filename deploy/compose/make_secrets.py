"""Makes the passwords of the Compose file, each once, readable by their owner's group of containers; prints none.

A password that is there is left: a database was made with it.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).with_name("secrets")
PASSWORDS = ("grafana-password", "ledger-password", "sentinel-password")
# What the ledger's processes log in as, without the `ledger_` that their roles begin with.
ROLES = (
    "analytics",
    "audit",
    "disburser",
    "endpoints",
    "exporter",
    "exports",
    "poster",
    "reader",
    "reconcile",
    "webhooks",
)


def main(folder: Path = FOLDER) -> None:
    """Write what is missing. Containers read the files under users of their own, so the folder is what keeps others out."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    for name in PASSWORDS:
        _write(folder / name, secrets.token_urlsafe(32))
    password = (folder / "ledger-password").read_text()
    _write(folder / "ledger-url", _url("ledger", password))
    for role in ROLES:
        _write(folder / f"{role}-url", _url(f"ledger_{role}", secrets.token_urlsafe(32)))


def _url(user: str, password: str) -> str:
    return f"postgresql://{user}:{password}@postgres:5432/ledger"


def _write(path: Path, text: str) -> None:
    if not path.exists():
        path.write_text(text)
        path.chmod(0o444)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
