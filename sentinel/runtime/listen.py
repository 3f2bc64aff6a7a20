"""Where a server listens, and the refusal of an exposed address without TLS and a token."""

from __future__ import annotations

import dataclasses
import errno
import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sentinel.runtime.auth import AccessScope, TokensConfig
from sentinel.runtime.config.text import join
from sentinel.runtime.settings import setting
from sentinel.runtime.tls import TlsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenConfig:
    """An address to listen on. Anything but loopback needs TLS and a token, or start-up refuses."""

    address: str = setting(
        "127.0.0.1",
        help="IP address, or `localhost`; another than loopback needs `tls` and a token.",
        restart=True,
    )
    port: int = setting(0, help="TCP port; 0 takes a free one.", restart=True)
    tls: TlsConfig | None = setting(
        None, help="Certificate and key; unset is plain.", restart=True
    )
    tokens: TokensConfig = setting(
        TokensConfig(), help="Bearer tokens; on loopback they may be left out.", restart=True
    )

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            msg = f"port must be between 0 and 65535, not {self.port}"
            raise ValueError(msg)
        # Resolves nothing: a name could point elsewhere tomorrow.
        bind_address(self.address)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return _is_loopback(bind_address(self.address))


def bind_address(address: str) -> str:
    """The literal IP address to bind; ValueError for anything that is not one.

    >>> bind_address("localhost")
    '127.0.0.1'
    """
    if address == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        msg = f"address must be an IP address or localhost, not {address!r}"
        raise ValueError(msg) from None


def listening(value: object, path: str) -> Iterator[tuple[str, ListenConfig]]:
    """Every address that is listened on below a section, with its path; none of a part that is switched off."""
    if getattr(value, "enabled", True) is False:
        return
    if isinstance(value, ListenConfig):
        yield path, value
    elif dataclasses.is_dataclass(value):
        for one in dataclasses.fields(value):
            yield from listening(getattr(value, one.name), join(path, one.name))


def cannot_listen(listen: ListenConfig, *, setting_path: str, number: int, reason: str) -> OSError:
    """The error of a start that found its address refused, with the setting to change.

    >>> str(cannot_listen(ListenConfig(port=9640), setting_path="web.listen", number=98, reason="x"))
    '[Errno 98] cannot listen on 127.0.0.1:9640 (web.listen.port): the port is taken; is another sentinel running?'
    """
    address = bind_address(listen.address)
    place = f"{f'[{address}]' if ':' in address else address}:{listen.port}"
    if number == errno.EADDRINUSE:
        return OSError(
            number,
            f"cannot listen on {place} ({setting_path}.port): the port is taken; is another sentinel running?",
        )
    return OSError(number, f"cannot listen on {place} ({setting_path}): {reason}")


def refuse_exposed(listen: ListenConfig, *, scopes: Iterable[AccessScope]) -> None:
    """Raise ValueError when others could reach routes of these scopes without TLS and a token."""
    needed = [scope for scope in scopes if scope is not AccessScope.OPEN]
    if listen.is_loopback or not needed:
        return
    missing = ["tls"] if listen.tls is None else []
    missing += [f"tokens.{scope}" for scope in needed if not listen.tokens.opens(scope)]
    if missing:
        msg = (
            f"address {listen.address} can be reached by others and needs {' and '.join(missing)}"
        )
        raise ValueError(msg)


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
