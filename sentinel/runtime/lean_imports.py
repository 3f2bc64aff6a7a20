"""What libraries load too early, and what too late.

aiohttp makes a TLS context for clients that bring none, and reads the system's authorities into it: 2 MB of every
sidecar, most of which speak https to nobody. Clients here bring their own (`http_client.client_context`), which is made
with them and reads the authorities then; one that forgot to would trust nobody. aiohttp also reads the system's
table of file types, to name files that a server here never sends.

Nothing that taking telemetry in or paging needs may be imported after the start: a file that was deleted, or a disk that
fails, must not break either. What is off is not imported at all, what is on when it is made, and what libraries put off
until they need it comes with `import_what_comes_late`.
"""

from __future__ import annotations

import importlib
import mimetypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["import_what_comes_late", "lean_imports"]

_AUTHORITIES = "SSL_CERT_FILE"
"""Where OpenSSL is told of another file of authorities."""

_LATE = (
    "encodings.idna",  # the first name that is looked up, such as that of the first page's destination
    "numpy.ma",  # the first `np.unique`, which is in the first decision
)


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


def import_what_comes_late() -> None:
    """Have all that libraries would import at the first decision or the first page; before either."""
    for name in _LATE:
        importlib.import_module(name)
