"""How commands ask a running sidecar: one bounded GET, no redirects, no proxy from the environment."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sentinel.errors import RefusedError, UnreachableError

DEFAULT_URL = "http://127.0.0.1:9640"
_REPLY_BYTES_MAX = 16 * 2**20


def add_address(parser: argparse.ArgumentParser) -> None:
    """The options that say which sidecar is asked, and how."""
    parser.add_argument("--url", default=DEFAULT_URL, help="its address (default: %(default)s)")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file with a token that may read"
    )
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="longest wait (default: 5)"
    )


def ask(args: argparse.Namespace, path: str) -> dict[str, Any]:
    """The JSON object at `path`.

    Raises:
        UnreachableError: there is no answer in time, or none that a sidecar gives.
        RefusedError: it answered with an error.
    """
    parts = urlsplit(args.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        msg = "--url must be http(s)://HOST:PORT, without a user"
        raise UnreachableError(msg)
    url = args.url.rstrip("/") + path
    token = args.token_file.read_text().strip() if args.token_file else ""
    try:
        status, body = asyncio.run(fetch(url, token=token, timeout_s=args.timeout))
        document = json.loads(body)
    except (OSError, TimeoutError, ValueError) as error:
        msg = f"{url} cannot be reached: {str(error) or 'no answer in time'}"
        raise UnreachableError(msg) from error
    if status != 200:
        detail = document.get("error", "") if isinstance(document, dict) else ""
        raise RefusedError(detail or "the sidecar refused", status=status, endpoint=url)
    if not isinstance(document, dict):
        msg = f"{url} did not answer as a sidecar does"
        raise UnreachableError(msg)
    return document


async def fetch(url: str, *, token: str, timeout_s: float) -> tuple[int, bytes]:
    """Status and body of one bounded GET; OSError, TimeoutError or ValueError when there is none."""
    # Imported here: the grammar is built without a client.
    import aiohttp

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.get(url, headers=headers, allow_redirects=False) as reply,
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
    except aiohttp.ClientError as error:
        raise OSError(str(error)) from error
