"""Goal: nothing is imported after the start by what takes telemetry in and pages: a deleted file must not break either.

Method: the real process tells of each module that it imports; it gets calls until it has paged, and each of its pages is asked for.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.alertmanager_server import collector
from tests.support.servers import wait_until
from tests.support.sidecar_process import sidecar_process, write_config
from tests.support.whole_app import Calls

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

TOLD = "import time:"
PATHS = ("/", "/metrics", "/metrics/series", "/-/ready", "/-/healthy", "/api/v1/incidents")


def test_a_page_goes_out_with_what_the_start_had_loaded(tmp_path: Path) -> None:
    """The first decision imported `numpy.ma`, and the first name that was looked up a codec."""
    with collector() as hook:
        named = hook.url.replace("127.0.0.1", "localhost")
        config = write_config(tmp_path, webhook_url=named)
        with sidecar_process(config, more_environment={"PYTHONPROFILEIMPORTTIME": "1"}) as side:

            def paged() -> bool:
                assert side.send(Calls(failed_count=40)) == 200
                return bool(hook.alerts("firing"))

            wait_until(paged, what="the page", every_s=0.4)
            for path in PATHS:
                assert side.get(path)
            before, ready, after = side.log.partition("Sentinel is ready")
    assert ready
    assert TOLD in before
    assert [line for line in after.splitlines() if line.startswith(TOLD)] == []
