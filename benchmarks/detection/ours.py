"""Sentinel's own rows: what `sentinel preview` prints, run as a person would run it, without the labels."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.detection.sources import Floats, SeriesFile

SENSITIVITIES = ("quiet", "normal", "high")


class PreviewError(Exception):
    """The preview failed, or took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """What one preview printed.

    Attributes:
        page_s: starts of pages (Unix seconds) of each series that has some.
        cpu_s: process time of the command, its start included.
    """

    page_s: dict[str, Floats]
    cpu_s: float


def preview(
    files: Sequence[SeriesFile],
    *,
    sensitivity: str,
    with_reminders: bool,
    limit_s: float,
    options: Sequence[str] = (),
) -> Previewed:
    """Preview series of one data set; `options` are further ones of the command.

    Raises:
        PreviewError: the command failed or did not end within `limit_s`.
    """
    pages: dict[str, list[float]] = defaultdict(list)
    cpu_s = 0.0
    deadline_s = time.monotonic() + limit_s
    for kind in sorted({file.kind for file in files}):
        paths = [file.path for file in files if file.kind == kind]
        command = [sys.executable, "-m", "sentinel", "preview", "--kind", kind]
        command += ["--sensitivity", sensitivity, "-o", "ndjson"]
        command += [*options, *(["--reminders"] if with_reminders else [])]
        lines, took_s = _run(command, paths, deadline_s=deadline_s)
        cpu_s += took_s
        for line in lines:
            page = json.loads(line)
            pages[str(page["series"])].append(float(page["start"]))
    return Previewed(
        page_s={name: np.array(starts) for name, starts in pages.items()}, cpu_s=cpu_s
    )


def _run(
    command: Sequence[str], paths: Iterable[Path], *, deadline_s: float
) -> tuple[list[str], float]:
    """Lines that the command prints on files, and its process time; of a label column it knows nothing."""
    with tempfile.TemporaryDirectory(prefix="bench_detection_") as name:
        folder = Path(name)
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            child = subprocess.Popen(
                [*command, "--csv", *map(str, paths)],
                stdout=out,
                stderr=err,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
            # wait4 alone gives the time of this child and of no other, and it has no limit of its own.
            timer = threading.Timer(max(0.0, deadline_s - time.monotonic()), child.kill)
            timer.start()
            try:
                _, status, usage = os.wait4(child.pid, 0)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                raise
            finally:
                timer.cancel()
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode == -signal.SIGKILL:
            raise PreviewError("the preview was stopped: it took too long")
        if child.returncode != 0:
            said = (folder / "err").read_text(errors="replace").strip().splitlines()
            raise PreviewError(f"the preview failed: {said[-1] if said else child.returncode}")
        return (folder / "out").read_text().splitlines(), usage.ru_utime + usage.ru_stime
