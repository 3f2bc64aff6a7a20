"""What Alertmanager itself does to a page: it holds it back in a group, is killed after it notified, is one of a pair.

Real servers with short times; a collector behind them stands for the person who is paged.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.pipeline.deliver import DeliverConfig
from sentinel.runtime.settings import Duration
from tests.support.alertmanager_server import (
    AlertmanagerOptions,
    Collector,
    alertmanager_server,
    collector,
)
from tests.support.outbox import firing, resolved
from tests.support.real_delivery import CONFIG, sidecar, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

_BY_SERVICE = AlertmanagerOptions(group_by="[service]", group_interval="8s")
_IN_MESH = AlertmanagerOptions(in_mesh=True)


def told_of(hook: Collector, service: str, alertname: str = "SentinelAnomaly") -> list[str]:
    """What the person was told of a service, in order."""
    return [
        alert["status"]
        for alert in hook.alerts()
        if alert["labels"]["service"] == service and alert["labels"]["alertname"] == alertname
    ]


@pytest.mark.parametrize(("settle_s", "is_paged"), [(3.0, False), (10.0, True)])
async def test_a_group_that_exists_notifies_after_its_interval_and_settle_must_outlast_that(
    tmp_path: Path, *, settle_s: float, is_paged: bool
) -> None:
    """Grouped by service, an incident joined the group of a blind ticket, and was over before that notified again.

    The default of `settle` covered group_wait alone, 45 s against five minutes: the page was lost.
    """
    config = replace(CONFIG, settle=Duration(settle_s))
    with (
        collector() as hook,
        alertmanager_server(tmp_path, webhook_url=hook.url, options=_BY_SERVICE) as server,
    ):
        async with sidecar(server.url, config=config) as at:
            ticket = firing("blind")
            at.page(replace(ticket, labels={**ticket.labels, "alertname": "SentinelBlind"}))
            await until(lambda: told_of(hook, "pay", "SentinelBlind") == ["firing"], what="it")
            at.page(firing("a1"))
            at.page(resolved("a1"))
            await until(lambda: "a1-1" in at.told_to_the_end(), what="the end to be taken")
            await until(
                lambda: "resolved" in told_of(hook, "pay") or not is_paged, what="the resolve"
            )
            await asyncio.sleep(0 if is_paged else 9)
            assert ("firing" in told_of(hook, "pay")) is is_paged


def test_the_default_outlasts_what_alertmanager_waits_by_default() -> None:
    group_wait_s, group_interval_s = 30.0, 300.0
    assert DeliverConfig().settle >= group_wait_s + group_interval_s


async def test_an_alertmanager_killed_after_it_paged_does_not_page_again_when_it_has_written_that_down(
    tmp_path: Path,
) -> None:
    """Killed and told again, it paged twice, or not at all, by a record of notifications 15 minutes old."""
    options = AlertmanagerOptions(flags=("--data.maintenance-interval=1s",))
    with (
        collector() as hook,
        alertmanager_server(tmp_path, webhook_url=hook.url, options=options) as server,
    ):
        async with sidecar(server.url) as at:
            at.page(firing())
            await until(lambda: told_of(hook, "pay") == ["firing"], what="the page")
            paged_ns = time.time_ns()
            await until(lambda: server.notified_on_disk_ns() > paged_ns, what="it to be noted")
            server.stop(kill=True)
            server.start()
            await until(lambda: len(server.alerts()) == 2, what="alert and heartbeat to be known")
            await asyncio.sleep(3)
            assert told_of(hook, "pay") == ["firing"]
            at.page(resolved())
            await until(lambda: told_of(hook, "pay") == ["firing", "resolved"], what="the resolve")
            # And what comes next is not taken for what was told already.
            at.page(firing("b2"))
            await until(lambda: told_of(hook, "pay").count("firing") == 2, what="the next page")


async def test_of_a_pair_each_page_comes_once_whichever_is_killed(tmp_path: Path) -> None:
    with (
        collector() as hook,
        alertmanager_server(tmp_path / "a", webhook_url=hook.url, options=_IN_MESH) as first,
        alertmanager_server(
            tmp_path / "b",
            webhook_url=hook.url,
            options=_IN_MESH,
            peers=(first.mesh_address,),
        ) as second,
    ):
        pair = (first, second)
        await until(lambda: all(one.is_in_mesh_of(2) for one in pair), what="the pair")
        async with sidecar(first.url, second.url) as at:
            at.page(firing("a1"))
            await until(lambda: bool(told_of(hook, "pay")), what="the page")
            await asyncio.sleep(4)
            assert told_of(hook, "pay") == ["firing"]
            # The first that started notifies, the other only when it does not.
            first.stop(kill=True)
            at.page(firing("b2", service="fx"))
            await until(lambda: bool(told_of(hook, "fx")), what="the page by the survivor")
            first.peers = (second.mesh_address,)
            first.start()
            await until(lambda: all(one.is_in_mesh_of(2) for one in pair), what="the pair again")
            await until(lambda: len(first.alerts()) == 3, what="all to be told again")
            at.page(firing("c3", service="risk"))
            await until(lambda: bool(told_of(hook, "risk")), what="the third page")
            await asyncio.sleep(4)
            for service in ("pay", "fx", "risk"):
                assert told_of(hook, service) == ["firing"], service
            at.page(resolved("a1"))
            await until(lambda: told_of(hook, "pay") == ["firing", "resolved"], what="its end")
