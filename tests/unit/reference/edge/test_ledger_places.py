"""Goal: no tenant holds more than its share of places and of room for bodies, and all that was held is given back. Method: values."""

from __future__ import annotations

import resource
import ssl

import pytest
from aiohttp import web

from sentinel.reference.ledger.edge.connections import ConnectionLimits, Told
from sentinel.reference.ledger.edge.listening import Listener, connections_count_max
from sentinel.reference.ledger.edge.places import Full, Place, PlaceLimits, Places

LIMITS = PlaceLimits(
    count_max=6, tenant_count_max=2, bodies_bytes_max=100, tenant_bodies_bytes_max=60
)


def taken(places: Places, tenant: str) -> Place:
    place = places.take()
    assert isinstance(place, Place)
    assert places.take_tenants(place, tenant) is None
    return place


def test_a_tenant_has_its_share_and_all_have_no_more_than_there_is() -> None:
    places = Places(LIMITS)
    held = [taken(places, tenant) for tenant in ("a", "a", "b", "b")]
    turned_away = places.take()
    assert isinstance(turned_away, Place)
    assert places.take_tenants(turned_away, "a") is Full.TENANT_IN_FLIGHT
    held.append(taken(places, "c"))
    assert places.take() is Full.IN_FLIGHT
    places.give_back(turned_away)
    places.give_back(held[0])
    held[0] = taken(places, "a")
    for place in held:
        places.give_back(place)
    # As at the beginning: whoever was turned away has left nothing behind, and no name is remembered.
    assert [taken(places, tenant).tenant for tenant in "aabbcc"] == list("aabbcc")


def test_a_place_is_counted_once_for_its_tenant() -> None:
    places = Places(LIMITS)
    place = taken(places, "a")
    assert places.take_tenants(place, "a") is None
    taken(places, "a")
    places.give_back(place)
    taken(places, "a")


def test_room_for_bodies_is_held_until_the_answer() -> None:
    places = Places(LIMITS)
    first, second, other = (taken(places, tenant) for tenant in ("a", "a", "b"))
    assert places.take_body(first, 50) is None
    assert places.take_body(second, 11) is Full.TENANT_BODIES
    assert places.take_body(second, 10) is None
    assert places.take_body(other, 41) is Full.BODIES
    assert places.take_body(other, 40) is None
    for place in (first, second, other):
        places.give_back(place)
    assert places.take_body(taken(places, "a"), 60) is None
    assert places.take_body(taken(places, "b"), 40) is None


@pytest.mark.parametrize(
    ("files_count", "expected", "expected_with_tls"),
    [
        (1024, 832, 416),
        (4287, 2048, 2047),
        (4288, 2048, 2048),
        (65_536, 2048, 2048),
        (100, 1, 1),
        (resource.RLIM_INFINITY, 2048, 2048),
    ],
)
def test_there_are_no_more_connections_than_files_for_them(
    monkeypatch: pytest.MonkeyPatch, files_count: int, expected: int, expected_with_tls: int
) -> None:
    """With TLS as many files are left to those that are in a handshake, which nobody can count."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files_count, resource.RLIM_INFINITY))
    assert connections_count_max(2048, has_tls=False) == expected
    assert connections_count_max(2048, has_tls=True) == expected_with_tls


@pytest.mark.parametrize(
    ("tls", "expected"), [(None, 832), (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), 416)]
)
async def test_a_listener_takes_as_many_as_its_files_allow(
    monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext | None, expected: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    listener = Listener(
        web.Application(),
        stop_timeout_s=1.0,
        limits=ConnectionLimits(),
        told=Told(failed=lambda _: None, closed=lambda _: None),
    )
    await listener.start(host="127.0.0.1", port=0, tls=tls)
    try:
        assert listener._connections is not None
        assert listener._connections.limits.count_max == expected
    finally:
        await listener.stop()
