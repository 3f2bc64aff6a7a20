"""Where exports are asked for and fetched: addresses and methods, for the edge that serves them and the gateway that lets them through."""

from __future__ import annotations

from typing import Final

BASE: Final = "/v2/exports"
FILE_TYPE: Final = "application/x-ndjson"

# Path, and by method what is done there.
EXPORT_ROUTES: Final = (
    (BASE, {"POST": "ask", "GET": "list"}),
    (f"{BASE}/{{id}}", {"GET": "show"}),
    (f"{BASE}/{{id}}/file", {"GET": "fetch"}),
)
