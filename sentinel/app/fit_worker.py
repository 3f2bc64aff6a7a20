"""The child that fits: `python -I -m sentinel.app.fit_worker`, a request on stdin, the fit's bytes on stdout.

A process of its own, because a fit needs memory for a moment that the sidecar must not keep, and because
whatever goes wrong in it ends here. It opens the store read-only and takes no lock.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

# numpy's BLAS would start threads that spin; it reads this once, when it is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from sentinel.app.audit_child import AuditChild, statsmodels_is_installed
from sentinel.app.calendars import make_calendar
from sentinel.core.baseline import Calendar, Model
from sentinel.errors import SentinelError
from sentinel.pipeline.drift_fit import DRIFT_RATIO
from sentinel.pipeline.fit_child import EXIT_NO_HISTORY
from sentinel.pipeline.fitting import fit_payload
from sentinel.pipeline.latest import LATEST_SOURCE, latest_from_bytes
from sentinel.pipeline.models import ModelSettings
from sentinel.pipeline.plain_settings import settings_from_plain
from sentinel.storage.sqlite import StoreReader

_NICENESS = 10
_REQUEST_BYTES_MAX = 65_536


def main() -> int:
    """Fit once; 0 with the fit on stdout, `EXIT_NO_HISTORY` without history, 1 with a clear line."""
    os.nice(_NICENESS)
    request = json.loads(sys.stdin.buffer.read(_REQUEST_BYTES_MAX))
    try:
        payload = payload_of(request)
    except SentinelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if payload is None:
        return EXIT_NO_HISTORY
    sys.stdout.buffer.write(payload)
    sys.stdout.buffer.flush()
    return 0


def payload_of(request: Mapping[str, Any]) -> bytes | None:
    """The fit's bytes, by a request as it came in; None without history.

    Raises:
        SentinelError: there is no fit, and a person may know what to do.
    """
    with StoreReader(request["directory"]) as reader, AuditChild() as statsmodels:
        models = ModelSettings.from_plain(request["models"])
        asks = models.has(Model.MSTL) and statsmodels_is_installed()
        return fit_payload(
            reader,
            now_ns=request["now_ns"],
            version=request["version"],
            step_ns=request["step_ns"],
            settings=settings_from_plain(request["scoring"]),
            models=models,
            foretell=statsmodels.foretell if asks else None,
            calendar=_calendar(request),
            drift_ratio=request.get("drift_ratio", DRIFT_RATIO),
            latest=latest_from_bytes(reader.past_progress(LATEST_SOURCE)),
        )


def _calendar(request: Mapping[str, Any]) -> Calendar | None:
    plain = request.get("calendar")
    return None if plain is None else make_calendar(plain, now_ns=request["now_ns"])


if __name__ == "__main__":
    sys.exit(main())
