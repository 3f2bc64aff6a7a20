"""A shop with a page of metrics, that goes on where its past ended and can be broken."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.prometheus_past import BOUNDS_S, ROUTES, Story


@dataclass
class Shop:
    """What its counters say, second by second as its story has it.

    Attributes:
        story: what each route does.
        error_ratio: more calls that fail than the story says, from now on.
        url: where its page is.
    """

    story: Story
    error_ratio: float = 0.0
    url: str = ""
    _until_s: int = field(default_factory=lambda: int(time.time()))
    _done: dict[str, list[float]] = field(
        default_factory=lambda: {route: [0.0, 0.0] for route in ROUTES}
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def page(self) -> str:
        """Its metrics now."""
        with self._lock:
            for second in range(self._until_s, int(time.time())):
                for route, sums in self._done.items():
                    minute = self.story(route, second)
                    sums[0] += minute.calls_per_s
                    sums[1] += minute.calls_per_s * max(minute.error_ratio, self.error_ratio)
                self._until_s = second + 1
            done = {route: tuple(sums) for route, sums in self._done.items()}
        lines = ["# TYPE http_requests_total counter"]
        for route, (calls, failed) in done.items():
            labels = f'handler="{route}",method="POST"'
            lines.append(f'http_requests_total{{{labels},code="200"}} {calls - failed}')
            if failed:
                lines.append(f'http_requests_total{{{labels},code="503"}} {failed}')
        lines.append("# TYPE http_request_duration_seconds histogram")
        for route, (calls, _) in done.items():
            labels = f'handler="{route}",method="POST"'
            for bound in BOUNDS_S:
                under = 0.0 if bound <= 0.05 else calls
                lines.append(
                    f'http_request_duration_seconds_bucket{{{labels},le="{bound:g}"}} {under}'
                )
            lines.append(f'http_request_duration_seconds_bucket{{{labels},le="+Inf"}} {calls}')
            lines.append(f"http_request_duration_seconds_sum{{{labels}}} {calls * 0.08}")
            lines.append(f"http_request_duration_seconds_count{{{labels}}} {calls}")
        return "\n".join(lines) + "\n"


@contextlib.contextmanager
def shop(story: Story) -> Iterator[Shop]:
    """A running one, on a port of its own."""
    made = Shop(story)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name the base class calls
            body = made.page().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
