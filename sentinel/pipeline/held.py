"""What is expected of the next day lies in a file without a name, and is read where a window looks at it.

A fit reaches 26 hours ahead, of which a refit leaves one to be looked at: of 10,000 series half a megabyte of twelve. The file is
gone with the process, however that ends, and counts as the cache of files, which the machine may take back. Where it cannot be
written, because a disk is full, the expectation stays in memory as it is.
"""

from __future__ import annotations

import mmap
import tempfile
from dataclasses import replace

import numpy as np

from sentinel.core.baseline import Profile

IN_FILE_BYTES_MIN = 1 << 20
"""Less is not worth a file."""


def in_file(profile: Profile, directory: str) -> Profile | None:
    """The same expectation, to the bit, with its grid in a file, and nothing that looks into the bytes it came from.

    Args:
        profile: as it came.
        directory: where the file is written.

    Returns:
        None where the grid is small, or the file cannot be written.
    """
    if profile.grid.nbytes < IN_FILE_BYTES_MIN:
        return None
    try:
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            grid = np.ascontiguousarray(profile.grid)
            left = grid.data.cast("B")
            while left.nbytes:
                left = left[file.write(left) :]
            mapped = mmap.mmap(file.fileno(), grid.nbytes, access=mmap.ACCESS_READ)
    except OSError:
        return None
    return replace(
        profile,
        series=profile.series.copy(),
        grid=np.frombuffer(mapped, grid.dtype).reshape(grid.shape),
        steps=None if profile.steps is None else profile.steps.copy(),
        ease=None if profile.ease is None else profile.ease.copy(),
    )
