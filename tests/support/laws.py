"""How often a law that costs much is tried."""

from __future__ import annotations

import os


def examples(quick: int, *, thorough: int) -> int:
    """The number of examples: few by `make test`, and many by `make test-full`, which sets `SENTINEL_TEST_FULL`."""
    return thorough if os.environ.get("SENTINEL_TEST_FULL") else quick
