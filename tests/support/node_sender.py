"""OpenTelemetry's exporters for Node.js, run once with all that they are to send."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.skips import require_binary

FOLDER = Path(__file__).parents[1] / "node"
WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one service sends, and how.

    Attributes:
        service: its name.
        transport: `http-proto`, `http-json` or `grpc`.
        url: where to, without a path.
        gzip: whether it is compressed.
        signals: what of traces, metrics and logs, in this order.
        spans: how many; every fourth has failed.
        end_ms: when its spans ended and its lines were written (Unix).
        names: whether each span has a name of its own.
        timeout_ms: how long an export may take with all its retries.
    """

    service: str
    transport: str
    url: str
    gzip: bool = False
    signals: tuple[str, ...] = ("traces",)
    spans: int = 200
    end_ms: int = 0
    names: bool = False
    timeout_ms: int = 30_000

    def plain(self) -> dict[str, Any]:
        """As the script reads it."""
        return {
            "service": self.service,
            "transport": self.transport,
            "url": self.url,
            "gzip": self.gzip,
            "signals": list(self.signals),
            "spans": self.spans,
            "endMs": self.end_ms,
            "names": self.names,
            "timeoutMs": self.timeout_ms,
        }


def require_node() -> str:
    """The path of Node.js with the exporters installed; skips where they are not, which fails the run with CI=true."""
    node = require_binary("node")
    if not (FOLDER / "node_modules" / "@opentelemetry").is_dir():
        pytest.skip("the exporters for Node.js are not installed (make node-deps)")
    return node


async def sent(*plans: Plan) -> list[dict[str, list[str]]]:
    """How each export of each plan ended, by signal: `ok`, or the code of its error."""
    node = require_node()
    process = await asyncio.create_subprocess_exec(
        node,
        str(FOLDER / "send.mjs"),
        json.dumps({"plans": [plan.plain() for plan in plans]}),
        env={"PATH": str(Path(node).parent), "NODE_OPTIONS": "--max-old-space-size=256"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    found = json.loads(out)
    assert isinstance(found, list)
    return found
