"""Whether somebody listens at an address, and shakes hands as is configured; nothing is sent or read beyond that."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from urllib.parse import urlsplit

from sentinel.errors import ConfigError
from sentinel.runtime.http.client import ClientConfig, client_context, place_of


async def connection_problem(url: str, client: ClientConfig) -> str:
    """Why no connection to the URL's host is had, as the end of a sentence; "" when it is."""
    parts = urlsplit(url)
    place = place_of(url)
    context: ssl.SSLContext | bool | None = None
    if parts.scheme == "https":
        try:
            context = client_context(client, url)
        except ConfigError as error:
            return str(error)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(client.connect_timeout):
            _, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    except TimeoutError:
        return f"{place} does not answer within {client.connect_timeout:g} s"
    except ssl.SSLCertVerificationError:
        return f"the certificate of {place} is not trusted"
    except ssl.SSLError:
        return f"{place} does not shake hands as TLS does"
    except socket.gaierror:
        return f"there is no host {parts.hostname}"
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        # asyncio wraps the system's words into its own.
        reason = "connection refused" if isinstance(error, ConnectionRefusedError) else reason
        return f"{reason} at {place}"
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1.0)
    return ""
