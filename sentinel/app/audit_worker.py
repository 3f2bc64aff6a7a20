"""The child in which statsmodels runs: `python -I -m sentinel.app.audit_worker`, a question and an answer at a time.

Questions and answers are packed arrays. It opens no store and writes nothing; its memory and its time have a ceiling, so that a
series which statsmodels cannot digest costs one answer. `EXIT_NO_STATSMODELS` when the extra is not installed.
"""

from __future__ import annotations

import json
import os
import resource
import sys

# numpy's BLAS would start threads that spin; it reads this once, when it is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from sentinel.core.stats.packing import pack_arrays, unpack_arrays
from sentinel.runtime.side_process import read_frame, write_frame

EXIT_NO_STATSMODELS = 3
_NICENESS = 10
_MEMORY_BYTES = 2 << 30
"""Of address space, of which the libraries take about half a gigabyte."""
_SPARE_S = 10


def main() -> int:
    """Answer until there is no more question."""
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    try:
        from sentinel.audit import examine, mstl
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "statsmodels":
            raise
        return EXIT_NO_STATSMODELS
    while (question := read_frame(sys.stdin.buffer)) is not None:
        arrays, facts = unpack_arrays(question)
        _limit_time(float(facts["limit_s"]))
        value = arrays["value"].astype(np.float32)
        per_day = int(facts["per_day"])
        try:
            if facts["ask"] == "foretell":
                count = int(facts["bin_count"])
                ahead = mstl.foretell(value, per_day=per_day, bin_count=count)
                answer = pack_arrays({"ahead": ahead}, {"said": "ok"})
            else:
                found = examine.examine(
                    value,
                    expected=arrays["expected"].astype(np.float32),
                    per_day=per_day,
                    start_ns=int(facts["start_ns"]),
                    zone=str(facts["zone"]),
                )
                answer = pack_arrays({}, {"said": "ok", "found": json.dumps(found)})
        except mstl.TooLittleError as error:
            answer = pack_arrays({}, {"said": "too_little", "why": str(error)})
        except MemoryError:
            answer = pack_arrays({}, {"said": "memory"})
        write_frame(sys.stdout.buffer, answer)
    return 0


def _limit_time(limit_s: float) -> None:
    """A ceiling on processor time for this answer, for when whoever asked is gone and nobody ends this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent_s = used.ru_utime + used.ru_stime
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(spent_s + limit_s) + _SPARE_S, hard))


if __name__ == "__main__":
    sys.exit(main())
