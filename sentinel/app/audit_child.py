"""Asks statsmodels in a child of its own, from a process that must not load it; and whether it could be asked at all."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sentinel.core.baseline import Model
from sentinel.core.stats.packing import pack_arrays, unpack_arrays
from sentinel.errors import ConfigProblem
from sentinel.pipeline.models import BaselineConfig, ModelFailedError
from sentinel.runtime.config.text import Origin
from sentinel.runtime.side_process import SideFault, SideProcess, SideProcessError

HOW_TO_INSTALL = "pip install 'sentinel-sidecar[audit]'"
_WORKER = ("-I", "-m", "sentinel.app.audit_worker")
_START_S = 60.0
"""For loading the libraries, on a busy machine."""


def statsmodels_is_installed() -> bool:
    """Whether the extra `audit` is there; nothing of it is loaded."""
    return importlib.util.find_spec("statsmodels") is not None


def model_problems(config: BaselineConfig, origins: Mapping[str, Origin]) -> list[ConfigProblem]:
    """A problem for each entry that needs statsmodels where it is not installed."""
    if statsmodels_is_installed():
        return []
    problems = []
    for at, entry in enumerate(config.models):
        if entry.model is Model.MSTL:
            path = f"baseline.models[{at}].model"
            message = f"mstl needs statsmodels, which is not installed: {HOW_TO_INSTALL}"
            origin = origins.get(path)
            problems.append(
                ConfigProblem(path=path, message=message)
                if origin is None
                else origin.problem(path, message)
            )
    return problems


class AuditChild:
    """The child; it starts at the first question."""

    def __init__(self, command: Sequence[str] = (sys.executable, *_WORKER)) -> None:
        environment = {"PATH": os.environ.get("PATH", ""), "OPENBLAS_NUM_THREADS": "1"}
        self._process = SideProcess(command, environment=environment)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.close()

    def foretell(
        self, value: NDArray[np.float32], *, per_day: int, bin_count: int, limit_s: float
    ) -> NDArray[np.float32]:
        """What MSTL expects after the values, see `sentinel.audit.mstl.foretell`.

        Raises:
            ModelFailedError: it cannot say; the reason is one word.
        """
        facts: dict[str, int | str] = {
            "ask": "foretell",
            "per_day": per_day,
            "bin_count": bin_count,
        }
        arrays, _ = self._asked({"value": value}, facts, limit_s=limit_s)
        return arrays["ahead"].astype(np.float32)

    def examine(
        self,
        value: NDArray[np.float32],
        *,
        expected: NDArray[np.float32],
        per_day: int,
        start_ns: int,
        zone: str,
        limit_s: float,
    ) -> dict[str, Any]:
        """What statsmodels finds in a series and in what was expected of it, see `sentinel.audit.examine`.

        Raises:
            ModelFailedError: it cannot say; the reason is one word.
        """
        facts: dict[str, int | str] = {
            "ask": "examine",
            "per_day": per_day,
            "start_ns": start_ns,
            "zone": zone,
        }
        _, told = self._asked({"value": value, "expected": expected}, facts, limit_s=limit_s)
        found: dict[str, Any] = json.loads(str(told["found"]))
        return found

    def _asked(
        self,
        arrays: Mapping[str, NDArray[np.generic]],
        facts: Mapping[str, int | str],
        *,
        limit_s: float,
    ) -> tuple[dict[str, NDArray[np.generic]], dict[str, int | float | str]]:
        if self._process.pid is None:
            limit_s += _START_S
        question = pack_arrays(arrays, {**facts, "limit_s": limit_s})
        try:
            answer = unpack_arrays(self._process.ask(question, limit_s=limit_s))
        except SideProcessError as error:
            reason = "time_limit" if error.fault is SideFault.TIME_LIMIT else "failed"
            raise ModelFailedError(reason, str(error)) from error
        except ValueError as error:
            reason = "failed"
            raise ModelFailedError(reason, f"its answer cannot be read: {error}") from error
        said = answer[1].get("said")
        if said == "too_little":
            reason = "history"
            raise ModelFailedError(reason, str(answer[1].get("why", "")))
        if said != "ok":
            reason = "failed"
            raise ModelFailedError(reason, f"it said {said}")
        return answer
