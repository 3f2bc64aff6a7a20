"""Delivery against a real Alertmanager whose webhook receiver is a collector: what a person would be paged with.

Time is real but short: resend each second, settle three seconds (longer than the servers' group_wait of one), and
the outbox is in memory, because its durability is tested where it is stored.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.runtime.component import HealthStatus
from sentinel.senders.webhook import fingerprint_of
from tests.support.alertmanager_server import AlertmanagerOptions, alertmanager_server, collector
from tests.support.outbox import firing, resolved
from tests.support.real_delivery import sidecar, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


async def test_an_incident_pages_and_resolves(tmp_path: Path) -> None:
    with collector() as hook, alertmanager_server(tmp_path, webhook_url=hook.url) as server:
        async with sidecar(server.url) as at:
            page = at.page(firing())
            await until(lambda: len(hook.alerts("firing")) == 1, what="the page")
            (alert,) = hook.alerts("firing")
            assert alert["labels"] == page.labels
            assert alert["annotations"] == page.annotations
            assert alert["fingerprint"] == fingerprint_of(page.labels)
            at.page(resolved())
            await until(lambda: len(hook.alerts("resolved")) == 1, what="the resolve")
            await asyncio.sleep(2.5)
            assert len(hook.alerts()) == 2


async def test_an_incident_that_came_and_went_while_alertmanager_was_down_still_pages(
    tmp_path: Path,
) -> None:
    """An Alertmanager that hears of an alert only when it is over takes it and never pages.

    So what fired and resolved in an outage was lost: the reply was 200 and nobody was told.
    """
    with collector() as hook, alertmanager_server(tmp_path, webhook_url=hook.url) as server:
        server.stop()
        async with sidecar(server.url) as at:
            at.page(firing())
            await until(
                lambda: at.deliver.health().status is HealthStatus.FAILING, what="the outage"
            )
            at.page(resolved())
            await asyncio.sleep(1)
            assert at.deliver.health().status is HealthStatus.FAILING
            server.start()
            await until(lambda: bool(hook.alerts("resolved")), what="page and resolve")
            assert [alert["status"] for alert in hook.alerts()] == ["firing", "resolved"]


async def test_two_incidents_of_a_service_in_one_outage_are_paged_one_after_the_other(
    tmp_path: Path,
) -> None:
    """They are one alert to Alertmanager: it was told of the second only, and nobody was paged for the first."""
    with collector() as hook, alertmanager_server(tmp_path, webhook_url=hook.url) as server:
        server.stop()
        async with sidecar(server.url) as at:
            for incident in ("a1", "b2"):
                at.page(firing(incident))
                at.page(resolved(incident))
            await asyncio.sleep(1)
            server.start()
            await until(lambda: len(hook.alerts("resolved")) == 2, what="both")
            told = [(alert["status"], alert["annotations"]["incident"]) for alert in hook.alerts()]
            assert told == [
                ("firing", "a1"),
                ("resolved", "a1"),
                ("firing", "b2"),
                ("resolved", "b2"),
            ]


async def test_an_open_incident_is_paged_at_once_with_the_one_that_is_over(
    tmp_path: Path,
) -> None:
    with collector() as hook, alertmanager_server(tmp_path, webhook_url=hook.url) as server:
        server.stop()
        async with sidecar(server.url) as at:
            at.page(firing("a1"))
            at.page(resolved("a1"))
            at.page(firing("b2"))
            await asyncio.sleep(1)
            server.start()
            await until(lambda: bool(hook.alerts()), what="the page")
            at.page(resolved("b2"))
            await until(lambda: bool(hook.alerts("resolved")), what="its end")
            told = [(alert["status"], alert["annotations"]["incident"]) for alert in hook.alerts()]
            assert told == [("firing", "b2"), ("resolved", "b2")]
            for alert in hook.alerts():
                assert alert["annotations"]["description"] == (
                    "Earlier, perhaps not told: a1 1 [a1]"
                )


async def test_a_restarted_alertmanager_is_told_again_and_does_not_page_twice(
    tmp_path: Path,
) -> None:
    with collector() as hook, alertmanager_server(tmp_path, webhook_url=hook.url) as server:
        async with sidecar(server.url) as at:
            at.page(firing())
            await until(lambda: len(hook.alerts("firing")) == 1, what="the page")
            server.stop()
            server.start()
            await until(
                lambda: any(
                    alert["labels"]["alertname"] == "SentinelAnomaly" for alert in server.alerts()
                ),
                what="the alert to be known again",
            )
            await asyncio.sleep(3)
            assert len(hook.alerts()) == 1
            at.page(resolved())
            await until(lambda: len(hook.alerts("resolved")) == 1, what="the resolve")


async def test_an_alertmanager_killed_before_it_paged_pages_after_all(tmp_path: Path) -> None:
    """It keeps alerts in memory only, and waits before it notifies: a kill in between forgot the page."""
    with (
        collector() as hook,
        alertmanager_server(
            tmp_path, webhook_url=hook.url, options=AlertmanagerOptions(group_wait="2s")
        ) as server,
    ):
        async with sidecar(server.url, resend_s=20.0) as at:
            at.page(firing(), began_s_ago=0.0)
            await until(lambda: bool(server.alerts()), what="the alert to be taken")
            server.stop(kill=True)
            assert hook.alerts() == []
            at.page(resolved(), began_s_ago=1.0)
            server.start()
            await until(lambda: bool(hook.alerts("resolved")), what="page and resolve")
            assert [alert["status"] for alert in hook.alerts()] == ["firing", "resolved"]


async def test_every_page_of_an_incident_is_one_alert(tmp_path: Path) -> None:
    """A measured value in a label made two alerts, and two pages, of one incident."""
    with collector() as hook, alertmanager_server(tmp_path, webhook_url=hook.url) as server:
        async with sidecar(server.url) as at:
            at.page(firing())
            await until(lambda: len(hook.alerts("firing")) == 1, what="the page")
            for sequence in (1, 2):
                worse = firing("a1", sequence)
                at.page(replace(worse, annotations={"summary": f"now {sequence} s"}))
                await asyncio.sleep(1.5)

            def anomalies() -> list[dict[str, str]]:
                return [
                    alert["annotations"]
                    for alert in server.alerts()
                    if alert["labels"]["alertname"] == "SentinelAnomaly"
                ]

            await until(lambda: {"summary": "now 2 s"} in anomalies(), what="the last of them")
            assert anomalies() == [{"summary": "now 2 s"}]
            assert len(hook.alerts("firing")) == 1


async def test_one_bad_alert_is_set_aside_and_the_rest_of_its_batch_is_delivered(
    tmp_path: Path,
) -> None:
    """Alertmanager answers 400 for a batch with one bad alert and keeps the good ones.

    Sent again as it was, the batch would fail for ever; dropped, the good pages could be lost.
    """
    with collector() as hook, alertmanager_server(tmp_path, webhook_url=hook.url) as server:
        async with sidecar(server.url) as at:
            for incident, service in (("a1", "pay"), ("b2", "fx"), ("c3", "risk")):
                page = firing(incident, service=service)
                if incident == "b2":
                    page = replace(page, labels={**page.labels, "not a name": "x"})
                at.page(page)
            await until(lambda: len(hook.alerts("firing")) >= 2, what="the good pages")
            await until(
                lambda: "parked" in at.outbox.states(at.outbox.destinations[0]).values(),
                what="the bad page to be set aside",
            )
            assert at.outbox.states(at.outbox.destinations[0])["b2-0"] == "parked"
            services = {alert["labels"]["service"] for alert in hook.alerts("firing")}
            assert services == {"pay", "risk"}
            assert "refused 1 page for good" in at.deliver.health().sentence


async def test_a_dead_instance_does_not_keep_a_page_from_the_other(tmp_path: Path) -> None:
    with (
        collector() as hook,
        alertmanager_server(tmp_path / "a", webhook_url=hook.url) as alive,
        alertmanager_server(tmp_path / "b", webhook_url=hook.url) as dead,
    ):
        dead.stop(kill=True)
        async with sidecar(dead.url, alive.url) as at:
            at.page(firing())
            await until(lambda: len(hook.alerts("firing")) == 1, what="the page")
            assert at.deliver.health().status is HealthStatus.DEGRADED
            dead.start()
            await until(
                lambda: at.deliver.health().status is HealthStatus.OK, what="both to take pages"
            )


async def test_a_start_in_the_future_is_told_as_now(tmp_path: Path) -> None:
    """After a jump of the clock, alerts that start tomorrow were paged at once, with tomorrow's date."""
    with collector() as hook, alertmanager_server(tmp_path, webhook_url=hook.url) as server:
        async with sidecar(server.url) as at:
            page = replace(firing(), starts_ns=at.clock.now_ns() + 86_400_000_000_000)
            at.outbox.store(page)
            at.deliver.pages_stored([page])
            await until(lambda: len(server.alerts()) == 2, what="page and heartbeat")
            for alert in server.alerts():
                assert alert["startsAt"] < alert["endsAt"]
                assert alert["startsAt"][:4] == alert["updatedAt"][:4]
                assert alert["startsAt"] <= alert["updatedAt"]
