"""Goal: `mstl` without statsmodels is refused with its line before anything starts, and the resident process never loads it.

Method: the installation hidden from the check; a fresh interpreter that imports all that runs.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sentinel.app import audit_child
from sentinel.app.audit_child import AuditChild
from sentinel.app.config import load_config
from sentinel.errors import ConfigError
from sentinel.pipeline.models import ModelFailedError

pytestmark = pytest.mark.timeout(120)

TEXT = """
mode: shadow
baseline:
  models:
    - {route: "GET *", model: fourier}
    - service: ledger
      model: mstl
"""


def test_mstl_without_statsmodels_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sentinel.yaml"
    file.write_text(TEXT)
    assert len(load_config(file).config.baseline.models) == 2
    monkeypatch.setattr(audit_child, "statsmodels_is_installed", lambda: False)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    (problem,) = caught.value.problems
    assert problem.path == "baseline.models[1].model"
    assert problem.line == 7
    assert "sentinel-sidecar[audit]" in problem.message
    file.write_text(TEXT.replace("mstl", "profile"))
    load_config(file)


def test_nothing_that_runs_all_the_time_loads_statsmodels_or_what_it_brings() -> None:
    """It takes 200 MB; the whole sidecar takes less than half of that."""
    code = (
        "import sys, sentinel.app.serve, sentinel.app.build, sentinel.app.fit_worker, sentinel.cli.main as m;"
        "m.build_parser();"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'statsmodels', 'scipy', 'pandas', 'patsy', 'numba'}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == "[]"


def test_the_child_foretells_and_says_when_it_cannot() -> None:
    day = 50 + 20 * np.sin(2 * np.pi * np.arange(96) / 96)
    value = np.tile(day, 10).astype(np.float32)
    with AuditChild() as child:
        ahead = child.foretell(value, per_day=96, bin_count=200, limit_s=60.0)
        np.testing.assert_allclose(ahead[:96], day, rtol=0.02)
        with pytest.raises(ModelFailedError) as caught:
            child.foretell(value[:100], per_day=96, bin_count=200, limit_s=60.0)
        assert caught.value.reason == "history"


@pytest.mark.parametrize(
    ("code", "limit_s", "reason"),
    [
        ("import time; time.sleep(600)", 0.2, "time_limit"),
        ("raise SystemExit(3)", 20.0, "failed"),
        (
            "import sys\nfrom sentinel.runtime.side_process import *\n"
            "read_frame(sys.stdin.buffer); write_frame(sys.stdout.buffer, b'no arrays'); sys.stdin.read()",
            20.0,
            "failed",
        ),
    ],
)
def test_a_child_that_is_of_no_use_is_a_reason(
    code: str, limit_s: float, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_child, "_START_S", 0.0)
    with (
        AuditChild((sys.executable, "-I", "-c", code)) as child,
        pytest.raises(ModelFailedError) as caught,
    ):
        child.foretell(np.ones(5, np.float32), per_day=1, bin_count=1, limit_s=limit_s)
    assert caught.value.reason == reason
