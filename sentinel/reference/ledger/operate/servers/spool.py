"""How PostgreSQL hands its log over: to a process that holds the archive's credentials, and waits until it is stored.

PostgreSQL's user may be one that can read next to nothing, and need not hold the archive's credentials. So its
`archive_command` copies the file to a spool, and succeeds when the file `<name>.done` says that the archive has it.
When nobody stores it in time the command fails, and PostgreSQL keeps the file, tells it in
`pg_stat_archiver`, and tries again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.operate.children import Owner

SPOOL: Final = "spool"
_WAIT_S: Final = 60
_SCRIPT: Final = """#!/bin/sh
# Hands a file of the log over and waits until it is stored: path, name, spool.
set -eu
[ -e "$3/$2.done" ] || { cp "$1" "$3/$2.part"; sync "$3/$2.part"; mv "$3/$2.part" "$3/$2"; }
tries=0
while [ ! -e "$3/$2.done" ]; do
    tries=$((tries + 1))
    [ "$tries" -le %(tries)d ] || { echo "nobody has stored $2 within %(wait)d s" >&2; exit 1; }
    sleep 0.2
done
rm -f "$3/$2.done"
"""


def hand_over_script() -> str:
    """Return the script, which is run with path, name and spool."""
    return _SCRIPT % {"tries": _WAIT_S * 5, "wait": _WAIT_S}


def make_spool(folder: Path, owner: Owner | None) -> str:
    """Make the spool and the script in `folder`; returns the archive_command that uses them."""
    spool = folder / SPOOL
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    script = folder / "hand-over"
    script.write_text(hand_over_script(), encoding="utf-8")
    script.chmod(0o755)
    folder.chmod(0o711)
    if owner is not None:
        os.chown(spool, owner.uid, owner.gid)
    return f'/bin/sh "{script}" "%p" "%f" "{spool}"'
