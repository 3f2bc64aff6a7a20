"""Where a webhook may be sent: to the world outside, and to nothing that only this machine or its network can reach.

Whoever may register an endpoint tells the ledger whom to call, so the ledger could be made to call its own neighbours: a
database, a metadata service that hands out credentials. Two judgements keep it from that. The URL is judged when it is
registered and before each attempt; each address that its name resolves to is judged before one of them is connected to, and the
connection goes to an address that was judged, so that a name cannot change its meaning in between. What is allowed is listed,
not what is forbidden: an address must be global, of IPv6 in 2000::/3 and none of those that carry one of IPv4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from yarl import (
    URL,
)  # the client's own: a second parser could see another host than the one that is connected to

URL_CHARS_MAX: Final = 2048
_HTTPS_PORT: Final = 443
_PORT_MAX: Final = 65_535
_AUTHORITY_END: Final = re.compile(r"[/?#]")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
# Azure's is an address of the public range; the others are not global, and named so that the reason says what they are.
_METADATA: Final = frozenset(
    map(
        ip_address,
        ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"),
    )
)

Address = IPv4Address | IPv6Address


class Refused(StrEnum):
    """Why nothing is sent there."""

    UNREADABLE = "unreadable"
    TOO_LONG = "too_long"
    SCHEME = "scheme"
    USERINFO = "userinfo"
    FRAGMENT = "fragment"
    PORT = "port"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link_local"
    PRIVATE = "private"
    METADATA = "metadata"
    EMBEDDED_IPV4 = "embedded_ipv4"
    NOT_GLOBAL = "not_global"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPolicy:
    """What the operator allows beside the world's HTTPS.

    Attributes:
        ports: ports that may be named.
        loopback_http: whether `http` and any port of loopback are allowed, as a demonstration on one machine needs.
    """

    ports: frozenset[int] = frozenset({_HTTPS_PORT})
    loopback_http: bool = False

    def __post_init__(self) -> None:
        """Refuse ports that are none."""
        if not all(0 < port <= _PORT_MAX for port in self.ports):
            message = f"a port is a number from 1 to {_PORT_MAX}"
            raise ValueError(message)


class RefusedAddressError(Exception):
    """A URL or an address that nothing is sent to."""

    def __init__(self, reason: Refused) -> None:
        super().__init__(reason.value)
        self.reason = reason


def judge_url(text: str, policy: AddressPolicy) -> URL:
    """Return the URL as the client will use it.

    Its name is not resolved here: `judge_address` has the last word on each address.

    Raises:
        RefusedAddressError: nothing may be sent there.
    """
    if len(text) > URL_CHARS_MAX:
        raise RefusedAddressError(Refused.TOO_LONG)
    # What parsers disagree about: a host behind a backslash, a second line, an address with a zone.
    if not text.isascii() or not text.isprintable() or any(one in text for one in " \\"):
        raise RefusedAddressError(Refused.UNREADABLE)
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError:
        raise RefusedAddressError(Refused.UNREADABLE) from None
    if url.scheme not in ("http", "https"):
        raise RefusedAddressError(Refused.SCHEME)
    if not host or port is None or "%" in host:
        raise RefusedAddressError(Refused.UNREADABLE)
    if "@" in _AUTHORITY_END.split(text.partition("//")[2], maxsplit=1)[0]:
        raise RefusedAddressError(Refused.USERINFO)
    if "#" in text:
        raise RefusedAddressError(Refused.FRAGMENT)
    here = policy.loopback_http and is_loopback_name(host)
    if url.scheme == "http" and not here:
        raise RefusedAddressError(Refused.SCHEME)
    if not here and port not in policy.ports:
        raise RefusedAddressError(Refused.PORT)
    literal = as_address(host)
    if literal is not None:
        judge_address(literal, policy)
    elif _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
        # 127.1, 2130706433, 0x7f.1: no names, and addresses only to some.
        raise RefusedAddressError(Refused.UNREADABLE)
    return url


def judge_address(address: Address, policy: AddressPolicy) -> None:
    """Let an address pass that may be connected to.

    Args:
        address: what a name resolved to, or what stood in the URL.
        policy: what the operator allows.

    Raises:
        RefusedAddressError: nothing may be sent there.
    """
    if address.is_loopback and policy.loopback_http:
        return
    reason = _reason(address)
    if reason is not None:
        raise RefusedAddressError(reason)


def as_address(host: str) -> Address | None:
    """Return the address that a host's name is, or None when it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_loopback_name(host: str) -> bool:
    """Say whether a host can only mean this machine."""
    literal = as_address(host)
    return host == "localhost" if literal is None else literal.is_loopback


def _reason(address: Address) -> Refused | None:
    if address in _METADATA:
        return Refused.METADATA
    if isinstance(address, IPv6Address) and (
        address.ipv4_mapped is not None
        or address.sixtofour is not None
        or address.teredo is not None
    ):
        return Refused.EMBEDDED_IPV4
    if address.is_loopback:
        return Refused.LOOPBACK
    if address.is_link_local:
        return Refused.LINK_LOCAL
    if address.is_multicast or address.is_reserved or address.is_unspecified:
        return Refused.NOT_GLOBAL
    if address.is_private:
        return Refused.PRIVATE
    if not address.is_global:
        return Refused.NOT_GLOBAL
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        # NAT64's prefix is one of these: behind it stands any address of IPv4.
        return Refused.NOT_GLOBAL
    return None
