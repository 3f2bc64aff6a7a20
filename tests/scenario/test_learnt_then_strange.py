"""Goal: with weeks of history behind it, a sidecar pages for what is outside the learnt band, and says who moved first.

Method: the whole program on a manual clock; history goes into its store, a child fits it, telemetry comes over HTTP.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.alertmanager_server import collector
from tests.support.otlp_messages import CONSUMER
from tests.support.whole_app import Calls, config_of, sidecar, usual_of, with_history

pytestmark = pytest.mark.timeout(240)

EDGE = Calls(count=60)
POSTER = Calls(service="ledger-poster", kind=CONSUMER, route="ledger.transfers", count=60)
USUAL = {
    **usual_of(EDGE, stage="edge", route="POST /v1/transfers"),
    **usual_of(POSTER, stage="consumer", route="process ledger.transfers"),
}


def slower(calls: Calls) -> Calls:
    return Calls(
        service=calls.service,
        kind=calls.kind,
        route=calls.route,
        count=calls.count,
        duration_s=0.8,
    )


@pytest.mark.parametrize(
    ("strange", "signal"),
    [
        (Calls(count=3), "traffic"),
        (Calls(count=60, failed_count=12), "errors"),
        (Calls(count=60, duration_s=0.8), "latency"),
    ],
)
async def test_what_is_outside_the_learnt_band_pages(
    tmp_path: Path, strange: Calls, signal: str
) -> None:
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await with_history(side, USUAL, days=15)
            await side.windows(12, EDGE, POSTER)
            assert side.decided[-1].scored_count == len(USUAL)
            assert hook.distinct() == []
            await side.windows(6, strange, POSTER)
            await side.sees(lambda: bool(hook.distinct()), "the page")
            page = hook.distinct()[0]
            assert page["labels"]["alertname"] == "SentinelAnomaly"
            assert page["labels"]["service"] == "ledger"
            assert page["labels"]["severity"] == "page"
            (incident,) = await side.incidents()
            assert incident["members"][0]["signal"] == signal
            expected = USUAL[next(key for key in USUAL if key[0] == "ledger" and key[3] == signal)]
            assert incident["members"][0]["expected"] == pytest.approx(
                expected, rel=0.15, abs=0.01
            )
            assert "expected" in page["annotations"]["summary"]


async def test_the_stage_that_moved_first_is_named(tmp_path: Path) -> None:
    with collector() as hook:
        async with sidecar(
            config_of(tmp_path, webhook_url=hook.url), fits_in_a_child=True
        ) as side:
            await with_history(side, USUAL, days=15)
            await side.windows(12, EDGE, POSTER)
            await side.windows(2, EDGE, slower(POSTER))
            await side.windows(4, slower(EDGE), slower(POSTER))
            await side.sees(
                lambda: any(one["labels"]["service"] == "ledger" for one in hook.distinct()),
                "the page of the edge",
            )
            by_service = {one["group"]: one for one in await side.incidents()}
            mover = by_service["ledger"]["first_mover"]
            assert (mover["service"], mover["stage"]) == ("ledger-poster", "consumer")
            assert mover["lead_s"] == pytest.approx(20.0, abs=10.0)
            (page,) = [one for one in hook.distinct() if one["labels"]["service"] == "ledger"]
            assert "ledger-poster" in page["annotations"]["first_mover"]
