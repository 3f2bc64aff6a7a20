"""Goal: the fixtures start the real thing and leave nothing behind. Method: start it, ask it, look for it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.support.servers import prometheus_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_prometheus_answers_and_is_gone_afterwards(tmp_path: Path) -> None:
    # Servers that a whole run shares may be up already.
    before = {child.pid for child in psutil.Process().children()}
    with prometheus_server("global: {scrape_interval: 1s}\n", tmp_path / "prometheus") as server:
        [sample] = server.query("vector(42)")
        assert sample["value"][1] == "42"
        with pytest.raises(AssertionError, match="parse error"):
            server.query("sum(")
    assert not server.is_ready()
    assert {child.pid for child in psutil.Process().children()} <= before


def test_a_server_that_ends_at_once_is_named_with_its_own_words(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="no_such_field"),
        prometheus_server("no_such_field: 1\n", tmp_path / "prometheus"),
    ):
        pass
