"""Goal: the demo's sidecar finds its ports free, also after its restart.

Method: places are drawn many times while the kernel gives out ports of its own, and on a machine that says nothing
of its range.
"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sentinel.app.demo import sidecar_config
from sentinel.app.demo.children import ChildError
from sentinel.app.demo.sidecar_config import free_place


def test_no_port_comes_from_the_range_that_the_kernel_gives_away() -> None:
    low, high = (
        int(part) for part in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    )
    if low <= 15_000:
        low, high = 0, 0  # a machine whose range is all ports: there is no better place
    for _ in range(50):
        place = free_place()
        assert place.web_port != place.otlp_port
        assert not low <= place.web_port <= high
        assert not low <= place.otlp_port <= high


def test_a_taken_port_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(sidecar_config, "_PORTS", range(port, port + 1))
        with pytest.raises(ChildError, match="no two free loopback ports"):
            free_place()


@pytest.mark.parametrize("text", [None, "", "many few"])
def test_a_kernel_that_does_not_say_its_range_is_taken_to_have_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    said = tmp_path / "ip_local_port_range"
    if text is not None:
        said.write_text(text)
    monkeypatch.setattr(sidecar_config, "_KERNEL_RANGE", said)
    monkeypatch.setattr(sidecar_config, "_PORTS", range(32_700, 61_100))
    place = free_place()
    for port in (place.web_port, place.otlp_port):
        assert port < 32_768 or port > 60_999
