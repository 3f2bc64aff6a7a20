"""Reads a plain series file: `timestamp,value` and columns that are left alone."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import MalformedInputError


def read_series(path: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times in ns and values."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as handle:
        try:
            table = np.loadtxt(handle, delimiter=",", skiprows=1, usecols=(0, 1), ndmin=2)
        except ValueError as error:
            msg = str(error)
            raise MalformedInputError(msg) from error
    return (table[:, 0] * 1e9).astype(np.int64), table[:, 1]
