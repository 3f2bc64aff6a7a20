"""Where webhook endpoints are kept: addresses and methods, for the edge that serves them and the gateway that lets them through."""

from __future__ import annotations

from typing import Final

BASE: Final = "/v2/webhook_endpoints"
# How many deliveries are listed, and how many at most.
DELIVERIES_COUNT: Final = 50
DELIVERIES_COUNT_MAX: Final = 200
_ONE: Final = f"{BASE}/{{id}}"

# Path, and by method what is done there.
ENDPOINT_ROUTES: Final = (
    (BASE, {"POST": "register", "GET": "list"}),
    (_ONE, {"GET": "show", "DELETE": "delete"}),
    (f"{_ONE}/rotate", {"POST": "rotate"}),
    (f"{_ONE}/enable", {"POST": "enable"}),
    (f"{_ONE}/test", {"POST": "test"}),
    (f"{_ONE}/deliveries", {"GET": "deliveries"}),
)
