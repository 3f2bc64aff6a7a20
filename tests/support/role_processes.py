"""A scorer and its collectors as processes, traffic that is dealt out to them, and what was stored of it."""

from __future__ import annotations

import math
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sentinel.storage.sqlite import StoreReader
from tests.support.otlp_messages import SERVER, span, traces
from tests.support.sidecar_process import SidecarProcess

SECOND_NS = 10**9
_COMMON = """
series: {{window: 1s, lateness: 1s, tick: 100ms}}
store: {{directory: {store}}}
web: {{listen: {{port: 0}}}}
"""
_DECIDES = """
incidents: {{hold: 3s, guards: {{error_window_count: 1, blind_after: 2s, blind_heard: 2s}}}}
senders: {{webhooks: [{{name: hook, url: "{hook}"}}]}}
"""
_WAYS = "otlp_http: {listen: {port: 0}}, otlp_grpc: {enabled: false}"


def scorer_config(
    folder: Path, *, hook: str, port: int = 0, nats: str = "", merge: str = "wait: 2s, grace: 5s"
) -> Path:
    """A scorer at a port, or at a stream."""
    ways = f"windows_http: {{listen: {{port: {port}}}}}"
    if nats:
        ways = f'windows_http: {{enabled: false}}, windows_nats: {{urls: ["{nats}"], max_bytes: 64MiB}}'
    return _written(
        folder,
        f"role: score\nreceivers: {{{_WAYS}, {ways}}}\nmerge: {{{merge}}}\n"
        + (_COMMON + _DECIDES).format(store=folder / "store", hook=hook),
    )


def collector_config(folder: Path, name: str, *, url: str = "", nats: str = "") -> Path:
    """A collector of a scorer at a port, or at a stream."""
    way = f'url: "{url}"' if url else f'nats: {{urls: ["{nats}"], max_bytes: 64MiB}}'
    return _written(
        folder,
        f"role: collect\nreceivers: {{{_WAYS}}}\ncollect: {{name: {name}, retry_max: 500ms, {way}}}\n"
        + _COMMON.format(store=folder / "store"),
    )


def single_config(folder: Path, *, hook: str) -> Path:
    """One process that does both."""
    return _written(
        folder,
        f"receivers: {{{_WAYS}}}\n"
        + (_COMMON + _DECIDES).format(store=folder / "store", hook=hook),
    )


def _written(folder: Path, text: str) -> Path:
    folder.mkdir()
    path = folder / "sentinel.yaml"
    path.write_text(text)
    return path


class Traffic:
    """Calls of one place, some a turn, to one process each and all of them to another; from a thread of its own."""

    def __init__(self, *, a_turn: int = 30, every_s: float = 0.25) -> None:
        self._a_turn, self._every_s = a_turn, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._lock = threading.Lock()
        self._dealt: dict[str, str] = {}
        self._whole: str | None = None
        self._number = 1
        self.failing = False
        self.of_second: Counter[int] = Counter()
        """Calls by the second they ended in that some process took."""
        self.refused = 0
        """Calls that no process took; their seconds are not to be judged."""

    @contextmanager
    def flowing(self) -> Iterator[None]:
        """Sent until the end, whatever happens."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def deal_to(self, collectors: Mapping[str, SidecarProcess]) -> None:
        """Deal out to these from now on."""
        urls = {name: side.addresses["otlp_http_url"] for name, side in collectors.items()}
        with self._lock:
            self._dealt = urls

    def send_all_to(self, side: SidecarProcess) -> None:
        """Send all of it here as well."""
        with self._lock:
            self._whole = side.addresses["otlp_http_url"]

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            # A turn lies within one second, so that what is refused of it is that second's.
            now_ns = time.time_ns()
            if now_ns % SECOND_NS < 50_000_000:
                continue
            with self._lock:
                urls, whole = list(self._dealt.values()), self._whole
                spans = [
                    self._span(now_ns - 40_000_000 + at * 1_000_000) for at in range(self._a_turn)
                ]
                if whole is not None:
                    _post(whole, spans)
                for at, url in enumerate(urls):
                    own = spans[at :: len(urls)]
                    if _post(url, own):
                        self.of_second[now_ns // SECOND_NS] += len(own)
                    else:
                        self.refused += len(own)

    def _span(self, end_ns: int) -> Span:
        self._number += 1
        return span(
            "POST /pay",
            kind=SERVER,
            number=self._number,
            end_ns=end_ns,
            duration_s=0.05,
            error=self.failing,
            http__request__method="POST",
            http__route="/pay",
        )


def _post(url: str, spans: Sequence[Span]) -> bool:
    request = urllib.request.Request(  # loopback
        f"{url}/v1/traces",
        data=traces(*spans, service="pay").SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return int(reply.status) == 200
    except OSError:
        return False


def stored_calls(folder: Path) -> dict[int, int | None]:
    """Calls of the place by second, as they are stored; None where it is not known how many there were."""
    found: dict[int, int | None] = {}
    with StoreReader(folder / "store") as reader:
        ids = [
            row.series_id
            for row in reader.series()
            if row.key.signal == "traffic" and row.key.service == "pay"
        ]
        for block in reader.windows(step_ns=SECOND_NS, start_ns=0, end_ns=2**62):
            columns = {series_id: at for at, series_id in enumerate(block.series.tolist())}
            for series_id in ids:
                if series_id not in columns:
                    continue
                for at in range(block.window_count):
                    value = float(block.value[at, columns[series_id]])
                    second = block.start_ns // SECOND_NS + at
                    found[second] = None if math.isnan(value) else round(value)
    return found
