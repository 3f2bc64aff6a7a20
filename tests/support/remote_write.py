"""A receiver of remote write that reads the wire by itself, byte by byte, and forgives nothing."""

from __future__ import annotations

import http.server
import ssl
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

V1 = "application/x-protobuf"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
STALE_BITS = 0x7FF0000000000002

Sample = tuple[int, int]
"""Unix milliseconds, and the number's bits: a mark of the end is a NaN among many."""


@dataclass
class WriteReceiver:
    """What was received, and what is answered.

    Attributes:
        speaks: versions that are understood, of "1.0" and "2.0".
        looks: whether the content type is looked at; else what is not understood is taken for an empty request.
        answers: for the next requests, (status, headers, body); what is answered so is not kept.
        bytes_max: larger requests are answered with 413.
        series: samples by labels, in the order they came.
        requests: headers of all requests, lower case, with `:status` that was answered.
        help: texts by metric's name.
    """

    speaks: tuple[str, ...] = ("1.0", "2.0")
    looks: bool = True
    answers: deque[tuple[int, dict[str, str], str]] = field(default_factory=deque)
    bytes_max: int = 1 << 20
    series: dict[tuple[tuple[str, str], ...], list[Sample]] = field(default_factory=dict)
    requests: list[dict[str, str]] = field(default_factory=list)
    help: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    url: str = ""

    def numbers(self) -> dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]:
        """Samples as numbers, without marks of an end."""
        return {
            labels: [(at_ms, number_of(bits)) for at_ms, bits in samples if bits != STALE_BITS]
            for labels, samples in self.series.items()
        }

    def take(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], str]:
        """Answer one request."""
        if self.answers:
            return self.answers.popleft()
        if len(body) > self.bytes_max:
            return 413, {}, "too large"
        assert headers["content-encoding"] == "snappy"
        assert headers["user-agent"].startswith("sentinel/")
        content = headers["content-type"]
        assert content in {V1, V2}
        version = "2.0" if content == V2 else "1.0"
        expected = {"1.0": "0.1.0", "2.0": "2.0.0"}[version]
        assert headers["x-prometheus-remote-write-version"] == expected
        if version not in self.speaks:
            return (415, {}, "unknown version") if self.looks else (204, {}, "")
        read = read_v2 if version == "2.0" else read_v1
        count = 0
        for labels, samples, metric_help in read(unsnapped(body)):
            names = [name for name, _ in labels]
            assert names == sorted(set(names))
            assert all(value for _, value in labels)
            assert "__name__" in names
            own = self.series.setdefault(tuple(labels), [])
            times = [at_ms for at_ms, _ in (*own[-1:], *samples)]
            assert times == sorted(set(times)), times
            own += samples
            count += len(samples)
            self.help[dict(labels)["__name__"]] = metric_help
        if version == "1.0":
            return 204, {}, ""
        written = {
            f"X-Prometheus-Remote-Write-{what}-Written": "0"
            for what in ("Histograms", "Exemplars")
        }
        return 204, written | {"X-Prometheus-Remote-Write-Samples-Written": str(count)}, ""


@contextmanager
def write_receiver(*, tls: ssl.SSLContext | None = None, **how: object) -> Iterator[WriteReceiver]:
    """A receiver on a free port; what it could not read fails the test that used it."""
    receiver = WriteReceiver(**how)  # type: ignore[arg-type]  # the test's own names

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers["content-length"]))
            try:
                status, more, text = receiver.take(headers, body)
            except (AssertionError, KeyError, ValueError, IndexError, struct.error) as error:
                receiver.faults.append(f"{type(error).__name__}: {error}")
                status, more, text = 400, {}, f"cannot be read: {error}"
            receiver.requests.append({**headers, ":status": str(status)})
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            data = text.encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}/api/v1/write"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert receiver.faults == []


Read = Iterator[tuple[list[tuple[str, str]], list[Sample], str]]


def read_v1(data: bytes) -> Read:
    """Series of a WriteRequest of 1.0."""
    helps = {}
    series: list[bytes] = []
    for number, value in fields(data, {1: bytes, 3: bytes}):
        if number == 1:
            series.append(value)
            continue
        about = dict(fields(value, {1: int, 2: bytes, 4: bytes}))
        assert about[1] == 2  # a gauge
        helps[about[2].decode()] = about[4].decode()
    for one in series:
        labels, samples = [], []
        for number, value in fields(one, {1: bytes, 2: bytes}):
            if number == 1:
                pair = dict(fields(value, {1: bytes, 2: bytes}))
                labels.append((pair[1].decode(), pair[2].decode()))
            else:
                samples.append(sample_of(value))
        yield labels, samples, helps[dict(labels)["__name__"]]


def read_v2(data: bytes) -> Read:
    """Series of a Request of 2.0."""
    symbols: list[str] = []
    series: list[bytes] = []
    for number, value in fields(data, {4: bytes, 5: bytes}):
        if number == 4:
            assert not series
            symbols.append(value.decode())
        else:
            series.append(value)
    assert symbols[0] == ""
    assert len(set(symbols)) == len(symbols)
    used = {0}
    for one in series:
        refs: list[int] = []
        samples = []
        about: dict[int, int] = {}
        for number, value in fields(one, {1: bytes, 2: bytes, 5: bytes}):
            if number == 1:
                at = 0
                while at < len(value):
                    ref, at = varint(value, at)
                    refs.append(ref)
            elif number == 2:
                samples.append(sample_of(value))
            else:
                about = dict(fields(value, {1: int, 3: int}))
        assert len(refs) % 2 == 0
        assert 0 not in refs
        assert about[1] == 2
        used |= {*refs, about[3]}
        texts = [symbols[ref] for ref in refs]
        labels = list(zip(texts[0::2], texts[1::2], strict=True))
        yield labels, samples, symbols[about[3]]
    assert used == set(range(len(symbols)))


def sample_of(data: bytes) -> Sample:
    """Time and bits of a sample; the same field numbers in both versions."""
    found = dict(fields(data, {1: float, 2: int}))
    return int(found.get(2, 0)), int(found.get(1, 0))


def number_of(bits: int) -> float:
    """A double from its bits."""
    (number,) = struct.unpack("<d", struct.pack("<Q", bits))
    return float(number)


def fields(data: bytes, known: dict[int, type]) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a message; one that is not known, or of another type, is a fault."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        assert number in known, f"field {number}"
        if wire == 0:
            assert known[number] is int
            value, at = varint(data, at)
            yield number, value
        elif wire == 1:
            assert known[number] is float
            yield number, int.from_bytes(data[at : at + 8], "little")
            at += 8
        elif wire == 2:
            assert known[number] is bytes
            size, at = varint(data, at)
            assert at + size <= len(data)
            yield number, data[at : at + size]
            at += size
        else:
            msg = f"wire type {wire}"
            raise ValueError(msg)


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A varint, and where it ends."""
    found = shift = 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return found, at


def unsnapped(data: bytes) -> bytes:
    """What a snappy block holds: literals, and copies of what came before."""
    size, at = varint(data, 0)
    found = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        kind, length = tag & 3, (tag >> 2) + 1
        if kind == 0:
            if length > 60:
                extra = length - 60
                length = int.from_bytes(data[at : at + extra], "little") + 1
                at += extra
            found += data[at : at + length]
            at += length
            continue
        if kind == 1:
            length = (tag >> 2 & 7) + 4
            offset = (tag >> 5) << 8 | data[at]
            at += 1
        else:
            width = 2 if kind == 2 else 4
            offset = int.from_bytes(data[at : at + width], "little")
            at += width
        assert 0 < offset <= len(found)
        for _ in range(length):
            found.append(found[-offset])
    assert len(found) == size
    return bytes(found)
