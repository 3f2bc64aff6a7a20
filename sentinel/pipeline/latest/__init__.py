"""The last windows of a past as wide as live ones, so that what is primed from history need not wait for live windows to be judged."""

from sentinel.pipeline.latest.judged import held_against
from sentinel.pipeline.latest.kept import (
    LATEST_AGE_MAX_NS,
    LATEST_SOURCE,
    LATEST_WINDOWS,
    latest_block,
    latest_from_bytes,
    latest_to_bytes,
    usable_at,
)

__all__ = [
    "LATEST_AGE_MAX_NS",
    "LATEST_SOURCE",
    "LATEST_WINDOWS",
    "held_against",
    "latest_block",
    "latest_from_bytes",
    "latest_to_bytes",
    "usable_at",
]
