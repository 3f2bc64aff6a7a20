"""The injector's configuration, loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sentinel.admission.config import AdmissionConfig
from sentinel.runtime.config.loader import Loaded, load


def load_admission(
    path: Path | None, *, environment: Mapping[str, str] | None = None
) -> Loaded[AdmissionConfig]:
    """The configuration of a file or folder with its overrides.

    Raises:
        ConfigUnreadableError: a file cannot be read.
        ConfigError: anything else is wrong; every fault is in it.
    """
    return load(AdmissionConfig, path, environment=environment)
