"""Which versions of nats-server are known to lose data or to let strangers in."""

from __future__ import annotations

import re

# The lowest of each line with the advisories of 2026 on authentication mended; older lines have no such version.
_SAFE = {(2, 11): 16, (2, 12): 7}
_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})")


def is_safe(version: str) -> bool | None:
    """Whether a server's version is at or above the lowest safe one of its line; None when it cannot be read.

    >>> is_safe("2.9.10"), is_safe("2.12.7"), is_safe("2.11.15"), is_safe("2.14.0"), is_safe("dev")
    (False, True, False, True, None)
    """
    found = _VERSION.match(version)
    if found is None:
        return None
    major, minor, patch = (int(number) for number in found.groups())
    least = _SAFE.get((major, minor))
    if least is not None:
        return patch >= least
    return (major, minor) > max(_SAFE)


def safe_minimum() -> str:
    """The lowest safe versions, for a sentence.

    >>> safe_minimum()
    '2.11.16 or 2.12.7'
    """
    return " or ".join(
        f"{major}.{minor}.{patch}" for (major, minor), patch in sorted(_SAFE.items())
    )
