"""Goal: what the Compose file wires together is wired together: with its own configurations, names, ports and commands.

Method: in a network, a file system and a process table of their own, which end with the test, the real NATS, PostgreSQL, Prometheus
and Alertmanager, the ledger under load and Sentinel are started by it. No container: Kong and Grafana are not there, and Tempo
and Loki are stand-ins (`tests/support/compose_rehearsal.py`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.skips import CANNOT_MOUNT, require_binary

ROOT = Path(__file__).parents[3]


@pytest.mark.full
@pytest.mark.integration
def test_the_neighbourhood_is_wired_together() -> None:
    if os.geteuid() != 0:
        pytest.skip(CANNOT_MOUNT)
    for program in ("nats-server", "prometheus", "prometheus-alertmanager", "unshare", "ip"):
        require_binary(program)
    # Not pytest's folder: PostgreSQL runs as a user that has to get there.
    with tempfile.TemporaryDirectory(prefix="neighbourhood-") as folder:
        Path(folder).chmod(0o755)
        command = [
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]
        command += [sys.executable, "-m", "tests.support.compose_rehearsal", folder]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=400, check=False, cwd=ROOT
        )
    assert done.returncode == 0, done.stderr[-4000:]
    seen = json.loads(done.stdout)
    missing = [what for what, found in seen.items() if not found]
    assert missing == [], f"{seen}\n{done.stderr[-4000:]}"
