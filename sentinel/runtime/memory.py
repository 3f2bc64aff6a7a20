"""What the C library's allocator keeps: asked to give large blocks back, and to keep few pools.

glibc learns from the first large block that is freed to keep the next of its size, up to 32 MB, in a heap that
cannot shrink below whatever came after it; and it opens a pool a thread. A sidecar that holds a fit of 25 MB for
a few seconds an hour would then hold it for good. Elsewhere these calls do not exist and nothing happens.
"""

from __future__ import annotations

import ctypes

__all__ = ["limit_kept_memory"]

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_LARGE_BYTES = 2 << 20
"""From here on a block is mapped and unmapped; above what one tick over 100,000 series works with."""
_ARENA_COUNT = 2


def limit_kept_memory() -> None:
    """Fix what the allocator would adapt; once, before there are threads."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, _ARENA_COUNT)
