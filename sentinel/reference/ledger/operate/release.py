"""A bad release of one process: a control file in the run's folder says which version it is, how it is wrong, and until when.

`up` looks for the file when it starts the process, and starts it as that version; the process fails its share of calls while the file
holds. It says until when, so that what is wrong with it ends also when whoever released it was killed.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.operate.state import write_private

_BYTES_MAX: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A version of a process that is wrong until `until_ns`.

    Attributes:
        version: what its telemetry names as `service.version`.
        error_ratio: the share of its calls that fail.
        delay_s: how much longer the others take.
        until_ns: when it is right again.
    """

    version: str
    error_ratio: float
    delay_s: float
    until_ns: int

    @property
    def holds(self) -> bool:
        """Whether it is wrong at this moment."""
        return time.time_ns() < self.until_ns


def release_file(folder: Path, name: str) -> Path:
    """Where a process's release is kept; its name stands in the command line of whoever runs as it."""
    return folder / f"release-{name}.json"


def write_release(file: Path, release: Release) -> None:
    """Have the process started as this release from now on."""
    write_private(file, orjson.dumps(asdict(release)))


def read_release(file: Path) -> Release | None:
    """Return the release that holds; None when there is none, it is over, or the file makes no sense."""
    try:
        with file.open("rb") as opened:
            document = orjson.loads(opened.read(_BYTES_MAX))
        release = Release(
            version=str(document["version"]),
            error_ratio=float(document["error_ratio"]),
            delay_s=float(document["delay_s"]),
            until_ns=int(document["until_ns"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return release if release.holds and 0 <= release.error_ratio <= 1 else None


async def fail_a_share(file: Path | None) -> None:
    """Be as slow as the release is, and raise UnavailableError for its share of the calls; nothing without one.

    Raises:
        UnavailableError: this call is one of the share.
    """
    release = None if file is None else read_release(file)
    if release is None:
        return
    await asyncio.sleep(release.delay_s)
    if random.random() < release.error_ratio:  # noqa: S311 - a share, not a secret
        message = f"injected by the release {release.version}"
        raise UnavailableError(message, code="bad_release")
