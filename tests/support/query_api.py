"""A server of the query API that answers by a function of time, or ill, as a test tells it to."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Series = Mapping[tuple[tuple[str, str], ...], Callable[[float], float | None]]
"""Labels, and the value at an instant in seconds; None for none."""


@dataclass
class Fault:
    """What a request gets instead of an answer.

    Attributes:
        status: of the reply.
        kind, text: errorType and error.
        headers: besides.
    """

    status: int
    kind: str = "execution"
    text: str = "no"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class QueryApi:
    """The server.

    Attributes:
        queries: what each query gives; one that is not known is a parse error.
        fault_of: asked for each request with its parameters; None for a good answer.
        warnings: of every answer.
        asked: parameters of all requests, with `path` and `method`.
        headers: of all requests.
    """

    queries: dict[str, Series]
    fault_of: Callable[[Mapping[str, str]], Fault | None] = lambda given: None
    warnings: tuple[str, ...] = ()
    asked: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        """One request."""
        given = dict(request.query)
        if request.method == "POST":
            given |= {name: str(value) for name, value in (await request.post()).items()}
        given |= {"path": request.path, "method": request.method}
        self.asked.append(given)
        self.headers.append(dict(request.headers))
        fault = self.fault_of(given)
        if fault is None and given["query"] not in self.queries:
            fault = Fault(400, "bad_data", "1:1: parse error: unexpected")
        if fault is not None:
            document: dict[str, object] = {
                "status": "error",
                "errorType": fault.kind,
                "error": fault.text,
            }
            return web.Response(
                status=fault.status, text=json.dumps(document), headers=fault.headers
            )
        series = self.queries[given["query"]]
        if request.path.endswith("/query"):
            result: list[dict[str, object]] = [
                {"metric": dict(labels), "value": [float(given["time"]), repr(value)]}
                for labels, at in series.items()
                if (value := at(float(given["time"]))) is not None
            ]
            kind = "vector"
        else:
            kind, result = "matrix", self._matrix(series, given)
        document = {"status": "success", "data": {"resultType": kind, "result": result}}
        if self.warnings:
            document["warnings"] = list(self.warnings)
        return web.Response(text=json.dumps(document, separators=(",", ":")))

    @staticmethod
    def _matrix(series: Series, given: Mapping[str, str]) -> list[dict[str, object]]:
        start, end, step = (float(given[name]) for name in ("start", "end", "step"))
        times = [start + step * at for at in range(int((end - start) // step) + 1)]
        found: list[dict[str, object]] = []
        for labels, at in series.items():
            values = [[time, repr(value)] for time in times if (value := at(time)) is not None]
            if values:
                found.append({"metric": dict(labels), "values": values})
        return found


@asynccontextmanager
async def serving(api: QueryApi) -> AsyncIterator[QueryApi]:
    """The server on an ephemeral loopback port; its `url` is set."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield api
    finally:
        await runner.cleanup()
