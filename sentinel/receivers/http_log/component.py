"""Kong's http-log plugin: what the gateway says of each call it answered, one by one or in batches.

Kong keeps a batch that was not answered with 2xx and sends it again, whole, for a minute, then drops it. So answers are quick:
200 means that the batch is held in memory until its windows close. What was taken is remembered by its request's id for
a while, so that a batch whose answer was lost is not counted twice.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

import orjson
from aiohttp import hdrs, web

from sentinel.core.model import RejectReason, Rung, SampleBatch
from sentinel.core.normalise.kong.log import KongLogReader, KongLogSettings
from sentinel.core.normalise.kong.rows import Row
from sentinel.core.normalise.kong.seen_ids import SeenIds
from sentinel.core.normalise.otlp_logs_encode import encode_logs_request
from sentinel.errors import MalformedInputError, UnsupportedInputError
from sentinel.receivers.http_log.config import HttpLogConfig
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.consumer_tiers import checked_tiers
from sentinel.runtime.flow import Flow, FlowReason
from sentinel.runtime.http.intake import BodyRoute, HttpIntake, ReceivedBody, media_type_of
from sentinel.runtime.intake.downstream import NO_TAP, Downstream, Telemetry
from sentinel.runtime.intake.request import Intake
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal

PATH = "/kong"
TOKEN_HEADER = "X-Sentinel-Token"  # noqa: S105  # a header's name
_METHODS = (hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH)
_MEDIA_TYPE = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read(SampleBatch):
    """The rows of one body, not yet a batch."""

    rows: list[Row] = field(default_factory=list)

    @property
    def sample_count(self) -> int:
        return len(self.rows)


class _Reader:
    """Reads bodies as the intake asks it to."""

    def __init__(self, settings: KongLogSettings) -> None:
        self._reader = KongLogReader(settings)
        self._services = frozenset({settings.service})

    def decode(
        self,
        signal: OtlpSignal,  # noqa: ARG002  # the intake's; there is one
        encoding: OtlpEncoding,  # noqa: ARG002  # the intake's; there is one
        body: bytes,
        *,
        now_ns: int,
    ) -> SampleBatch:
        rows, rejected = self._reader.rows(body, now_ns=now_ns)
        return _Read(rows=rows, rejected=rejected, services=self._services)


class HttpLogReceiver:
    """Answers `POST`, `PUT` and `PATCH` on `/kong`."""

    def __init__(
        self, config: HttpLogConfig, downstream: Downstream, surroundings: Surroundings
    ) -> None:
        self._config = config
        self._downstream = downstream
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._flow = Flow(self.name, surroundings.metrics)
        settings = KongLogSettings(
            service=config.service,
            tiers=checked_tiers(config.tiers),
            every_route=config.every_route,
            as_otlp=downstream.tap is not NO_TAP,
        )
        self._batches = KongLogReader(settings)
        self._seen = SeenIds(count_max=config.remembered_count_max)
        self._intake = Intake(
            self.name,
            config.intake,
            lambda: _Reader(settings),
            downstream,
            surroundings,
            services=frozenset({config.service}),
        )
        self._http = HttpIntake(
            self.name,
            self._intake,
            [
                BodyRoute(
                    path=PATH,
                    methods=_METHODS,
                    signal=OtlpSignal.LOGS,
                    # These are a gateway's calls: what is left to see by when traces and logs are shed.
                    admitted_as=OtlpSignal.METRICS,
                    check_head=_check_head,
                    take=self._take,
                    authorization=_authorization_of,
                )
            ],
            surroundings,
            listen=config.listen,
            connections=config.connections,
            body=config.body,
            render_refusal=_render_refusal,
        )

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "receivers.http_log"

    @property
    def port(self) -> int:
        """The port that is listened on; 0 while it is not."""
        return self._http.port

    @property
    def url(self) -> str:
        """What `http_endpoint` of the plugin is set to."""
        return f"{self._http.url}{PATH}"

    async def start(self) -> None:
        """Listen; OSError when the address cannot be bound."""
        await self._http.start()
        self._health.ok(f"Listening on {self.url}")

    async def stop(self) -> None:
        """Turn new requests away, answer the ones begun, close."""
        await self._http.stop()
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current

    async def _take(self, body: ReceivedBody) -> web.Response:
        read = await self._intake.decode(
            OtlpSignal.LOGS, OtlpEncoding.JSON, body.data, wire_bytes=body.wire_bytes
        )
        assert isinstance(read, _Read), "the reader's own"
        if set(read.rejected) == {RejectReason.BAD_SHAPE} and not read.rows:
            self._flow.received(read.rejected_count, signal=OtlpSignal.LOGS.value)
            self._flow.dropped(FlowReason.MALFORMED, read.rejected_count)
            msg = "nothing in the body is a record of Kong's http-log"
            raise MalformedInputError(msg)
        duplicates = self._hand_on(read, size_bytes=len(body.data))
        return _render(
            200,
            {
                "taken": len(read.rows) - duplicates,
                "duplicates": duplicates,
                "rejected": {reason.value: count for reason, count in read.rejected.items()},
            },
        )

    def _hand_on(self, read: _Read, *, size_bytes: int) -> int:
        """Give what is new to the sink and the tap; how many records were not new.

        From the look at what was seen to the note of what was taken nothing is awaited: the same records may come twice at once.
        """
        fresh_of = self._seen.fresh([row.identity for row in read.rows])
        rows = [row for row, fresh in zip(read.rows, fresh_of, strict=True) if fresh]
        lines = not self._downstream.shedding.sheds(Rung.LOGS)
        made = self._batches.batch(rows, lines=lines)
        batch = SampleBatch(
            calls=made.calls,
            events=made.events,
            logs=made.logs,
            rejected=read.rejected,
            services=made.services,
        )
        duplicates = len(read.rows) - len(rows)
        self._intake.hand_on(
            OtlpSignal.LOGS,
            batch,
            size_bytes=size_bytes,
            count=len(rows),
            left_out_count=duplicates,
        )
        self._seen.remember([row.identity for row in rows])
        twice = self._downstream.twins.by_http(
            [row.identity for row in rows],
            now_s=self._surroundings.clock.monotonic_s(),
            every_route=self._config.every_route,
        )
        for source, count in twice.items():
            self._surroundings.metrics.count(
                "sentinel_log_requests_told_twice_total", count, source=source
            )
        self._flow.dropped(FlowReason.DUPLICATE, duplicates)
        if not lines and self._config.every_route and rows:
            # No record is dropped: its call is counted, and it is handed on. It is not counted as a line, that is all.
            self._surroundings.metrics.count(
                "sentinel_receiver_uncounted_lines_total", len(rows), receiver=self.name
            )
        if rows and self._downstream.tap is not NO_TAP:
            body = encode_logs_request(
                [row.otlp for row in rows],
                resource={"service.name": self._config.service},
                scope_name="kong.http-log",
            )
            self._downstream.tap.offer(
                Telemetry(
                    signal=OtlpSignal.LOGS,
                    encoding=OtlpEncoding.PROTOBUF,
                    body=body,
                    item_count=len(rows),
                    redacted=True,
                )
            )
        return duplicates


def _check_head(request: web.BaseRequest) -> None:
    if media_type_of(request) != _MEDIA_TYPE:
        msg = f"content type must be {_MEDIA_TYPE}"
        raise UnsupportedInputError(msg)


def _authorization_of(request: web.BaseRequest) -> str | None:
    """What a caller shows, as a bearer token: Kong can send any header, or a name and password out of its URL."""
    token = request.headers.get(TOKEN_HEADER)
    if token:
        return f"Bearer {token}"
    shown = request.headers.get(hdrs.AUTHORIZATION)
    kind, _, encoded = (shown or "").strip().partition(" ")
    if kind.lower() != "basic":
        return shown
    try:
        pair = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    # The password is the token; the name says nothing.
    return f"Bearer {pair.partition(':')[2]}"


def _render(status: int, fields: dict[str, object]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(fields), content_type=_MEDIA_TYPE)


def _render_refusal(
    request: web.BaseRequest,  # noqa: ARG001  # the port's; Kong is answered in one form
    status: int,
    message: str,
    /,
    *,
    retry_after_s: float | None = None,  # noqa: ARG001  # the header says it
) -> web.Response:
    return _render(status, {"error": message})
