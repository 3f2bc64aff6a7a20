"""What a user may set about forwarding."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from sentinel.runtime.http.client import ClientConfig, checked_url
from sentinel.runtime.settings import ByteSize, Duration, Secret, setting

ENDPOINTS_MAX = 8
HEADERS_MAX = 16
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}\Z")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}\Z")
_OURS = frozenset(("content-type", "content-encoding", "content-length", "host", "te"))


class ForwardProtocol(StrEnum):
    """How an endpoint is spoken to."""

    HTTP = "http"
    GRPC = "grpc"


class RawPlace(StrEnum):
    """Where payloads that may hold secrets wait."""

    MEMORY = "memory"
    DISK = "disk"


class Compression(StrEnum):
    """How requests are compressed."""

    NONE = "none"
    GZIP = "gzip"


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardQueueConfig:
    """The queues of one endpoint; each signal has one of its own on disk and one in memory."""

    max_bytes: ByteSize = setting(
        ByteSize(256 << 20),
        help="Ceiling on the queue on disk of each signal; the oldest is dropped beyond it.",
    )
    memory_max_bytes: ByteSize = setting(
        ByteSize(8 << 20),
        help="Ceiling on the queue in memory of each signal: for what may not be written to disk, and for when the disk"
        " takes nothing.",
    )
    min_free_bytes: ByteSize = setting(
        ByteSize(64 << 20),
        help="Nothing is written while the file system has less free than this, so that the store keeps its own.",
    )
    sync_every: Duration = setting(
        Duration(0.5),
        help="How often what was written is brought to the disk: the most that a loss of power takes.",
    )

    def __post_init__(self) -> None:
        if self.max_bytes < 1 << 18 or self.memory_max_bytes < 1 << 16:
            msg = "max_bytes must be at least 256KiB and memory_max_bytes 64KiB"
            raise ValueError(msg)
        if self.min_free_bytes < 0 or not 0.01 <= self.sync_every <= 60.0:
            msg = "min_free_bytes must not be negative, and sync_every must be 10ms to 60s"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfig:
    """One system that telemetry is handed on to."""

    name: str = setting(
        "upstream",
        help="Name in metrics, logs and the queue's folder: lower-case letters, digits, `-`, `_`.",
    )
    url: str = setting(
        "",
        help="Its base, such as `http://127.0.0.1:4318`; over HTTP `/v1/traces` and so on are put behind it. `https` for"
        " TLS, with either protocol.",
    )
    protocol: ForwardProtocol = setting(
        ForwardProtocol.HTTP, help="`http` (protobuf; what came as JSON stays JSON) or `grpc`."
    )
    traces: bool = setting(True, help="Whether traces are handed on.")  # noqa: FBT003  # a default
    metrics: bool = setting(True, help="Whether metrics are handed on.")  # noqa: FBT003  # a default
    logs: bool = setting(True, help="Whether logs are handed on.")  # noqa: FBT003  # a default
    headers: dict[str, str] = setting({}, help="Headers of every request; no secrets here.")
    secret_headers: Secret | None = setting(
        None, help="More headers, one `Name: value` a line, such as an API key."
    )
    compression: Compression = setting(
        Compression.NONE, help="`gzip` makes requests six times smaller, at three times the CPU."
    )
    request_max_bytes: ByteSize = setting(
        ByteSize(2 << 20),
        help="Payloads that wait are joined to requests of up to this size; receivers of gRPC take 4 MiB as a rule.",
    )
    retry_max: Duration = setting(
        Duration(30.0),
        help="Longest wait between attempts; the endpoint's own wish is heeded up to 5m.",
    )
    client: ClientConfig = setting(ClientConfig(), help="Credentials, TLS and time limits.")
    queue: ForwardQueueConfig = setting(ForwardQueueConfig(), help="What waits for it.")

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            msg = "an endpoint's name has lower-case letters, digits, - and _, at most 32"
            raise ValueError(msg)
        if self.url:
            checked_url(self.url)
            if self.protocol is ForwardProtocol.GRPC and urlsplit(self.url).path.strip("/"):
                msg = "the url of a gRPC endpoint has no path"
                raise ValueError(msg)
        if not 1 << 14 <= self.request_max_bytes <= 1 << 26:
            msg = "request_max_bytes must be 16KiB to 64MiB"
            raise ValueError(msg)
        if not 0.05 <= self.retry_max <= 600.0:
            msg = "retry_max must be 50ms to 10m"
            raise ValueError(msg)
        self.all_headers()

    def all_headers(self) -> dict[str, str]:
        """Every header that is configured, secret ones too; ValueError when one cannot be sent."""
        found = dict(self.headers)
        text = "" if self.secret_headers is None else self.secret_headers.reveal()
        for line in text.splitlines():
            if not line.strip():
                continue
            name, colon, value = line.partition(":")
            if not colon:
                msg = "each line of secret_headers must read Name: value"
                raise ValueError(msg)
            found[name.strip()] = value.strip()
        if len(found) > HEADERS_MAX:
            msg = f"at most {HEADERS_MAX} headers"
            raise ValueError(msg)
        for name, value in found.items():
            if not _HEADER.match(name) or name.lower() in _OURS:
                msg = (
                    "a header's name has letters, digits and -, and is none that every request has"
                )
                raise ValueError(msg)
            if not value.isascii() or not value.isprintable():
                msg = "a header's value must be printable ASCII"
                raise ValueError(msg)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardConfig:
    """Telemetry that was received is handed on; nothing is, as long as there is no endpoint."""

    endpoints: tuple[EndpointConfig, ...] = setting(
        (), help="Where it goes; each has queues of its own, and one that hangs holds up no other."
    )
    redact_spans: bool = setting(
        False,  # noqa: FBT003  # a default
        help="Whether secrets are taken out of traces and metrics too; without it they go byte for byte as they came."
        " Logs are always redacted.",
    )
    raw: RawPlace = setting(
        RawPlace.MEMORY,
        help="Where traces and metrics that were not redacted wait, because they may hold secrets: `memory`, lost with"
        " the process, or `disk`.",
    )
    delay: Duration = setting(
        Duration(0.025), help="How long payloads are gathered before they are handed on together."
    )
    inbox_max: ByteSize = setting(
        ByteSize(16 << 20),
        help="Most bytes that wait to be redacted and queued; what comes beyond is dropped and counted.",
    )
    drain_timeout: Duration = setting(
        Duration(5.0), help="How long a stop waits for what only memory holds to be sent."
    )

    def __post_init__(self) -> None:
        names = [one.name for one in self.endpoints]
        if len(set(names)) != len(names) or len(names) > ENDPOINTS_MAX:
            msg = f"endpoints must have different names, and be at most {ENDPOINTS_MAX}"
            raise ValueError(msg)
        if not all(one.url for one in self.endpoints):
            msg = "endpoints must each have a url"
            raise ValueError(msg)
        if not 0.0 <= self.delay <= 5.0 or self.inbox_max < 1 << 16:
            msg = "delay must be 0 to 5s, and inbox_max at least 64KiB"
            raise ValueError(msg)
        if not 0.0 <= self.drain_timeout <= 60.0:
            msg = "drain_timeout must be 0 to 60s"
            raise ValueError(msg)
