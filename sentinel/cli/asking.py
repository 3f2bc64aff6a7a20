"""How commands ask a running sidecar: one bounded request, no redirects, no proxy from the environment."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sentinel.cli.options import reason_of, unreadable
from sentinel.errors import RefusedError, UnreachableError

DEFAULT_URL = "http://127.0.0.1:9640"
_REPLY_BYTES_MAX = 16 * 2**20
_WAIT_MAX_S = 600.0


def add_address(
    parser: argparse.ArgumentParser,
    *,
    config_help: str = "its configuration, to take the address from instead",
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
        "--timeout",
        type=_wait_s,
        default=5.0,
        metavar="SECONDS",
        help="longest wait (default: 5)",
    )


def address_of(args: argparse.Namespace) -> str:
    """Where the sidecar that is meant answers: as said, else as configured, else the default.

    Raises:
        ConfigError: the configuration cannot be used.
        UnreachableError: it takes a free port, which only the running sidecar knows.
    """
    if args.url:
        return str(args.url)
    if args.config is None:
        return DEFAULT_URL
    # Imported here: without a configuration nothing of it is needed.
    from sentinel.app.config import load_config
    from sentinel.runtime.listen import bind_address

    listen = load_config(args.config, environment=os.environ).config.web.listen
    if not listen.port:
        msg = f"{args.config} lets the port be chosen at the start: say --url"
        raise UnreachableError(msg)
    scheme = "https" if listen.tls else "http"
    # What is listened on everywhere is asked for here.
    address = ip_address(bind_address(listen.address))
    host = "localhost" if address.is_unspecified else str(address)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{listen.port}"


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
    url = address_of(args) + path
    token = _token(args.token_file) if args.token_file else ""
    status, body = get(url, token=token, timeout_s=args.timeout, said=said)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if status != 200:
        detail = document.get("error", "") if isinstance(document, dict) else ""
        if isinstance(detail, dict):
            detail = str(detail.get("message", ""))
        raise RefusedError(detail or "the sidecar refused", status=status, endpoint=url)
    if not isinstance(document, dict):
        msg = f"{url} did not answer as a sidecar does"
        raise UnreachableError(msg)
    return document


def get(
    url: str, *, token: str = "", timeout_s: float, said: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body of one bounded GET, or POST of what is said.

    Raises:
        UnreachableError: there is no answer in time; the message says why.
    """
    try:
        return asyncio.run(_fetch(url, token=token, timeout_s=timeout_s, said=said))
    except TimeoutError:
        reason = "no answer in time"
    except OSError as error:
        reason = reason_of(error)
    parts = urlsplit(url)
    msg = f"{parts.scheme}://{parts.netloc} cannot be reached: {reason}"
    if reason == "connection refused":
        msg += "\nIs it running? It is started by sentinel run, and asked elsewhere with --url."
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
    url: str, *, token: str, timeout_s: float, said: dict[str, str] | None
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
        msg = "its TLS certificate is not trusted, or it does not speak TLS"
        raise OSError(msg) from error
    except aiohttp.ClientConnectorDNSError as error:
        msg = "there is no such host"
        raise OSError(msg) from error
    except aiohttp.ClientConnectorError as error:
        raise OSError(error.os_error.errno or 0, reason_of(error.os_error)) from error
    except (aiohttp.ClientError, ValueError) as error:
        msg = "it does not answer as a sidecar does"
        raise OSError(msg) from error
