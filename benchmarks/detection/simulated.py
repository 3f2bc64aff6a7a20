"""Series of the simulator, in which it is known what was an outage and what was not, as a folder like any other.

Months of a payment system on the wall clock of a zone with its holidays, with growth, sparse tenants, nightly jobs, deploys and true shifts of the
level, which are no fault: what series that people labelled cannot tell apart.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SIMULATED = "simulator"

CALENDAR_CONFIG = """\
mode: shadow
calendar:
  zone: Europe/Berlin
  country: DE
  paydays: [{day: 25, roll: before}]
"""
"""What somebody who runs this payment system would tell of its days."""

_END_S = 1_700_000_000
"""Fixed, so that a seed means the same series on any day."""
_LIMIT_S = 600.0


def simulate(folder: Path, *, months: float, seed: int) -> None:
    """Write a folder of simulated series with their index.

    Raises:
        subprocess.SubprocessError: the simulator failed or took too long.
    """
    command = [sys.executable, "-m", "sentinel.reference.ledger", "history", "--format", "series"]
    command += ["--months", f"{months:g}", "--step", "5m", "--seed", str(seed)]
    command += ["--zone", "Europe/Berlin", "--country", "DE"]
    command += ["--end", str(_END_S), "--out", str(folder)]
    subprocess.run(command, check=True, timeout=_LIMIT_S, stderr=subprocess.DEVNULL)
