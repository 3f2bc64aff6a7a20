"""Goal: a store that fails and a queue that is full cost nothing but what is counted; pages go out all the same.

Method: the whole program on a manual clock; the store's own methods fail or wait when the test says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.errors import StoreError
from sentinel.ports import Tick
from tests.support.alertmanager_server import collector
from tests.support.otlp_messages import traces
from tests.support.whole_app import Calls, config_of, sidecar, until

pytestmark = pytest.mark.timeout(60)

WINDOW_NS = 10 * 10**9
BURST = Calls(failed_count=40)


class Failing:
    """Stands before a method of the store and lets it fail."""

    def __init__(self, method: Callable[..., object]) -> None:
        self._method = method
        self.broken = True

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Fail, or do it."""
        if self.broken:
            msg = "the disk is gone"
            raise StoreError(msg)
        return self._method(*args, **kwargs)


async def test_what_happens_while_the_store_fails_still_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page goes out from memory at once, and the incident is known when there is a store again.

    It waited for the store, which on a full disk was until somebody made room: the outage had ended by then. And
    once, a new series that the store would not name stopped every decision on the series that it knew.
    """
    with collector() as hook:
        async with sidecar(config_of(tmp_path, webhook_url=hook.url)) as side:
            await side.windows(2, Calls())
            tick = Failing(side.app.store.sync.append_tick)
            register = Failing(side.app.store.sync.register)
            monkeypatch.setattr(side.app.store.sync, "append_tick", tick)
            monkeypatch.setattr(side.app.store.sync, "register", register)
            await side.windows(3, BURST, Calls(route="/v1/new"))
            await side.sees(lambda: bool(hook.distinct()), "the page")
            unrecorded = "sentinel_pages_unrecorded_total"
            # Counted once its delivery is known, which is after the destination has it.
            await side.sees(
                lambda: side.metrics.value(unrecorded, destination="webhook:hook") == 1,
                "the count of it",
            )
            _, status = await side.get("/api/v1/status")
            health = status["components"]["pipeline.evaluate"]
            assert health["status"] == "failing"
            assert "the disk is gone" in health["sentence"]
            dropped = side.metrics.value("sentinel_store_dropped_windows_total", reason="failing")
            assert dropped == 3
            assert side.metrics.value("sentinel_series_unnamed_total") == 9
            tick.broken = register.broken = False
            await side.window(BURST, Calls(route="/v1/new"))
            (incident,) = await side.incidents()
            assert incident["state"] == "open"
            assert len(side.decided[-1].keys) == 6
            _, status = await side.get("/api/v1/status")
            assert status["components"]["pipeline.evaluate"]["status"] == "ok"
            assert side.metrics.value("sentinel_windows_dropped_total", reason="failed") == 0
            await side.window(BURST)
            outbox = "sentinel_outbox_entries"
            await side.sees(
                lambda: side.metrics.value(outbox, destination="webhook:hook") == 0, "the record"
            )
            assert len(hook.distinct()) == 1


async def test_a_full_queue_turns_senders_away_and_what_they_send_again_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tmp_path)
    config = replace(config, series=replace(config.series, queue_count_max=2))
    async with sidecar(config) as side:
        await side.windows(2, Calls())
        may_store = threading.Event()
        stored = side.app.store.sync.append_tick

        def slow(tick: Tick) -> bool:
            may_store.wait(60)
            return stored(tick)

        monkeypatch.setattr(side.app.store.sync, "append_tick", slow)
        first_ns = side.next_ns
        await side.send(Calls())
        # The window is being stored, and that does not end.
        await side.clock.advance(7.0)
        spans = Calls().spans(first_ns + WINDOW_NS)
        bodies = [
            traces(*spans[at : at + 10]).SerializeToString() for at in range(0, len(spans), 10)
        ]
        statuses = [await side.post("/v1/traces", body) for body in bodies]
        assert statuses == [200, 200, 503, 503, 503]
        assert side.retry_after_s >= 1
        assert side.metrics.value("sentinel_ingest_refused_batches_total") >= 1
        may_store.set()
        await until(lambda: side.is_decided(first_ns), what="the store")
        for body in bodies[2:]:
            for _ in range(100):
                if await side.post("/v1/traces", body) == 200:
                    break
                await side.clock.advance(0.02)
        side.next_ns += WINDOW_NS
        await side.close()
        weights = await side.app.store.run(
            lambda: [
                float(weight)
                for block in side.app.store.sync.windows(
                    step_ns=WINDOW_NS, start_ns=first_ns, end_ns=2**62
                )
                for weight in block.weight[:, 0]
            ]
        )
        assert weights == [50, 50]
