"""The point that a restore goes to: the newest, a time, or a place in the log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sentinel.reference.ledger.domain.errors import UsageError

LATEST: Final = "latest"
_LSN: Final = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a restore ends; neither is given: with the last that was archived.

    Attributes:
        time_s: Unix seconds.
        lsn: a place in the log, as PostgreSQL writes it.
    """

    time_s: float | None = None
    lsn: str | None = None

    @property
    def settings(self) -> dict[str, str]:
        """PostgreSQL's settings for it."""
        if self.time_s is not None:
            moment = datetime.fromtimestamp(self.time_s, tz=UTC)
            return {"recovery_target_time": moment.isoformat(sep=" ", timespec="microseconds")}
        if self.lsn is not None:
            return {"recovery_target_lsn": self.lsn}
        return {}


def parse_target(text: str) -> Target:
    """Return the target that is meant.

    Raises:
        UsageError: it is neither `latest`, nor a time with its zone, nor a place in the log.
    """
    if text == LATEST:
        return Target()
    if _LSN.fullmatch(text):
        return Target(lsn=text.upper())
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        message = (
            f"{text!r} is no point to restore to: give `latest`, a time such as "
            "2026-11-03T14:00:00Z, or a place in the log such as 0/3000148"
        )
        raise UsageError(message)
    return Target(time_s=moment.timestamp())
