"""The webhook: takes reviews over HTTPS, within bounds, and always answers 200 with `allowed`.

Small reviews, which nearly all are, are worked on where they are read, in the very call that read them, which takes less than a
millisecond. A large one would hold up all others, so it goes to a thread beside them; what takes longer than there is time for is
answered without it, and counts against the bounds until it ends.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import hdrs, web

from sentinel.admission.config import ReviewsConfig, WebhookListenConfig
from sentinel.admission.review import (
    ReviewAnswer,
    ReviewError,
    ReviewRules,
    answer_review,
    give_up,
)
from sentinel.runtime.auth import AccessScope
from sentinel.runtime.component import Health, HealthRecord, Surroundings
from sentinel.runtime.http.server import (
    ConnectionLimitsConfig,
    HttpServer,
    RenderError,
    Route,
)
from sentinel.runtime.listen import ListenConfig
from sentinel.runtime.settings import Duration
from sentinel.runtime.tls import TlsConfig

PATH = "/mutate"
_AT_ONCE_BYTES = 128 * 1024
_THREADS = 1
"""More would take as long, for Python works on one at a time, and hold more memory."""
_WAIT = re.compile(r"([0-9]{1,3})s")
_OF_THE_WAIT = 0.8
"""Of what the API server waits: the rest is for the way there and back."""
_CONNECTIONS = ConnectionLimitsConfig(
    # An API server has 200 reviews under way at most by its defaults, each on a connection of its own.
    connection_count_max=640,
    # API servers keep their connections for a minute and a half, and a closed one fails a review in the worst moment.
    idle_timeout=Duration(120.0),
    drain_timeout=Duration(5.0),
)


class Webhook:
    """The component `admission.webhook`.

    Args:
        listen: where.
        tls: the certificate, followed when it changes.
        limits: asked at each review, for they may be set anew.
        rules: what is answered, asked at each review.
        surroundings: clock, metrics and log.
        render_error: answers to what is no review at all, such as another path.
    """

    def __init__(
        self,
        listen: WebhookListenConfig,
        tls: TlsConfig,
        limits: Callable[[], ReviewsConfig],
        rules: Callable[[], ReviewRules],
        surroundings: Surroundings,
        *,
        render_error: RenderError,
    ) -> None:
        self._limits = limits
        self._rules = rules
        self._surroundings = surroundings
        self._health = HealthRecord(surroundings.clock)
        self._load = _Load()
        self._threads: ThreadPoolExecutor | None = None
        self._server = HttpServer(
            self.name,
            ListenConfig(address=listen.address, port=listen.port, tls=tls),
            _CONNECTIONS,
            # Whoever reaches this gets an answer about what it sent itself, and changes nothing by it.
            [
                Route(
                    path=PATH,
                    methods={hdrs.METH_POST: self._take},
                    scope=AccessScope.OPEN,
                    at_once=True,
                )
            ],
            surroundings,
            render_error=render_error,
            listen_setting="listen",
            # API servers keep none, and each handshake would send them in a packet of their own.
            tls_ticket_count=0,
        )

    @property
    def name(self) -> str:
        """Unique name of the component."""
        return "admission.webhook"

    @property
    def url(self) -> str:
        """Where reviews are sent, from this machine."""
        return f"{self._server.url}{PATH}"

    async def start(self) -> None:
        """Listen; OSError when the address cannot be bound, ConfigError when the certificate cannot be used."""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="review")
        await self._server.start()
        self._health.ok(f"Listening on {self._server.url}")

    async def stop(self) -> None:
        """Answer what was begun, and close; idempotent."""
        await self._server.stop()
        threads, self._threads = self._threads, None
        if threads is not None:
            # What is late already is not waited for.
            threads.shutdown(wait=False, cancel_futures=True)
        self._health.failing("Stopped")

    def health(self) -> Health:
        """The present state."""
        return self._health.current

    async def _take(self, request: web.BaseRequest) -> web.Response:
        clock = self._surroundings.clock
        started_s = clock.monotonic_s()
        answer, whole = self._answered_at_once(request), True
        if answer is None:
            # A handler that is begun where it is read gives the loop a turn before it waits.
            await asyncio.sleep(0)
            answer, whole = await self._answered(request)
        metrics = self._surroundings.metrics
        metrics.count("sentinel_admission_reviews_total", outcome=answer.outcome.value)
        metrics.observe("sentinel_admission_review_seconds", clock.monotonic_s() - started_s)
        if isinstance(answer.outcome, ReviewError):
            self._tell(answer)
        response = web.Response(body=answer.body, content_type="application/json")
        if not whole:
            # What is left of the body would be read as the next request.
            response.force_close()
        return response

    def _answered_at_once(self, request: web.BaseRequest) -> ReviewAnswer | None:
        """The answer to a small review that is there whole already; None for any other."""
        size_bytes = request.content_length
        limits = self._limits()
        if (
            size_bytes is None
            or size_bytes > min(_AT_ONCE_BYTES, limits.body_max)
            or not request.content.is_eof()
            or self._threads is None
        ):
            return None
        place = self._load.take(size_bytes, limits)
        if place is None:
            return None
        data = b""
        try:
            data = request.content.read_nowait()
            return answer_review(data, self._rules())
        except Exception as error:  # noqa: BLE001  # the pod is let through, and the fault is counted and logged
            return give_up(ReviewError.FAULT, data, cause=error)
        finally:
            place.leave()

    async def _answered(self, request: web.BaseRequest) -> tuple[ReviewAnswer, bool]:
        """The answer, and whether the body was read to its end."""
        limits = self._limits()
        read: list[bytes] = []
        cause: Exception | None = None
        error = ReviewError.FAULT
        # A body of unknown length may become as large as the limit.
        declared = request.content_length
        held_bytes = min(limits.body_max if declared is None else declared, limits.body_max)
        place = self._load.take(held_bytes, limits)
        try:
            async with asyncio.timeout(_limit_s(request, limits)):
                if place is None:
                    error = ReviewError.OVERLOADED
                    read.append(await request.content.readany())
                elif await _read(request, read, limits.body_max):
                    return await self._decide(b"".join(read), place), True
                else:
                    error = ReviewError.TOO_LARGE
        except TimeoutError:
            error = ReviewError.LATE
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as raised:  # noqa: BLE001  # the pod is let through, and the fault is counted and logged
            cause = raised
        finally:
            if place is not None:
                place.leave()
        whole = request.content.at_eof()
        return give_up(error, b"".join(read[:2]), cause=cause), whole

    async def _decide(self, data: bytes, place: _Place) -> ReviewAnswer:
        rules = self._rules()
        threads = self._threads
        if len(data) <= _AT_ONCE_BYTES or threads is None:
            return answer_review(data, rules)
        future = threads.submit(answer_review, data, rules)
        place.until(future.add_done_callback)
        return await asyncio.wrap_future(future)

    def _tell(self, answer: ReviewAnswer) -> None:
        self._surroundings.metrics.count(
            "sentinel_admission_errors_total", reason=answer.outcome.value
        )
        cause = answer.cause
        self._surroundings.logger.error(
            "A review was allowed without having been decided",
            extra={"reason": answer.outcome.value},
            exc_info=cause if answer.outcome is ReviewError.FAULT else None,
        )


class _Load:
    """How much is worked on; leaving is safe from any thread, for it only takes from what is there."""

    def __init__(self) -> None:
        self.places: set[_Place] = set()

    def take(self, size_bytes: int, limits: ReviewsConfig) -> _Place | None:
        """A place for a review of this size, or None when there is no room."""
        held_bytes = sum(place.size_bytes for place in list(self.places))
        if (
            len(self.places) >= limits.in_flight_count_max
            or held_bytes + size_bytes > limits.in_flight_bytes_max
        ):
            return None
        place = _Place(load=self, size_bytes=size_bytes)
        self.places.add(place)
        return place


@dataclass(slots=True, kw_only=True, eq=False)
class _Place:
    """Room that one review takes."""

    load: _Load
    size_bytes: int
    is_held: bool = False

    def until(self, when_done: Callable[[Callable[[object], None]], None]) -> None:
        """Keep the room beyond `leave`, until something else is done."""
        self.is_held = True
        when_done(lambda _: self.load.places.discard(self))

    def leave(self) -> None:
        """The request was answered."""
        if not self.is_held:
            self.load.places.discard(self)


async def _read(request: web.BaseRequest, into: list[bytes], limit_bytes: int) -> bool:
    """Read the whole body; False as soon as it is over the limit."""
    size_bytes = 0
    while not request.content.at_eof():
        chunk = await request.content.readany()
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            into.append(chunk[:1024])
            return False
        into.append(chunk)
    return True


def _limit_s(request: web.BaseRequest, limits: ReviewsConfig) -> float:
    """How long there is for an answer: as configured, or less where the API server waits less."""
    said = _WAIT.fullmatch(request.query.get("timeout", ""))
    if said is None or int(said[1]) == 0:
        return limits.time_limit
    return min(limits.time_limit, _OF_THE_WAIT * int(said[1]))
