"""Goal: no incident is lost because a later one of the same service, with the same labels, took its place.

Method: timelines on a manual clock with a scripted Alertmanager that is down while incidents come and go, and what
it is told, in which order and in which words, when it is back.
"""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest

from sentinel.pipeline.deliver import DeliverConfig
from sentinel.ports import SendResult
from tests.support.delivery_scene import CONFIG, Scene, alertmanager, down, scene, up
from tests.support.outbox import ScriptedDestination, firing, resolved


async def come_and_go(at: Scene, *incidents: str) -> None:
    """Each of these incidents fires and resolves."""
    for incident in incidents:
        at.page(firing(incident))
        await at.clock.advance(600)
        at.page(resolved(incident))
        await at.clock.advance(600)


def words_of(am: ScriptedDestination, page_id: str) -> list[str]:
    """The descriptions a page was sent with, in order."""
    return [
        page.annotations.get("description", "") for page in am.pages if page.page_id == page_id
    ]


async def test_two_incidents_that_came_and_went_in_an_outage_are_told_one_after_the_other() -> (
    None
):
    """Only the newest was told: the first incident of the outage was set aside as overtaken, and nobody was paged."""
    am = alertmanager()
    am.answer = down
    async with scene(am) as at:
        await come_and_go(at, "a1", "b2")
        am.answer = up
        await at.clock.advance(300)
        assert am.order() == ["a1-0", "a1-1", "b2-0", "b2-1"]
        first_ns = {page: when for when, page in reversed(am.taken)}
        times = [first_ns[page] for page in am.order()]
        gaps_s = [(later - when) / 1e9 for when, later in pairwise(times)]
        # Between two incidents, too: firing again before its resolve was seen, it would be one alert.
        assert all(gap_s >= CONFIG.settle for gap_s in gaps_s)
        assert at.metric("sentinel_incidents_told_along_total") == 0
        await at.clock.advance(1200)
        assert set(at.outbox.states("am").values()) == {"done"}


async def test_an_open_incident_does_not_wait_for_one_that_is_over_and_tells_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    am = alertmanager()
    am.answer = down
    async with scene(am) as at:
        await come_and_go(at, "a1")
        at.page(firing("b2"))
        await at.clock.advance(60)
        am.answer = up
        await at.clock.advance(31)
        assert am.order() == ["b2-0"]
        assert at.outbox.states("am") == {"a1-0": "done", "a1-1": "along", "b2-0": "delivered"}
        assert at.metric("sentinel_incidents_told_along_total") == 1
        assert at.metric("sentinel_outbox_entries") == 0
        said = [vars(record) for record in caplog.records if "later one" in record.getMessage()]
        assert [fields["incident"] for fields in said] == ["a1"]
        # Alertmanager notifies with the words it was told last, so they stay on every page.
        await at.restart()
        await at.clock.advance(120)
        at.page(firing("b2", 1))
        await at.clock.advance(60)
        at.page(resolved("b2", 2))
        await at.clock.advance(60)
        assert am.order() == ["b2-0", "b2-1", "b2-2"]
        for page_id in am.order():
            for words in words_of(am, page_id):
                assert words.startswith("Earlier, perhaps not told: a1 1 [a1]")
        assert "(and 1 earlier incident, perhaps not told)" in am.pages[0].annotations["summary"]
        assert at.metric("sentinel_incidents_told_along_total") == 1
        await at.clock.advance(1200)
        assert set(at.outbox.states("am").values()) == {"done"}


async def test_what_was_told_for_long_enough_does_not_go_along() -> None:
    am = alertmanager()
    async with scene(am) as at:
        await come_and_go(at, "a1")
        at.page(firing("b2"))
        await at.clock.advance(60)
        assert am.order() == ["a1-0", "a1-1", "b2-0"]
        assert words_of(am, "b2-0") == [""]
        assert at.metric("sentinel_incidents_told_along_total") == 0


async def test_an_incident_that_opens_while_dead_ones_are_told_takes_the_turn() -> None:
    """What was taken a moment ago may not have notified anybody yet: it goes along, too."""
    am = alertmanager()
    am.answer = down
    async with scene(am) as at:
        await come_and_go(at, "a1", "b2")
        am.answer = up
        await at.clock.advance(31)
        assert am.order() == ["a1-0"]
        at.page(firing("c3"))
        await at.clock.advance(1)
        assert am.order() == ["a1-0", "c3-0"]
        (words,) = words_of(am, "c3-0")
        assert words.splitlines()[:2] == [
            "Earlier, perhaps not told: a1 1 [a1]",
            "Earlier, perhaps not told: b2 1 [b2]",
        ]
        # The next one within the settle was not told for long enough either, and hands all of them on.
        at.page(resolved("c3"))
        at.page(firing("d4"))
        await at.clock.advance(1)
        (words,) = words_of(am, "d4-0")
        assert [line[-3:-1] for line in words.splitlines()] == ["a1", "b2", "c3"]
        await at.clock.advance(CONFIG.settle)
        at.page(firing("e5"))
        await at.clock.advance(1)
        assert words_of(am, "e5-0") == [""]


async def test_of_many_dead_incidents_the_last_three_have_a_turn_and_none_is_silent() -> None:
    am = alertmanager()
    am.answer = down
    async with scene(am) as at:
        await come_and_go(at, "a1", "b2", "c3", "d4", "e5")
        am.answer = up
        await at.clock.advance(600)
        assert am.order() == ["c3-0", "c3-1", "d4-0", "d4-1", "e5-0", "e5-1"]
        for page_id in ("c3-0", "c3-1"):
            for words in words_of(am, page_id):
                assert [line[-3:-1] for line in words.splitlines()] == ["a1", "b2"]
        assert set(words_of(am, "d4-0")) == {""}
        assert at.metric("sentinel_incidents_told_along_total") == 2


async def test_an_incident_that_is_refused_leaves_the_turn_to_the_one_that_went_along() -> None:
    am = alertmanager()
    am.answer = down
    async with scene(am) as at:
        await come_and_go(at, "a1")
        at.page(firing("b2"))
        am.answer = lambda page: (
            SendResult.REFUSED if page.incident_id == "b2" else SendResult.DELIVERED
        )
        await at.clock.advance(120)
        assert am.order() == ["a1-0", "a1-1"]
        assert at.outbox.states("am")["b2-0"] == "parked"
        assert at.metric("sentinel_incidents_told_along_total") == 0


async def test_an_escalation_does_not_delay_the_resolve() -> None:
    """The wait began anew with every page that took the place of an earlier one, a reminder just before the end, too."""
    am = alertmanager()
    async with scene(am) as at:
        at.page(firing())
        await at.clock.advance(CONFIG.settle + 10)
        at.page(firing("a1", 1))
        await at.clock.advance(2)
        at.page(resolved("a1", 2))
        await at.clock.advance(2)
        assert am.order() == ["a1-0", "a1-1", "a1-2"]


async def test_by_default_only_what_was_paged_late_waits_for_longer_than_group_interval() -> None:
    """A group that exists notifies after its group_interval, five minutes; 45 seconds lost the page."""
    am = alertmanager()
    async with scene(am, config=DeliverConfig()) as at:
        at.page(firing())
        await at.clock.advance(1800)
        at.page(resolved())
        await at.clock.advance(1)
        assert am.order() == ["a1-0", "a1-1"]
        am.answer = down
        at.page(firing("b2"))
        await at.clock.advance(1800)
        at.page(resolved("b2"))
        am.answer = up
        # It is tried again within 31 seconds, at once if chance wants it.
        await at.clock.advance(300)
        assert am.order()[-1] == "b2-0"
        await at.clock.advance(31 + 31)
        assert am.order()[-1] == "b2-1"
