"""Arguments of commands that are more than words and numbers, read and refused in one place."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sentinel.reference.ledger.domain import (
    InvalidTransferError,
    LedgerError,
    UsageError,
    check_tenant,
)
from sentinel.reference.ledger.domain.limits import Limit
from sentinel.reference.ledger.domain.tenant import Network, Opening, Tier

_EDGES_COUNT_MAX: Final = 1000
_PROCESSES_COUNT_MAX: Final = 64
# What a tenant may ask at once when nobody says: what it may ask in two seconds.
_BURST_S: Final = 2
_PORT_MAX: Final = 65_535
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600}
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def opening(text: str) -> Opening:
    """Read `NAME[=TIER[:RPS[:BURST]]]`."""
    name, _, terms = text.partition("=")
    tier, _, contract = terms.partition(":")
    rps, _, burst = contract.partition(":")
    if contract and tier != Tier.ENTERPRISE:
        message = f"{text!r}: only the tier enterprise has a contract"
        raise argparse.ArgumentTypeError(message)
    return Opening(
        name=tenant(name),
        tier=_tier(tier) if tier else None,
        limit=limit_of(count(rps), count(burst) if burst else None) if contract else None,
    )


def replicas_count(text: str) -> int:
    """Read how many servers of NATS keep a stream: an odd number, for more than half of them must agree."""
    if text not in ("1", "3", "5"):
        message = f"{text!r} is not 1, 3 or 5"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def add_day(parser: argparse.ArgumentParser) -> None:
    """Add how long a day of the load's shape takes."""
    parser.add_argument(
        "--day-seconds",
        type=float,
        metavar="S",
        help="have days of the shape pass in S seconds, all weeks ordinary; a whole week a day with 12342.857",
    )


def limit_of(rps: int, burst: int | None) -> Limit:
    """Return the limit that is meant when a burst is given or not."""
    try:
        return Limit(rps=rps, burst=_BURST_S * rps if burst is None else burst)
    except LedgerError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def tenant(text: str) -> str:
    """Read a tenant's name."""
    try:
        check_tenant(text)
    except InvalidTransferError as error:
        raise argparse.ArgumentTypeError(error.message.replace("X-Tenant", "a tenant")) from error
    return text


def port(text: str) -> int:
    """Read a port; 0 is a free one."""
    if not text.isdigit() or int(text) > _PORT_MAX:
        message = f"{text!r} is no port, a number from 0 (a free one) to {_PORT_MAX}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def network(text: str) -> Network:
    """Read a network, or one address."""
    try:
        return ip_network(text)
    except ValueError as error:
        message = f"{text!r} is no network such as 192.0.2.0/24 or 2001:db8::/32: {error}"
        raise argparse.ArgumentTypeError(message) from error


def count(text: str) -> int:
    """Read a whole number above 0."""
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) == 0:
        message = f"{text!r} is no whole number above 0"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def processes_count(text: str) -> int:
    """Read how many processes of one machine do the same."""
    read = count(text)
    if read > _PROCESSES_COUNT_MAX:
        message = f"{read} processes are more than {_PROCESSES_COUNT_MAX}"
        raise argparse.ArgumentTypeError(message)
    return read


def edges_count(text: str) -> int:
    """Read how many edges there are."""
    read = count(text)
    if read > _EDGES_COUNT_MAX:
        message = f"{read} edges are more than {_EDGES_COUNT_MAX}"
        raise argparse.ArgumentTypeError(message)
    return read


def moment(text: str) -> datetime:
    """Read a moment with its zone, or `now`."""
    if text == "now":
        return datetime.now(UTC)
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        message = f"{text!r} is no moment such as 2026-01-31T22:00:00+01:00, or now"
        raise argparse.ArgumentTypeError(message)
    return read


def span(text: str) -> timedelta:
    """Read a length of time such as 90m or 2h."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS:
        message = f"{text!r} is no length of time such as 90m, 2h or 1d"
        raise argparse.ArgumentTypeError(message)
    return timedelta(**{_UNITS[unit]: count(number)})


def duration_s(text: str) -> int:
    """Read whole seconds such as 10s, 5m or 1h."""
    number, unit = (text[:-1], text[-1:]) if text[-1:] in _UNITS_S else (text, "s")
    if not number.isdigit() or int(number) == 0:
        message = f"{text!r} is no duration such as 10s, 5m or 1h"
        raise argparse.ArgumentTypeError(message)
    return int(number) * _UNITS_S[unit]


def seconds(text: str) -> float:
    """Read seconds above 0, up to a day."""
    try:
        read = float(text)
    except ValueError:
        read = 0.0
    if not 0 < read <= 86_400:
        message = f"{text!r} is no number of seconds above 0 and at most 86400"
        raise argparse.ArgumentTypeError(message)
    return read


def zone(name: str) -> str:
    """Return the IANA time zone's name.

    Raises:
        UsageError: there is none of this name.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"unknown time zone {name!r}"
        raise UsageError(message) from error
    return name


def _tier(text: str) -> Tier:
    try:
        return Tier(text)
    except ValueError as error:
        message = f"{text!r} is no tier: standard or enterprise"
        raise argparse.ArgumentTypeError(message) from error
