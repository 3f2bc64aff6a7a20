"""Where a request comes from: the peer, or whom a proxy names that is trusted to name anybody."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from sentinel.reference.ledger.domain.tenant import Network

Address = IPv4Address | IPv6Address

FORWARDED_HEADER: Final = "X-Forwarded-For"
_HOPS_COUNT_MAX: Final = 16


def client_address(
    *, peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]
) -> Address | None:
    """Return the client's address, or None when it cannot be told.

    Each proxy adds whom it was asked by at the end, so the list is read from there for as long as its
    authors are trusted: what stands further left is anybody's word. A peer that is not trusted is the
    client, whatever it says.

    Args:
        peer: the other end of the connection.
        forwarded: the values of X-Forwarded-For, in the order of the headers.
        trusted: networks of the proxies that may say for whom they ask.
    """
    client = _address(peer or "")
    if client is None or not is_among(client, trusted):
        return client
    hops = [hop for value in forwarded for hop in value.split(",")]
    for hop in reversed(hops[-_HOPS_COUNT_MAX:]):
        client = _address(hop.strip())
        if client is None or not is_among(client, trusted):
            return client
    # Nobody but proxies of ours, or more of them than there can be.
    return client if len(hops) <= _HOPS_COUNT_MAX else None


def is_among(address: Address, networks: Sequence[Network]) -> bool:
    """Say whether an address is of one of the networks."""
    return any(address in network for network in networks)


@lru_cache(maxsize=1024)
def _address(text: str) -> Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A socket that listens on both families shows the old addresses in the new form.
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
