"""What libraries load for themselves when they are imported, and a sidecar never uses.

aiohttp makes a TLS context for clients that bring none, and reads the system's authorities into it: 2 MB of every
sidecar, most of which speak https to nobody. Clients here bring their own (`http_client.client_context`), which is made
with them and reads the authorities then; one that forgot to would trust nobody. aiohttp also reads the system's
table of file types, to name files that a server here never sends.

This is no licence to import late: what taking telemetry in or paging needs is imported before the start is over,
because a full disk or a deleted file must not break either.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["lean_imports"]

_AUTHORITIES = "SSL_CERT_FILE"
"""Where OpenSSL is told of another file of authorities."""


@contextmanager
def lean_imports() -> Iterator[None]:
    """Around the first import of aiohttp in a process; the environment is as it was afterwards."""
    mimetypes.knownfiles.clear()
    before = os.environ.get(_AUTHORITIES)
    os.environ[_AUTHORITIES] = os.devnull
    try:
        yield
    finally:
        if before is None:
            del os.environ[_AUTHORITIES]
        else:
            os.environ[_AUTHORITIES] = before
