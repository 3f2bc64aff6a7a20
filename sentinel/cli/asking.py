"""How commands ask a running sidecar: one bounded request, no redirects, no proxy from the environment.

With `--config` everything that asking takes is the sidecar's own: its address, its certificate, which alone is trusted then, and its token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sentinel.cli.options import reason_of, unreadable
from sentinel.errors import ConfigError, RefusedError, UnreachableError

if TYPE_CHECKING:
    from sentinel.app.config import SentinelConfig

DEFAULT_URL = "http://127.0.0.1:9640"
_REPLY_BYTES_MAX = 16 * 2**20
_WAIT_MAX_S = 600.0
_UNTRUSTED = "its TLS certificate is not trusted, or it does not speak TLS"


def add_address(
    parser: argparse.ArgumentParser,
    *,
    config_help: str = "its configuration, to take address, certificate and token from",
) -> None:
    """The options that say which sidecar is asked, and how long; what makes no sense is a fault of usage."""
    parser.add_argument(
        "--url", type=_url, metavar="URL", help=f"its address (default: {DEFAULT_URL})"
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="PATH",
        help=config_help,
    )
    parser.add_argument(
        "--ca-file",
        type=Path,
        metavar="FILE",
        help="authorities to trust, in PEM, instead of the system's (with --config: instead of its own certificate)",
    )
    parser.add_argument(
        "--timeout",
        type=_wait_s,
        default=5.0,
        metavar="SECONDS",
        help="longest wait (default: 5)",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """The sidecar that is meant.

    Attributes:
        url: where it answers, without a slash at the end.
        read_token, admin_token: by which its pages are read, and changed; "" for none.
        trust: whom to believe; None for the authorities of the system.
    """

    url: str
    read_token: str = field(default="", repr=False)
    admin_token: str = field(default="", repr=False)
    trust: ssl.SSLContext | None = None


def sidecar_of(args: argparse.Namespace, config: SentinelConfig | None = None) -> Sidecar:
    """The sidecar that is meant: as said, else as configured, else the default.

    Args:
        args: parsed by what `add_address` and, where there is one, `add_token` added.
        config: where `--config` was read already.

    Raises:
        ConfigError: the configuration cannot be used.
        UnreachableError: it takes a free port, which only the running sidecar knows; a file cannot be read.
    """
    if config is None and args.config is not None:
        # Imported here: without a configuration nothing of it is needed.
        from sentinel.app.config import load_config

        config = load_config(args.config, environment=os.environ).config
    given = getattr(args, "token_file", None)
    token = _token(given) if given else ""
    trust = _trusting(args.ca_file) if args.ca_file else None
    if config is None:
        return Sidecar(
            url=str(args.url or DEFAULT_URL), read_token=token, admin_token=token, trust=trust
        )
    from sentinel.runtime.auth import AccessScope, token_for
    from sentinel.runtime.tls import pinned_context

    listen = config.web.listen
    url = str(args.url) if args.url else _configured_url(args.config, config)
    if trust is None and listen.tls is not None:
        trust = pinned_context(listen.tls)
    # A token that is served behind TLS is not shown in the clear to whoever is at an address that was typed.
    may_show = listen.tls is None or url.startswith("https:")
    read = token_for(listen.tokens, AccessScope.READ) if may_show else ""
    admin = token_for(listen.tokens, AccessScope.ADMIN) if may_show else ""
    return Sidecar(url=url, read_token=token or read, admin_token=token or admin, trust=trust)


def _configured_url(path: Path, config: SentinelConfig) -> str:
    from sentinel.runtime.listen import bind_address

    listen = config.web.listen
    if not listen.port:
        msg = f"{path} lets the port be chosen at the start: say --url"
        raise UnreachableError(msg)
    scheme = "https" if listen.tls else "http"
    # What is listened on everywhere is asked for here.
    address = ip_address(bind_address(listen.address))
    host = "localhost" if address.is_unspecified else str(address)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listen.port}"


def _trusting(path: Path) -> ssl.SSLContext:
    from sentinel.runtime.tls import load_authorities

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        load_authorities(context, "--ca-file", str(path))
    except ConfigError as error:
        msg = "; ".join(f"--ca-file: {problem.message}" for problem in error.problems)
        raise UnreachableError(msg) from error
    return context


def add_token(parser: argparse.ArgumentParser, what: str = "read") -> None:
    """The option for pages that ask who reads them, or does `what` else."""
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help=f"file with a token that may {what}"
    )


def ask(
    args: argparse.Namespace, path: str, *, said: dict[str, str] | None = None
) -> dict[str, Any]:
    """The JSON object at `path`; with `said`, what it answers to that.

    Raises:
        UnreachableError: there is no answer in time, or none that a sidecar gives; or the token's file
            cannot be read.
        RefusedError: it answered with an error.
    """
    sidecar = sidecar_of(args)
    url = sidecar.url + path
    token = sidecar.read_token if said is None else sidecar.admin_token
    status, body = get(url, token=token, trust=sidecar.trust, timeout_s=args.timeout, said=said)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if status != 200:
        detail = document.get("error", "") if isinstance(document, dict) else ""
        if isinstance(detail, dict):
            detail = str(detail.get("message", ""))
        detail = detail or "the sidecar refused"
        if status == 401:
            detail += f"{'' if token else '; no token was shown'}: give --token-file, or --config with its configuration"
        raise RefusedError(detail, status=status, endpoint=url)
    if not isinstance(document, dict):
        msg = f"{url} did not answer as a sidecar does"
        raise UnreachableError(msg)
    return document


def get(
    url: str,
    *,
    token: str = "",
    trust: ssl.SSLContext | None = None,
    timeout_s: float,
    said: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of one bounded GET, or POST of what is said.

    Raises:
        UnreachableError: there is no answer in time; the message says why.
    """
    try:
        return asyncio.run(_fetch(url, token=token, trust=trust, timeout_s=timeout_s, said=said))
    except TimeoutError:
        reason = "no answer in time"
    except OSError as error:
        reason = reason_of(error)
    parts = urlsplit(url)
    msg = f"{parts.scheme}://{parts.netloc} cannot be reached: {reason}"
    if reason == "connection refused":
        msg += "\nIs it running? It is started by sentinel run, and asked elsewhere with --url."
    if reason == _UNTRUSTED and trust is None:
        msg += "\nTrust its authority with --ca-file, or its own certificate with --config."
    raise UnreachableError(msg)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        msg = "must be http(s)://HOST:PORT, without a user"
        raise argparse.ArgumentTypeError(msg)
    return text.rstrip("/")


def _wait_s(text: str) -> float:
    try:
        wait_s = float(text)
    except ValueError:
        wait_s = 0.0
    if not 0 < wait_s <= _WAIT_MAX_S:
        msg = f"must be above 0 and at most {_WAIT_MAX_S:g} seconds"
        raise argparse.ArgumentTypeError(msg)
    return wait_s


def _token(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        msg = unreadable(path, error)
    except UnicodeDecodeError:
        msg = f"{path} cannot be read: a token is plain ASCII text"
    raise UnreachableError(msg)


async def _fetch(
    url: str,
    *,
    token: str,
    trust: ssl.SSLContext | None,
    timeout_s: float,
    said: dict[str, str] | None,
) -> tuple[int, bytes]:
    """One bounded request; OSError or TimeoutError, in words of ours, when there is no answer."""
    # Imported here: the grammar is built without a client.
    import aiohttp

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.request(
                "GET" if said is None else "POST",
                url,
                headers=headers,
                json=said,
                ssl=True if trust is None else trust,
                allow_redirects=False,
            ) as reply,
        ):
            chunks: list[bytes] = []
            size_bytes = 0
            async for chunk in reply.content.iter_chunked(64 * 1024):
                size_bytes += len(chunk)
                if size_bytes > _REPLY_BYTES_MAX:
                    msg = f"the answer is larger than {_REPLY_BYTES_MAX} bytes"
                    raise OSError(msg)
                chunks.append(chunk)
            return reply.status, b"".join(chunks)
    except TimeoutError:
        raise
    # The client's own words speak of TLS where there is none, and quote addresses twice.
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
        raise OSError(_UNTRUSTED) from error
    except aiohttp.ClientConnectorDNSError as error:
        msg = "there is no such host"
        raise OSError(msg) from error
    except aiohttp.ClientConnectorError as error:
        raise OSError(error.os_error.errno or 0, reason_of(error.os_error)) from error
    except (aiohttp.ClientError, ValueError) as error:
        msg = "it does not answer as a sidecar does"
        raise OSError(msg) from error
