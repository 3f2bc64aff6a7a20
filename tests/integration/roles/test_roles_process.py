"""Goal: collectors and a scorer page as one process does that hears all; who dies is a ticket and no page, and a scorer's death costs nothing.

Method: real processes with windows of a second, over HTTP and through a real JetStream. Traffic is dealt out to the collectors and sent as a
whole to a sidecar with both roles. Incidents are compared by their names and values; windows in the scorer's store are compared with what was sent
in each second, call by call.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.alertmanager_server import collector
from tests.support.nats_servers import NatsProcess, debian_binary, free_ports, nats_server
from tests.support.role_processes import (
    Traffic,
    collector_config,
    scorer_config,
    single_config,
    stored_calls,
)
from tests.support.servers import wait_until
from tests.support.sidecar_process import SidecarProcess, sidecar_process

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


class Fleet:
    """A scorer and its collectors, over HTTP or through a stream."""

    def __init__(
        self, folder: Path, stack: ExitStack, *, hook: str, server: NatsProcess | None
    ) -> None:
        nats = "" if server is None else server.url
        self.server = server
        self._folder, self._stack, self._nats = folder, stack, nats
        (port,) = free_ports(1)
        self._url = "" if nats else f"http://127.0.0.1:{port}"
        self._scorer_config = scorer_config(folder / "scorer", hook=hook, port=port, nats=nats)
        self.store = folder / "scorer"
        self.collectors: dict[str, SidecarProcess] = {}
        self._runs = 0
        self.scorer = self.start_scorer()

    def start_scorer(self) -> SidecarProcess:
        """Start it, for the first time or again."""
        self._runs += 1
        self.scorer = self._stack.enter_context(
            sidecar_process(self._scorer_config, name=f"run-{self._runs}")
        )
        return self.scorer

    def add_scorer(self, folder: Path, *, hook: str) -> SidecarProcess:
        """Start a second one, with a store of its own, on the same stream."""
        (port,) = free_ports(1)
        config = scorer_config(folder, hook=hook, port=port, nats=self._nats)
        return self._stack.enter_context(sidecar_process(config, name="second"))

    def add(self, *names: str) -> None:
        """Start collectors; one of a name that was there before takes up its queue."""
        for name in names:
            self._runs += 1
            folder = self._folder / name
            config = folder / "sentinel.yaml"
            if not folder.exists():
                config = collector_config(folder, name, url=self._url, nats=self._nats)
            self.collectors[name] = self._stack.enter_context(
                sidecar_process(config, name=f"run-{self._runs}")
            )

    def told(self) -> str:
        """What the scorer's page of health says of collectors."""
        return self.scorer.get("/api/v1/status")

    def until_told(self, text: str) -> None:
        """Wait until the scorer's health says so."""
        wait_until(lambda: text in self.told(), what=f"the scorer to say {text!r}", timeout_s=60)

    def until_decided(self, until_s: float) -> None:
        """Wait until the scorer has decided all windows until then."""

        def decided() -> bool:
            calls = stored_calls(self.store)
            return bool(calls) and max(calls) >= until_s

        wait_until(decided, what="the windows to be decided", timeout_s=60, every_s=0.5)


@contextmanager
def fleet(folder: Path, way: str, *, hook: str) -> Iterator[Fleet]:
    with ExitStack() as stack:
        server = None
        if way == "nats":
            server = stack.enter_context(nats_server(folder / "nats", binary=debian_binary()))
        yield Fleet(folder, stack, hook=hook, server=server)


def of_guard(side: SidecarProcess) -> dict[str, Any] | None:
    found = [one for one in side.incidents() if one["kind"] == "guard"]
    return found[0] if found else None


def told_of(incident: dict[str, Any]) -> dict[str, Any]:
    """What of an incident must be the same to the last digit."""
    first = incident["primary"]
    return {
        **{name: incident[name] for name in ("id", "group", "kind", "severity", "opened")},
        "primary": {name: first[name] for name in first if name not in ("series_id",)},
    }


def assert_stored_as_sent(
    found: dict[int, int | None], traffic: Traffic, *, from_s: int, unknown_ok: bool = False
) -> int:
    """Every second that is known has the calls that were sent in it; how many seconds are known."""
    until_s = max(found)
    known = 0
    for second, sent in sorted(traffic.of_second.items()):
        if not from_s <= second < until_s:
            continue
        assert second in found, f"the window of {second} was never decided"
        calls = found[second]
        if calls is None:
            assert unknown_ok, f"the window of {second} is unknown"
            continue
        assert calls == sent, f"{calls} of the {sent} calls of {second}"
        known += 1
    return known


@pytest.mark.parametrize("way", ["http", pytest.param("nats", marks=pytest.mark.full)])
def test_three_collectors_and_a_scorer_page_as_one_process_that_hears_all(
    tmp_path: Path, way: str
) -> None:
    with (
        collector() as hook,
        collector() as single_hook,
        fleet(tmp_path, way, hook=hook.url) as many,
        sidecar_process(single_config(tmp_path / "single", hook=single_hook.url)) as single,
    ):
        many.add("a", "b", "c")
        traffic = Traffic()
        traffic.deal_to(many.collectors)
        traffic.send_all_to(single)
        with traffic.flowing():
            many.until_told("3 collectors, all heard")
            begun_s = int(time.time()) + 2
            many.until_decided(begun_s + 3)
            traffic.failing = True
            wait_until(
                lambda: bool(hook.alerts("firing")) and bool(single_hook.alerts("firing")),
                what="both pages",
                timeout_s=60,
            )
            traffic.failing = False
            # All that was sent is decided everywhere.
            many.until_decided(time.time() + 1)
        one, other = of_guard(many.scorer), of_guard(single)
        assert one is not None
        assert other is not None
        assert told_of(one) == told_of(other)
        (page,) = {alert["labels"]["alertname"] for alert in hook.alerts("firing")}
        assert page == "SentinelGuard"
        assert assert_stored_as_sent(stored_calls(many.store), traffic, from_s=begun_s) >= 5
        assert (
            assert_stored_as_sent(stored_calls(tmp_path / "single"), traffic, from_s=begun_s) >= 5
        )


def test_a_collector_that_dies_is_one_ticket_and_more_of_them_are_no_anomaly(
    tmp_path: Path,
) -> None:
    with collector() as hook, fleet(tmp_path, "http", hook=hook.url) as many:
        many.add("a", "b", "c")
        traffic = Traffic()
        # The scorer has ways in of its own.
        own = {"scorer": many.scorer}
        traffic.deal_to({**many.collectors, **own})
        with traffic.flowing():
            many.until_told("3 collectors, all heard")
            begun_s = int(time.time()) + 2
            many.until_decided(begun_s + 3)
            killed_s = int(time.time())
            many.collectors["c"].end(signal.SIGKILL)
            rest = {**own, **{name: many.collectors[name] for name in "ab"}}
            traffic.deal_to(rest)
            wait_until(lambda: bool(hook.alerts("firing")), what="the ticket", timeout_s=60)
            many.until_decided(time.time() + 2)
            (alert,) = {
                (one["labels"]["alertname"], one["annotations"]["summary"])
                for one in hook.alerts("firing")
            }
            assert alert == ("SentinelBlind", "collectors: blind 1/3: c is not heard")
            # Back under its name, and three more: nothing is strange about any of it.
            many.add("c", "d", "e", "f")
            traffic.deal_to({**many.collectors, **own})
            many.until_told("6 collectors, all heard")
            scaled_s = int(time.time()) + 1
            many.until_decided(scaled_s + 4)
            # And down to two again, politely.
            traffic.deal_to(rest)
            for name in "cdef":
                many.collectors[name].end(signal.SIGTERM)
            many.until_told("2 collectors, all heard")
            many.until_decided(time.time() + 2)
        assert [one["kind"] for one in many.scorer.incidents()] == ["blind"]
        found = stored_calls(many.store)
        before = {second: calls for second, calls in found.items() if second < killed_s - 1}
        assert assert_stored_as_sent(before, traffic, from_s=begun_s) >= 2
        assert None in [found.get(second) for second in range(killed_s, killed_s + 4)]
        assert assert_stored_as_sent(found, traffic, from_s=scaled_s) >= 4


@pytest.mark.parametrize("way", [pytest.param("http", marks=pytest.mark.full), "nats"])
def test_a_scorer_that_is_killed_loses_nothing_and_decides_nothing_twice(
    tmp_path: Path, way: str
) -> None:
    with collector() as hook, fleet(tmp_path, way, hook=hook.url) as many:
        many.add("a", "b", "c")
        traffic = Traffic()
        traffic.deal_to(many.collectors)
        with traffic.flowing():
            many.until_told("3 collectors, all heard")
            begun_s = int(time.time()) + 2
            many.until_decided(begun_s + 3)
            for _ in range(2):
                many.scorer.end(signal.SIGKILL)
                away_until_s = time.time() + 5
                wait_until(lambda at=away_until_s: time.time() > at, what="some windows")  # type: ignore[misc]
                many.start_scorer()
                many.until_decided(time.time() + 1)
        assert assert_stored_as_sent(stored_calls(many.store), traffic, from_s=begun_s) >= 10
        assert many.scorer.incidents() == []


@pytest.mark.full
def test_a_stream_whose_server_is_killed_costs_time_and_no_window(tmp_path: Path) -> None:
    with collector() as hook, fleet(tmp_path, "nats", hook=hook.url) as many:
        many.add("a", "b", "c")
        assert many.server is not None
        traffic = Traffic()
        traffic.deal_to(many.collectors)
        with traffic.flowing():
            many.until_told("3 collectors, all heard")
            begun_s = int(time.time()) + 2
            many.until_decided(begun_s + 3)
            many.server.stop(signal.SIGKILL)
            # Shorter than a window waits for it, so that none is closed without its parts.
            time.sleep(1.0)
            many.server.start()
            many.until_decided(time.time() + 4)
        found = stored_calls(many.store)
        assert assert_stored_as_sent(found, traffic, from_s=begun_s, unknown_ok=True) >= 4


@pytest.mark.full
def test_two_scorers_of_one_stream_know_too_little_and_page_no_fall(tmp_path: Path) -> None:
    """Each gets some of the parts: what it misses is unknown, never low, and a ticket says that it is blind."""
    store = tmp_path / "second"
    with collector() as hook, fleet(tmp_path, "nats", hook=hook.url) as many:
        many.add("a", "b", "c")
        traffic = Traffic()
        traffic.deal_to(many.collectors)
        with traffic.flowing():
            many.until_told("3 collectors, all heard")
            second = many.add_scorer(store, hook=hook.url)
            sides = (many.scorer, second)

            def both_miss_some_of_all() -> bool:
                told = [side.get("/api/v1/status") for side in sides]
                return all("blind" in one and "/3: " in one for one in told)

            wait_until(both_miss_some_of_all, what="both to miss parts", timeout_s=60)
            begun_s = int(time.time()) + 2
            kinds: set[str] = set()

            def is_told() -> bool:
                kinds.update(one["kind"] for side in sides for one in side.incidents())
                return "blind" in kinds

            wait_until(is_told, what="the ticket", timeout_s=60)
            many.until_decided(begun_s + 5)
        for folder in (many.store, store):
            found = stored_calls(folder)
            assert_stored_as_sent(found, traffic, from_s=begun_s, unknown_ok=True)
            assert None in found.values()
        assert is_told()
        assert kinds == {"blind"}
