"""Records of Kong's http-log as `kong.log.serialize` makes them, made from the recorded one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "data" / "kong"
_RECORDED = (DATA / "http_log_single.json").read_text()


def record(
    number: int,
    *,
    started_ms: int,
    status: int = 200,
    by_kong: bool = False,
    route: str = "orders-v1",
    request_ms: int = 45,
) -> dict[str, Any]:
    """One request; `number` makes its id."""
    made: dict[str, Any] = json.loads(_RECORDED)
    made["request"]["id"] = f"{number:032x}"
    made["trace_id"] = {"w3c": f"{number + 1:032x}"}
    made["response"]["status"] = status
    made["route"]["name"] = route
    made["started_at"] = started_ms
    made["source"] = "kong" if by_kong else "upstream"
    made["upstream_status"] = "" if by_kong else str(status)
    proxy_ms = -1 if by_kong else request_ms - 4
    made["latencies"] = {"kong": 3, "proxy": proxy_ms, "request": request_ms, "receive": 1}
    return made
