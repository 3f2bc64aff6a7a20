"""The configuration of Alertmanager in the documents: its own tool accepts it, and pages go where they are said to."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.skips import require_binary

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

_DOCUMENT = Path(__file__).parents[3] / "docs" / "components" / "alertmanager.md"


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The only YAML block of the document, in a file."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", _DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    file = tmp_path / "alertmanager.yml"
    file.write_text(block)
    return file


def amtool(*arguments: str) -> str:
    done = subprocess.run(  # the arguments are the test's own
        [require_binary("amtool"), *arguments], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("alertname=SentinelAnomaly", "sentinel_anomaly=true", "severity=page"), "on-call"),
        (("alertname=SentinelBlind", "sentinel_anomaly=true", "severity=ticket"), "tickets"),
        (("alertname=SentinelHeartbeat", "severity=none"), "dead-man"),
    ],
    ids=["page", "ticket", "heartbeat"],
)
def test_every_kind_of_alert_goes_where_it_should(
    sample: Path, labels: tuple[str, ...], receiver: str
) -> None:
    amtool("check-config", str(sample))
    assert (
        amtool("config", "routes", "test", f"--config.file={sample}", *labels, "service=pay")
        == receiver
    )


def test_no_receiver_follows_redirects(sample: Path) -> None:
    """Alertmanager follows a 302 with an empty GET and counts the page as delivered."""
    hooks = [
        hook
        for receiver in yaml.safe_load(sample.read_text())["receivers"]
        for hook in receiver["webhook_configs"]
    ]
    assert hooks
    assert all(hook["http_config"]["follow_redirects"] is False for hook in hooks)
