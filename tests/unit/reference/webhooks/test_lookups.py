"""Goal: names that do not resolve cost their own tenant its places and nobody else anything, and no wait is without an end.

Method: lookups that block until the test lets them go.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from sentinel.reference.ledger.webhooks.lookups import LookupConfig, Lookups


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What blocks; open at the end, whatever happens."""
    found = threading.Event()
    yield found
    found.set()


async def idle(lookups: Lookups) -> None:
    async with asyncio.timeout(10):
        while lookups.under_way_count:
            await asyncio.sleep(0.001)


async def test_a_tenant_has_its_own_places_and_no_others(gate: threading.Event) -> None:
    lookups = Lookups(LookupConfig(tenant_count_max=2, wait_s=30.0))
    slow = [asyncio.create_task(lookups.find("slow", gate.wait)) for _ in range(20)]
    await asyncio.sleep(0)
    assert lookups.under_way_count == 2
    # In its turn only if nobody's places were shared: the gate is shut.
    assert await lookups.find("good", lambda: "found") == "found"
    assert not any(one.done() for one in slow)
    gate.set()
    assert await asyncio.gather(*slow) == [True] * 20
    await idle(lookups)


async def test_all_of_them_are_bounded(gate: threading.Event) -> None:
    lookups = Lookups(LookupConfig(count_max=3, tenant_count_max=1, wait_s=0.05))
    answers = await asyncio.gather(
        *(lookups.find(f"t{number}", gate.wait) for number in range(9)), return_exceptions=True
    )
    assert [type(one) for one in answers] == [socket.gaierror] * 9
    # Nobody waits any more, and the threads are their tenants' still.
    assert lookups.under_way_count == 3
    gate.set()
    await idle(lookups)
    assert await lookups.find("t0", lambda: "found") == "found"


async def test_a_place_is_given_back_when_its_thread_ends_and_not_before(
    gate: threading.Event,
) -> None:
    lookups = Lookups(LookupConfig(tenant_count_max=1, wait_s=0.05))
    for _ in range(3):
        with pytest.raises(socket.gaierror):
            await lookups.find("slow", gate.wait)
        assert lookups.under_way_count == 1
    gate.set()
    await idle(lookups)
    assert await lookups.find("slow", lambda: "found") == "found"


async def test_what_a_lookup_raises_is_raised(gate: threading.Event) -> None:
    def unknown() -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    lookups = Lookups(LookupConfig())
    with pytest.raises(socket.gaierror, match="no such name"):
        await lookups.find("shop", unknown)
    await idle(lookups)


@pytest.mark.parametrize(
    "limits", [{"count_max": 0}, {"tenant_count_max": 0}, {"tenant_count_max": 65}, {"wait_s": 0}]
)
def test_limits_that_cannot_work_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        LookupConfig(**limits)
