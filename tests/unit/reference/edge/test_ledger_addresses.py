"""Goal: a client's address is the peer's, unless a proxy that is trusted names another.

Method: peers, headers and trusted networks in, an address or none out.
"""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from sentinel.reference.ledger.edge.limits.addresses import client_address, is_among

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        # Nobody who is not trusted can say who he is.
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # What a client has written itself stands left of what the proxy has added.
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["not an address"], None),
        ("10.0.0.1", ["198.51.100.1, "], None),
        ("10.0.0.1", [", ".join(["10.0.0.2"] * 17)], None),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fe80::1%eth0", [], "fe80::1"),
        (None, ["198.51.100.1"], None),
        ("", [], None),
    ],
)
def test_who_the_client_is(peer: str | None, forwarded: list[str], client: str | None) -> None:
    found = client_address(peer=peer, forwarded=forwarded, trusted=PROXIES)
    assert (str(found) if found is not None else None) == client


def test_a_network_holds_addresses_of_its_own_family_only() -> None:
    address = client_address(peer="192.0.2.7", forwarded=(), trusted=())
    assert address is not None
    assert is_among(address, [ip_network("2001:db8::/32"), ip_network("192.0.2.0/24")])
    assert not is_among(address, [ip_network("::/0"), ip_network("198.51.100.0/24")])
    assert not is_among(address, [])
