"""Delivery as a timeline under a manual clock: pages are stored, time is advanced, destinations write down what came.

Destinations are scripted and the outbox is in memory; it outlives a delivery component as a file outlives a process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from sentinel.pipeline.deliver import DeliverConfig
from sentinel.ports import SendResult
from sentinel.runtime.component import HealthStatus
from tests.support.delivery_scene import CONFIG, Scene, alertmanager, down, scene, up, webhook
from tests.support.outbox import firing, resolved


async def test_a_page_goes_out_at_once_and_again_each_minute_until_it_resolves() -> None:
    am = alertmanager()
    async with scene(am) as at:
        at.page(firing())
        await at.clock.advance(1)
        assert am.order() == ["a1-0"]
        await at.clock.advance(180)
        assert [page for _, page in am.taken] == ["a1-0"] * 4
        at.page(resolved())
        await at.clock.advance(1)
        assert am.order() == ["a1-0", "a1-1"]
        await at.clock.advance(20 * 60)
        repeats = [page for _, page in am.taken].count("a1-1")
        assert 14 <= repeats <= 17
        assert set(at.outbox.states("am").values()) == {"done"}
        assert at.metric("sentinel_pages_delivered_total") == 2


async def test_what_fired_and_resolved_during_an_outage_still_pages_first() -> None:
    """Told only of the end, Alertmanager takes it and never pages; so the beginning is told, and seen, first."""
    am = alertmanager()
    am.answer = down
    async with scene(am) as at:
        at.page(firing())
        await at.clock.advance(600)
        at.page(resolved())
        await at.clock.advance(3000)
        assert am.taken == []
        am.answer = up
        await at.clock.advance(31)
        assert am.order() == ["a1-0"]
        (first_ns, _) = am.taken[0]
        await at.clock.advance(60)
        assert am.order() == ["a1-0", "a1-1"]
        resolved_ns = next(when for when, page in am.taken if page == "a1-1")
        assert resolved_ns - first_ns >= CONFIG.settle * 1e9


async def test_a_page_that_resolves_quickly_waits_until_it_was_seen() -> None:
    am = alertmanager()
    async with scene(am) as at:
        at.page(firing())
        at.page(resolved())
        await at.clock.advance(CONFIG.settle - 1)
        assert am.order() == ["a1-0"]
        await at.clock.advance(2)
        assert am.order() == ["a1-0", "a1-1"]


async def test_an_alertmanager_that_forgot_before_it_paged_is_told_again() -> None:
    """It was restarted between taking the alert and notifying anyone, and then heard only of the end."""
    am = alertmanager()
    async with scene(am) as at:
        at.page(firing())
        at.page(resolved())
        await at.clock.advance(CONFIG.settle - 1)
        am.forgot_at = len(am.taken)
        await at.clock.advance(10)
        assert [page for _, page in am.taken] == ["a1-0", "a1-0"]
        await at.clock.advance(CONFIG.settle)
        assert am.order() == ["a1-0", "a1-1"]


async def test_a_restart_goes_on_where_it_was() -> None:
    am = alertmanager()
    async with scene(am) as at:
        at.page(firing())
        await at.clock.advance(10)
        await at.restart()
        at.page(resolved())
        await at.restart()
        await at.clock.advance(10)
        assert am.order() == ["a1-0"]
        await at.clock.advance(40)
        assert am.order() == ["a1-0", "a1-1"]


async def test_the_newest_annotations_are_what_is_sent_again() -> None:
    am = alertmanager()
    async with scene(am) as at:
        at.page(firing())
        await at.clock.advance(5)
        at.page(firing("a1", 1))
        await at.clock.advance(200)
        assert am.order() == ["a1-0", "a1-1"]
        assert at.outbox.states("am") == {"a1-0": "done", "a1-1": "delivered"}


async def test_a_new_incident_of_the_same_service_ends_the_telling_of_the_old_one() -> None:
    """Both have the same labels, so an old "resolved" told again would resolve the new incident."""
    am = alertmanager()
    async with scene(am) as at:
        at.page(firing())
        await at.clock.advance(50)
        at.page(resolved())
        await at.clock.advance(5)
        at.page(firing("b2"))
        await at.clock.advance(300)
        assert am.order() == ["a1-0", "a1-1", "b2-0"]
        assert at.outbox.states("am")["a1-1"] == "done"


async def test_one_dead_destination_does_not_slow_another() -> None:
    dead, alive, hook = alertmanager("dead"), alertmanager("alive"), webhook()
    dead.answer = down
    async with scene(dead, alive, hook) as at:
        at.page(firing())
        await at.clock.advance(1)
        assert alive.order() == ["a1-0"]
        assert hook.order() == ["a1-0"]
        await at.clock.advance(120)
        assert dead.taken == []
        health = at.deliver.health()
        assert health.status is HealthStatus.DEGRADED
        assert "dead does not take pages" in health.sentence
        assert at.metric("sentinel_outbox_entries", "dead") == 1
        assert at.metric("sentinel_outbox_oldest_seconds", "dead") >= 100
        await at.restart()
        assert at.metric("sentinel_outbox_oldest_seconds", "dead") >= 100
        assert at.metric("sentinel_sends_total", "dead", result="retry") == dead.tried_count
        dead.answer = up
        await at.clock.advance(31)
        assert dead.order() == ["a1-0"]
        assert at.deliver.health().status is HealthStatus.OK


async def test_a_webhook_gets_every_page_once_and_in_order() -> None:
    hook = webhook()
    hook.answer = down
    async with scene(hook) as at:
        at.page(firing())
        at.page(firing("a1", 1))
        at.page(firing("b2", service="fx"))
        at.page(resolved("a1", 2))
        await at.clock.advance(30)
        assert at.deliver.health().status is HealthStatus.FAILING
        hook.answer = up
        await at.clock.advance(301)
        taken = [page for _, page in hook.taken]
        assert sorted(taken) == ["a1-0", "a1-1", "a1-2", "b2-0"]
        assert [page for page in taken if page.startswith("a1")] == ["a1-0", "a1-1", "a1-2"]
        assert set(at.outbox.states("hook").values()) == {"done"}


async def test_a_wish_to_wait_is_granted() -> None:
    hook = webhook()
    hook.answer = down
    hook.retry_after_s = 120.0
    async with scene(hook) as at:
        at.page(firing())
        await at.clock.advance(119)
        assert hook.tried_count == 1
        await at.clock.advance(5)
        assert hook.tried_count == 2


async def test_a_refused_page_is_set_aside_and_shown_and_the_rest_goes_on() -> None:
    hook = webhook()
    hook.answer = lambda page: (
        SendResult.REFUSED if page.page_id == "a1-0" else SendResult.DELIVERED
    )
    async with scene(hook) as at:
        at.page(firing())
        at.page(firing("a1", 1))
        await at.clock.advance(5)
        assert hook.order() == ["a1-1"]
        assert at.outbox.states("hook") == {"a1-0": "parked", "a1-1": "done"}
        assert at.metric("sentinel_pages_parked_total", "hook") == 1
        assert "refused 1 page for good" in at.deliver.health().sentence
        await at.clock.advance(CONFIG.parked_for + 20)
        assert at.outbox.states("hook")["a1-0"] == "done"
        assert at.deliver.health().status is HealthStatus.OK


async def test_a_refused_incident_is_not_resolved_where_it_never_was() -> None:
    am = alertmanager()
    am.answer = lambda page: SendResult.REFUSED
    async with scene(am) as at:
        at.page(firing())
        at.page(resolved())
        await at.clock.advance(120)
        assert am.tried_count == 1
        assert at.outbox.states("am") == {"a1-0": "parked", "a1-1": "done"}


async def test_shadow_mode_sends_nothing_and_counts_what_it_withheld() -> None:
    am = alertmanager(heartbeat=True)
    async with scene(am, shadow=True) as at:
        at.page(firing())
        await at.clock.advance(120)
        assert am.tried_count == 0
        assert at.outbox.all == {}
        withheld = at.surroundings.metrics.value("sentinel_pages_withheld_total", reason="opened")
        assert withheld == 1
        assert at.deliver.health().status is HealthStatus.OK
        # In shadow mode nobody is to be told, by rules in Prometheus neither.
        assert not at.deliver.is_left_to_rules


async def test_without_a_destination_pages_are_left_to_rules() -> None:
    async with scene() as at:
        assert at.deliver.is_left_to_rules
        assert at.deliver.health().status is HealthStatus.DEGRADED
    async with scene(alertmanager()) as at:
        assert not at.deliver.is_left_to_rules


async def test_the_heartbeat_goes_out_with_every_resend_and_finds_out_that_a_destination_is_back() -> (
    None
):
    am = alertmanager(heartbeat=True)
    async with scene(am) as at:
        await at.clock.advance(181)
        assert am.order() == ["heartbeat"]
        assert len(am.taken) == 4
        assert at.metric("sentinel_heartbeat_timestamp_seconds") > 1e9


@pytest.mark.parametrize("step_s", [-86_400.0, 86_400.0])
async def test_a_clock_that_steps_neither_loses_nor_stalls_a_page(step_s: float) -> None:
    am, hook = alertmanager(), webhook()
    hook.answer = down
    async with scene(am, hook) as at:
        at.page(firing())
        await at.clock.advance(20)
        at.clock.step_wall(step_s)
        hook.answer = up
        await at.clock.advance(15)
        assert hook.order() == ["a1-0"]
        at.page(resolved())
        await at.clock.advance(120)
        assert am.order() == ["a1-0", "a1-1"]
        assert hook.order() == ["a1-0", "a1-1"]


async def test_an_outbox_that_fails_is_shown_and_delivery_goes_on_when_it_works() -> None:
    am = alertmanager()
    async with scene(am) as at:
        at.page(firing())
        at.outbox.broken = True
        await at.clock.advance(5)
        assert am.taken == []
        assert at.deliver.health().status is HealthStatus.FAILING
        at.outbox.broken = False
        await at.clock.advance(5)
        assert am.order() == ["a1-0"]
        assert at.deliver.health().status is HealthStatus.OK


async def test_on_a_full_disk_pages_go_out_from_memory_once_and_are_recorded_when_there_is_room() -> (
    None
):
    """Pages waited until somebody made room; and what could be read but not updated was sent again every second."""
    am, hook = alertmanager(), webhook()
    async with scene(am, hook) as at:
        at.page(firing("b2", service="fx"))
        at.outbox.full = True
        for _ in range(6):  # evaluation says so with every window
            at.deliver.pages_unstored([firing()])
            await at.clock.advance(10)
        assert sorted(hook.order()) == ["a1-0", "b2-0"]
        assert len(hook.taken) == 2
        assert "pages go out from memory" in at.deliver.health().sentence
        at.deliver.pages_unstored([firing(), resolved()])
        await at.clock.advance(60)
        assert [page for _, page in hook.taken if page.startswith("a1")] == ["a1-0", "a1-1"]
        assert [page for _, page in am.taken if page.startswith("a1")][-1] == "a1-1"
        assert at.metric("sentinel_pages_unrecorded_total", "hook") == 2
        assert len(at.outbox.all) == 2
        at.outbox.full = False
        at.outbox.store(firing())
        at.outbox.store(resolved())
        at.deliver.pages_stored([firing(), resolved()])
        await at.clock.advance(30)
        assert len(hook.taken) == 3
        assert set(at.outbox.states("hook").values()) == {"done"}
        assert at.outbox.states("am")["a1-0"] == "done"
        assert at.deliver.health().status is HealthStatus.OK
        await at.restart()
        await at.clock.advance(5)
        assert len(hook.taken) == 3


async def test_a_store_that_cannot_be_read_goes_on_by_what_it_said_last() -> None:
    """A firing alert that is not sent again expires in Alertmanager, and looks resolved, while the disk fails."""
    am = alertmanager()
    async with scene(am) as at:
        at.page(firing())
        await at.clock.advance(5)
        at.outbox.broken = at.outbox.full = True
        await at.clock.advance(300)
        assert 5 <= len(am.taken) <= 7
        at.deliver.pages_unstored([resolved()])
        await at.clock.advance(5)
        assert am.order() == ["a1-0", "a1-1"]
        assert at.deliver.health().status is HealthStatus.FAILING


async def test_what_is_held_in_memory_is_bounded_and_what_was_sent_goes_first() -> None:
    hook = webhook()
    async with scene(hook) as at:
        at.outbox.full = True
        at.deliver.pages_unstored([firing(f"a{number}") for number in range(200)])
        await at.clock.advance(5)
        hook.answer = down
        at.deliver.pages_unstored([firing(f"b{number}") for number in range(1000)])
        assert at.metric("sentinel_outbox_dropped_total", "hook", reason="memory") == 0
        at.deliver.pages_unstored([firing(f"c{number}") for number in range(7)])
        assert at.metric("sentinel_outbox_dropped_total", "hook", reason="memory") == 7


async def test_delivery_tells_in_the_log_what_became_of_pages(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A destination that is down is told of once, not with every attempt; every page that it took is."""
    caplog.set_level(logging.INFO)
    hook = webhook()
    async with scene(hook) as at:
        at.page(firing())
        await at.clock.advance(5)
        hook.answer = down
        at.page(resolved())
        await at.clock.advance(120)
        hook.answer = up
        await at.clock.advance(301)
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("INFO", "Page was delivered"),
        ("WARNING", "Destination does not take pages; they wait in the outbox"),
        ("INFO", "Destination takes pages again"),
        ("INFO", "Page was delivered"),
    ]
    fields = vars(caplog.records[-1])
    assert (fields["destination"], fields["page"], fields["status"]) == (
        "hook",
        "a1-1",
        "resolved",
    )


async def test_stop_tries_what_is_due_once_more() -> None:
    am = alertmanager()
    async with scene(am) as at:
        at.page(firing())
        await at.deliver.stop()
        assert am.order() == ["a1-0"]


async def test_stop_works_without_start_and_twice() -> None:
    am = alertmanager()
    running = Scene(am)
    await running.deliver.stop()
    await running.deliver.stop()
    assert am.tried_count == 0


def test_two_destinations_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="same name"):
        Scene(webhook("x"), webhook("x"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: DeliverConfig(retry_first=0.0),  # type: ignore[arg-type]
        lambda: DeliverConfig(settle=-1.0),  # type: ignore[arg-type]
    ],
    ids=["retry_first", "settle"],
)
def test_a_config_that_makes_no_sense_is_refused(make: Callable[[], DeliverConfig]) -> None:
    with pytest.raises(ValueError, match="must"):
        make()
