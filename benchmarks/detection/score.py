"""Recall and false pages of `sentinel preview` on folders of labelled series.

Runs the command itself, never looking at labels, then a scorer on what it printed: a program that takes
`--data DIR --dataset NAME PAGES.ndjson` and prints a line. DIR holds a folder of CSV files a data set.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--scorer", type=Path, required=True, help="program that scores pages")
    parser.add_argument(
        "--dataset", action="append", help="one of the folders (default: those of the four sets)"
    )
    parser.add_argument("--sensitivity", action="append", help="default: quiet, normal and high")
    args = parser.parse_args()
    failed = 0
    for dataset in args.dataset or ["kpi_final", "kpi_prelim", "msft", "nab"]:
        for sensitivity in args.sensitivity or ["quiet", "normal", "high"]:
            failed += measure(args.data, args.scorer, dataset, sensitivity)
    return 1 if failed else 0


def measure(data: Path, scorer: Path, dataset: str, sensitivity: str) -> int:
    """Preview and score one data set; 1 when either failed."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    preview = [sys.executable, "-m", "sentinel", "preview", "--csv", str(data / dataset)]
    with tempfile.TemporaryDirectory() as folder:
        pages = Path(folder) / "pages.ndjson"
        started_s = time.perf_counter()
        with pages.open("wb") as handle:
            code = subprocess.run(
                [*preview, "--sensitivity", sensitivity, "-o", "ndjson"],
                stdout=handle,
                env=environment,
                check=False,
            ).returncode
        took_s = time.perf_counter() - started_s
        score = subprocess.run(
            [sys.executable, str(scorer), "--data", str(data), "--dataset", dataset, str(pages)],
            capture_output=True,
            text=True,
            check=False,
        )
    print(f"{sensitivity:6} {took_s:5.0f} s  {score.stdout.strip() or score.stderr.strip()}")
    return int(code != 0 or score.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
