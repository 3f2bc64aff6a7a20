"""Skipping is a hole in the proof, so with CI=true only the reasons listed here may make one.

A test asks for what it needs through `require_binary`, or skips with one of the constants below. The
rule itself is enforced in tests/conftest.py, at the end of the run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

import pytest

ROOT_IGNORES_PERMISSIONS = "root is not stopped by file permissions"
NOT_ROOT = "only root can start a server as another user"
CANNOT_MOUNT = "mounting a small disk needs root; the limit on file sizes is tried instead"

ALLOWED_IN_CI = frozenset({ROOT_IGNORES_PERMISSIONS, NOT_ROOT, CANNOT_MOUNT})
"""Reasons that say something about the rights a run has, not about what was not installed."""


def in_ci(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this run must be complete."""
    return environment.get("CI", "").lower() == "true"


def forbidden_skips(skips: Mapping[str, str]) -> list[str]:
    """The tests whose reason is not on the list, as lines for a person; `skips` is test id to reason."""
    return [
        f"{test}: {reason}"
        for test, reason in sorted(skips.items())
        if reason.removeprefix("Skipped: ") not in ALLOWED_IN_CI
    ]


def require_binary(name: str) -> str:
    """The path of a program on PATH; skips the test when it is absent, which fails the run with CI=true."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (make system-deps)")
    return path
