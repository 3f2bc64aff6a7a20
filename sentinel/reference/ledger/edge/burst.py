"""The error burst: a control file that makes the edge fail a share of the writes.

A file in the run's own folder, readable by its owner only, is control enough for one machine, and
nothing listens for it. It says until when it holds, so that it ends also when whoever wrote it was
killed before lifting it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Fail `error_ratio` of the writes until `until_ns`."""

    error_ratio: float
    until_ns: int


def read_burst(path: Path) -> Burst | None:
    """Return the burst that the file asks for; None when there is no file or it makes no sense."""
    try:
        with path.open("rb") as file:
            document = orjson.loads(file.read(_BYTES_MAX))
        ratio, until_ns = float(document["error_ratio"]), int(document["until_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Burst(error_ratio=ratio, until_ns=until_ns) if 0 <= ratio <= 1 else None


def write_burst(path: Path, burst: Burst) -> None:
    """Write the control file in one step, so that no half of it is ever read."""
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_bytes(orjson.dumps({"error_ratio": burst.error_ratio, "until_ns": burst.until_ns}))
    draft.replace(path)


def lift_burst(path: Path) -> None:
    """End the burst; harmless when there is none."""
    path.unlink(missing_ok=True)
