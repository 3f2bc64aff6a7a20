"""Goal: what health, readiness and crashed tasks say of errors holds no secret. Method: errors that quote one."""

from __future__ import annotations

import asyncio
import logging

from sentinel.runtime.backoff import Backoff
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.component import Health, HealthRecord, HealthStatus
from sentinel.runtime.metrics import Metrics
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.runtime.tasks import TaskGroup
from tests.support.clock import ManualClock

SAID = "cannot read {'card': '4111111111111111', 'password': 'hunter2'}"


def test_sentences_hold_no_secret() -> None:
    """An error's text quotes what it failed on; it was shown as it was in the API and on the pages."""
    record = HealthRecord(ManualClock())
    record.degraded(SAID)
    sentences = [
        record.current.sentence,
        Health(status=HealthStatus.OK, sentence=SAID, since_ns=0).sentence,
        Reach(what="x", status=ReachStatus.OK, sentence=SAID).sentence,
    ]
    for sentence in sentences:
        assert "4111" not in sentence
        assert "hunter2" not in sentence
        assert "cannot read" in sentence


async def test_a_crash_is_told_without_secrets() -> None:
    tasks = TaskGroup("owner", metrics=Metrics(CATALOGUE), logger=logging.getLogger("sentinel.t"))

    async def crash() -> None:
        raise ValueError(SAID)

    tasks.spawn("one", crash, backoff=Backoff(first_s=60.0))
    while not tasks.failing:
        await asyncio.sleep(0)
    assert "4111" not in tasks.failing["one"]
    assert tasks.failing["one"].startswith("ValueError")
    await tasks.close()
