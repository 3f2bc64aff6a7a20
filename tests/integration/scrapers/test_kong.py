"""Goal: a Kong is asked as it wants to be asked, and what its plugin keeps to itself is said with what to switch on.

Method: the target against a status API on loopback, with switches on and off; recorded pages where those say more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import RefusedError, SentinelError
from sentinel.runtime.consumer_tiers import TierConfig
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.polling.reach import ReachStatus
from sentinel.runtime.settings import Duration, Secret
from sentinel.scrapers.kong import KongSwitch, KongTargetConfig
from sentinel.scrapers.kong.component import kong_scraping, kong_target
from tests.support.kong_status import KongStatus, kong_status
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings
from tests.support.whole_app import comes_true

DATA = Path(__file__).parents[2] / "data" / "kong"
NOW_NS = 1_790_000_000 * 10**9
OPTIONAL = (KongSwitch.BANDWIDTH, KongSwitch.UPSTREAM_HEALTH)
TIERS = (TierConfig(name="free", usernames=("trial-*",)),)


class Recorded(KongStatus):
    """Shows a recorded page."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._page = (DATA / name).read_text()

    def page(self) -> str:
        """As recorded."""
        return self._page


async def _notes(kong: KongStatus, **settings: Any) -> tuple[str, ...]:
    target = kong_target(KongTargetConfig(url=kong.url, **settings))
    try:
        return (await target.poll(NOW_NS)).notes
    finally:
        await target.close()


async def test_a_kong_with_all_switches_on_lacks_nothing() -> None:
    async with kong_status(Recorded("metrics_3x.txt")) as kong:
        target = kong_target(KongTargetConfig(url=kong.url, tiers=TIERS))
        polled = await target.poll(NOW_NS)
        assert polled.notes == ()
        assert polled.batch.services == {"kong"}
        assert polled.size_bytes > 0
        (reach,) = await target.reach()
        assert reach.status is ReachStatus.OK
        assert reach.what == "scrapers.kong main"
        await target.close()
        await target.close()


async def test_switches_that_are_off_are_named_with_what_to_do() -> None:
    async with kong_status(Recorded("metrics_3x_switches_off.txt")) as kong:
        notes = await _notes(kong)
        assert notes == (
            "nothing of any request: status_code_metrics, latency_metrics, bandwidth_metrics are off,"
            " or no request has matched a route yet",
            "no health of upstreams: upstream_health_metrics is off, or Kong has no upstreams",
        )
        assert await _notes(kong, off_on_purpose=tuple(KongSwitch)) == ()
        target = kong_target(KongTargetConfig(url=kong.url))
        good, requests, health = await target.reach()
        await target.close()
    assert good.status is ReachStatus.OK
    assert requests.status is health.status is ReachStatus.DEGRADED
    assert "status_code_metrics: true, latency_metrics: true" in requests.remedy
    assert "upstream_health_metrics: true" in health.remedy


@pytest.mark.parametrize(
    ("status_code", "latency", "notes"),
    [
        (True, True, ()),
        (
            False,
            True,
            (
                "no counts by status code, so no errors and no refusals: status_code_metrics is off",
            ),
        ),
        (True, False, ("no latencies: latency_metrics is off",)),
    ],
)
async def test_one_switch_that_is_off_is_told_alone(
    *, status_code: bool, latency: bool, notes: tuple[str, ...]
) -> None:
    async with kong_status() as kong:
        kong.status_code, kong.latency = status_code, latency
        kong.serve(5)
        assert await _notes(kong, off_on_purpose=OPTIONAL) == notes


async def test_tiers_without_consumers_are_told_of() -> None:
    async with kong_status() as kong:
        kong.serve(5)
        notes = await _notes(kong, tiers=TIERS, off_on_purpose=OPTIONAL)
        assert notes == ("no tiers: per_consumer is off, or no consumer has called yet",)
        kong.serve(5, consumer="trial-8")
        assert await _notes(kong, tiers=TIERS, off_on_purpose=OPTIONAL) == ()


async def test_kong_2_is_named() -> None:
    async with kong_status(Recorded("metrics_2x.txt")) as kong:
        (note,) = await _notes(kong, off_on_purpose=OPTIONAL)
    assert note.startswith("this is Kong 2")


async def test_a_page_that_is_none_of_kongs_is_named() -> None:
    async with kong_status(Recorded("README.md")) as kong:
        kong._page = "# TYPE up gauge\nup 1\n"  # type: ignore[attr-defined]  # the recorded one's
        (note,) = await _notes(kong)
    assert note == "nothing of Kong's is on the page"


async def test_a_kong_that_refuses_is_unreachable_for_a_reason() -> None:
    async with kong_status() as kong:
        kong.status = 404
        target = kong_target(KongTargetConfig(url=kong.url))
        with pytest.raises(RefusedError):
            await target.poll(NOW_NS)
        (reach,) = await target.reach()
        assert reach.status is ReachStatus.FAILING
        assert "404" in reach.sentence
        await target.close()
    with pytest.raises(SentinelError):
        await target.poll(NOW_NS)
    await target.close()


async def test_the_admin_api_gets_its_token_and_nobody_sees_it() -> None:
    token = "a-token-that-only-reads"
    async with kong_status() as kong:
        kong.serve(1)
        config = KongTargetConfig(url=kong.url, admin_token=Secret(token))
        target = kong_target(config)
        await target.poll(NOW_NS)
        await target.close()
    assert kong.asked[0]["Kong-Admin-Token"] == token
    assert kong.asked[0]["Accept"].startswith("text/plain")
    assert token not in repr(config)


async def test_the_component_polls_and_says_what_is_missing() -> None:
    sink, surroundings = ListSink(), make_surroundings()
    async with kong_status() as kong:
        kong.serve(5)
        config = KongTargetConfig(url=kong.url)
        scraping = kong_scraping((config,), Downstream(sink=sink), surroundings)
        assert scraping is not None
        await scraping.start()
        try:
            assert await comes_true(lambda: bool(sink.batches), timeout_s=10.0)
            assert sink.batches[0].services == {"kong"}
            assert "bandwidth_metrics is off" in scraping.health().sentence
        finally:
            await scraping.stop()
    assert kong_scraping((), Downstream(sink=sink), surroundings) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Main"},
        {"url": "ftp://x"},
        {"url": "http://user:secret@127.0.0.1:8007/metrics"},
        {"service": ""},
        {"timeout": Duration(20.0)},
        {"sample_count_max": 0},
        {"tiers": (TierConfig(name="gold", tags=("x",)),)},
    ],
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        KongTargetConfig(**wrong)
