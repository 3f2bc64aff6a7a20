"""Series of the simulator, with outages planted in their second half, as a folder like any other of labelled series.

`sentinel-ledger history` makes what is usual; an outage here changes the values of one series for a while: traffic falls to a tenth,
latency triples, errors rise by a third of the calls. What the simulator knows of outages itself replaces this as soon as it writes them.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.detection.sources import Floats, SeriesFile, series_of

SIMULATED = "simulated"

_END_S = 1_700_000_000
"""Fixed, so that a seed means the same series on any day."""
_WEEKS = 6
_STEP_S = 300
_LIMIT_S = 300.0
_OUTAGE_COUNT = 3
_OUTAGE_ROWS = (3, 25)
_APART_ROWS = 288


def simulate(folder: Path, *, seed: int) -> list[SeriesFile]:
    """Write simulated series into a folder, and list them.

    Raises:
        subprocess.SubprocessError: the simulator failed or took too long.
    """
    history = folder / "history.csv"
    command = [sys.executable, "-m", "sentinel.reference.ledger", "history", "--format", "csv"]
    command += ["--weeks", str(_WEEKS), "--step", f"{_STEP_S}s", "--seed", str(seed)]
    command += ["--end", str(_END_S), "-o", str(history)]
    subprocess.run(command, check=True, timeout=_LIMIT_S, stdout=subprocess.DEVNULL)
    (folder / SIMULATED).mkdir()
    random = np.random.default_rng(seed)
    with (folder / "index.csv").open("w", newline="") as handle:
        index = csv.writer(handle)
        index.writerow(["dataset", "series", "sentinel_kind"])
        for (name, signal), (time_s, value) in sorted(_series(history).items()):
            changed, label = with_outages(value, signal=signal, random=random)
            np.savetxt(
                folder / SIMULATED / f"{name}.csv",
                np.column_stack([time_s, changed, label]),
                fmt=("%d", "%.6g", "%d"),
                delimiter=",",
                header="timestamp,value,label",
                comments="",
            )
            index.writerow([SIMULATED, name, signal])
    return series_of(folder, SIMULATED)


def with_outages(
    value: Floats, *, signal: str, random: np.random.Generator
) -> tuple[Floats, Floats]:
    """Values with outages in their second half, and a label that is 1 inside these."""
    changed, label = value.copy(), np.zeros(value.size)
    # The scored part is cut in as many stretches as there are outages: a day and more lies between two of them.
    edges = np.linspace(value.size // 2 + _APART_ROWS, value.size, _OUTAGE_COUNT + 1).astype(int)
    for begin, end in pairwise(edges):
        rows = int(random.integers(*_OUTAGE_ROWS))
        at = int(random.integers(begin, max(begin + 1, end - _APART_ROWS)))
        inside = slice(at, at + rows)
        if signal == "traffic":
            changed[inside] *= 0.1
        elif signal == "errors":
            changed[inside] = np.minimum(1.0, changed[inside] + 1 / 3)
        else:
            changed[inside] *= 3.0
        label[inside] = 1
    return changed, label


def _series(history: Path) -> dict[tuple[str, str], tuple[Floats, Floats]]:
    rows: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    with history.open(newline="") as handle:
        for row in csv.DictReader(handle):
            signal = row["signal"]
            parts = (row["service"], row["stage"], row["route"], signal)
            name = "-".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)
            rows[name, signal].append((float(row["timestamp"]), float(row["value"])))
    return {key: (np.array(pairs)[:, 0], np.array(pairs)[:, 1]) for key, pairs in rows.items()}
