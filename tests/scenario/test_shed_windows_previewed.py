"""Goal: windows of an overload are decided again as they were decided live: unknown stays unknown, what paged pages, to the bit.

Method: the whole program in shadow mode on a manual clock, with a history and a fit: traces are given up for a while, calls fail
meanwhile, later a bound turns something away that does not come again. Its store is then read by the preview.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sentinel.core.model import SIGNAL_TRAFFIC, Reason
from tests.support.otlp_messages import traces
from tests.support.previewed import (
    EDGE,
    POSTER,
    USUAL,
    Heard,
    assert_same,
    in_shadow,
    listening,
    previewed,
    told,
)
from tests.support.whole_app import (
    SECOND_NS,
    Sidecar,
    send_in_requests,
    sidecar,
    thought,
    windows_until_resolved,
    with_history,
)

pytestmark = pytest.mark.timeout(120)


def reasons(heard: Heard) -> list[set[Reason]]:
    """Why verdicts are what they are, window by window."""
    return [
        {Reason(int(each)) for each in np.frombuffer(one[2][7], np.int8)} for one in heard.windows
    ]


async def overloaded(side: Sidecar) -> None:
    """Traces are given up for some windows, in which an outage begins and ends."""
    pressure = 0.85
    side.app.overload._pressures = {"queue": lambda: pressure}
    await side.clock.advance(1.5)
    pressure = 0.6  # nothing more, and nothing less
    side.next_ns = -(-side.clock.now_ns() // (10 * SECOND_NS)) * 10 * SECOND_NS
    busy = replace(EDGE, count=300)
    for failed in (0, 0, 300, 300, 300, 0, 0):
        await send_in_requests(side, replace(busy, failed_count=failed), POSTER)
        await side.close()
    pressure = 0.0
    for _ in range(windows_until_resolved()):
        await send_in_requests(side, busy, POSTER)
        await side.close()


async def turned_away(side: Sidecar) -> None:
    """A bound has no room for the calls of one window, and they do not come again."""
    await side.send(POSTER)
    side.app.ingest._queue._item_count_max, before = 0, side.app.ingest._queue._item_count_max
    body = traces(*EDGE.spans(side.next_ns), service=EDGE.service).SerializeToString()
    assert await side.post("/v1/traces", body) == 503
    side.app.ingest._queue._item_count_max = before
    await side.close()
    assert thought(side, SIGNAL_TRAFFIC)[0] is Reason.SHED


async def test_shed_windows_are_previewed_as_they_were_lived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = listening(monkeypatch)
    async with sidecar(in_shadow(tmp_path)) as side:
        await told(side, 4, EDGE, POSTER)
        await with_history(side, USUAL, days=3)
        await told(side, 12, EDGE, POSTER)
        await overloaded(side)
        await told(side, 6, EDGE, POSTER)
        await side.app.fitter.fitted()
        await turned_away(side)
        await told(side, 12, EDGE, POSTER)
        assert side.metrics.value("sentinel_windows_shed_total", signal="traces") >= 8
    shed = [Reason.SHED in each for each in reasons(heard)]
    assert shed.count(True) >= 8
    assert not shed[-1]
    assert heard.pages, "calls that fail page while traces are given up"
    assert all("traffic" not in page.annotations["summary"] for page in heard.pages)

    seen, found = previewed(tmp_path)
    assert found.doubts == []
    assert_same(seen, heard)
    # From the middle of the overload on, the state is brought there through windows of which amounts are unknown.
    middle_ns = heard.windows[shed.index(True) + 3][0]
    part, found = previewed(tmp_path, from_ns=middle_ns)
    assert (found.from_ns, found.doubts) == (middle_ns, [])
    assert part.windows == [one for one in heard.windows if one[0] >= middle_ns]
