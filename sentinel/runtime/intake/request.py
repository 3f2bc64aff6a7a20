"""From a request's bytes to the sink: admission before the body is read, decoding, and the counting of both.

What OTLP over HTTP and over gRPC share. Everything that can go wrong leaves as an exception of
`sentinel.errors`, so that each transport only says it in its own words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from sentinel.core.model import Rung, SampleBatch
from sentinel.errors import InputError, MalformedInputError, OverloadedError, RetryableError
from sentinel.ports import Admission
from sentinel.runtime.component import Surroundings
from sentinel.runtime.flow import Flow, FlowReason, FlowStage, reason_of
from sentinel.runtime.intake.downstream import Downstream, Telemetry
from sentinel.runtime.otlp_reply import OtlpEncoding, OtlpSignal
from sentinel.runtime.settings import ByteSize, Duration, setting

# Above these sizes a thread decodes. An honest body of this size takes some 10 ms (23 ms a MiB of protobuf, 84 of
# JSON were measured); one of nothing but empty messages takes thirty times as long, and must not hold the loop.
_INLINE_PROTOBUF_BYTES = 384 * 1024
_INLINE_JSON_BYTES = 128 * 1024
_SHED_S = 0.25
_TAKEN_SHARE = 0.1
_GOLDEN_RATIO = 0.6180339887498949
_RUNG_OF = {OtlpSignal.TRACES: Rung.TRACES, OtlpSignal.LOGS: Rung.LOGS}
"""What is shed of OTLP; metrics cost little and are what is left to see by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeLimitsConfig:
    """How much may be worked on at once."""

    request_count_max: int = setting(64, help="Most requests worked on at once.")
    inflight_max: ByteSize = setting(
        ByteSize(24 * 2**20), help="Most bytes of requests worked on at once."
    )
    retry_after: Duration = setting(
        Duration(1.0), help="When a sender that is turned away should come back."
    )
    decode_timeout: Duration = setting(
        Duration(20.0), help="Longest time a large request may wait to be decoded."
    )

    def __post_init__(self) -> None:
        for name in ("request_count_max", "inflight_max", "retry_after", "decode_timeout"):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above 0"
                raise ValueError(msg)


class Decoder(Protocol):
    """Turns a body into a batch; raises `InputError` and nothing else. Used by one thread at a time."""

    def decode(
        self, signal: OtlpSignal, encoding: OtlpEncoding, body: bytes, *, now_ns: int
    ) -> SampleBatch:
        """The batch of one request."""
        ...


class Intake:
    """Admits, decodes and hands on, for one receiver."""

    def __init__(
        self,
        receiver: str,
        limits: IntakeLimitsConfig,
        make_decoder: Callable[[], Decoder],
        downstream: Downstream,
        surroundings: Surroundings,
        *,
        services: frozenset[str] = frozenset(),
    ) -> None:
        """Store what is needed; `services` are those that requests tell of, where that is known before they are read."""
        self._receiver = receiver
        self._services = services
        self._limits = limits
        self._make_decoder = make_decoder
        self._decoder = make_decoder()
        # Decoders hold caches that must not be used by two threads; the thread has its own.
        self._thread_decoder: Decoder | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._downstream = downstream
        self._surroundings = surroundings
        self._flow = Flow(receiver, surroundings.metrics)
        self._request_count = 0
        self._asked_while_shed = 0
        self._inflight_bytes = 0
        self._full_until_s = float("-inf")
        self._closed = False

    @property
    def retry_after_s(self) -> float:
        """When a sender that is turned away should come back."""
        return self._limits.retry_after

    @property
    def request_count(self) -> int:
        """Requests worked on now."""
        return self._request_count

    def admit(self, size_bytes: int, signal: OtlpSignal) -> Place:
        """Room for a request of this size, to be used as a context manager.

        Raises:
            OverloadedError: a bound is reached, the sink was full a moment ago, or the signal is shed.
        """
        if self._is_shed(signal):
            self._flow.error(FlowStage.READ, FlowReason.SHED)
            msg = f"overloaded: {signal.value} are not taken for the moment"
            raise self._overloaded(msg)
        try:
            return self._admit(size_bytes, signal)
        except OverloadedError:
            self._flow.error(FlowStage.READ, FlowReason.OVERLOADED)
            self.turned_away(size_bytes, signal)
            raise

    def _is_shed(self, signal: OtlpSignal) -> bool:
        """Whether a request is turned away because its signal is shed; one in some is taken all the same.

        Without any there would be no share of failed calls, and an outage under overload would not be seen.
        """
        rung = _RUNG_OF.get(signal)
        if rung is None or not self._downstream.shedding.sheds(rung):
            return False
        self._asked_while_shed += 1
        # Not each tenth: of ten senders that come in turn that would be always the same one.
        return self._asked_while_shed * _GOLDEN_RATIO % 1.0 >= _TAKEN_SHARE

    def _admit(self, size_bytes: int, signal: OtlpSignal) -> Place:
        if self._closed:
            msg = "shutting down"
            raise self._overloaded(msg)
        if self._request_count >= self._limits.request_count_max:
            msg = "too many requests at once"
            raise self._overloaded(msg)
        if self._surroundings.clock.monotonic_s() < self._full_until_s:
            msg = "the queue is full"
            raise self._overloaded(msg)
        place = Place(self, size_bytes, signal)
        place.grow(size_bytes)
        self._request_count += 1
        return place

    async def take(
        self,
        signal: OtlpSignal,
        encoding: OtlpEncoding,
        body: bytes,
        *,
        wire_bytes: int,
    ) -> SampleBatch:
        """Decode a body and hand its batch on; the batch tells what of it was rejected.

        Raises:
            InputError: the body cannot be used; sending it again fails again.
            OverloadedError: nothing of it was kept; it may be sent again.
        """
        batch = await self.decode(signal, encoding, body, wire_bytes=wire_bytes)
        self.hand_on(signal, batch, size_bytes=len(body))
        # Only what was taken is handed on: what is turned away comes again.
        self._downstream.tap.offer(
            Telemetry(
                signal=signal,
                encoding=encoding,
                body=body,
                item_count=batch.sample_count + batch.rejected_count,
                redacted=False,
            )
        )
        return batch

    async def decode(
        self, signal: OtlpSignal, encoding: OtlpEncoding, body: bytes, *, wire_bytes: int
    ) -> SampleBatch:
        """The batch of a body, beside the loop when it is large; what was received of it is counted once it is handed on.

        Raises:
            InputError: the body cannot be used.
            OverloadedError: decoding is behind.
        """
        self._surroundings.metrics.count(
            "sentinel_receiver_bytes_total", wire_bytes, **self._labels(signal)
        )
        inline_max = (
            _INLINE_JSON_BYTES if encoding is OtlpEncoding.JSON else _INLINE_PROTOBUF_BYTES
        )
        now_ns = self._surroundings.clock.now_ns()
        try:
            if len(body) <= inline_max:
                batch = self._decode(self._decoder, signal, encoding, body, now_ns)
            else:
                batch = await self._decode_aside(signal, encoding, body, now_ns)
        except (InputError, OverloadedError) as error:
            self._flow.error(FlowStage.DECODE, reason_of(error))
            raise
        return batch

    def hand_on(
        self,
        signal: OtlpSignal,
        batch: SampleBatch,
        *,
        size_bytes: int,
        count: int | None = None,
        left_out_count: int = 0,
    ) -> None:
        """Give a batch to the sink, and count it: what was received of it is what was sent and what was dropped.

        What is turned away to come again is not counted as received: it will be then.

        Args:
            signal: what came.
            batch: of a body.
            size_bytes: what it weighs in the queue.
            count: how many samples it stands for, if not as many as it says.
            left_out_count: samples of the body that whoever calls has left out, and counts as dropped.

        Raises:
            MalformedInputError: the sink will never take it.
            OverloadedError: nothing of it was kept.
        """
        admission = self._downstream.sink.accept(batch, size_bytes=size_bytes)
        if admission is Admission.RETRY_LATER:
            # For a moment the next ones are turned away before they cost a decoding.
            self._full_until_s = self._surroundings.clock.monotonic_s() + _SHED_S
            self._flow.error(FlowStage.TAKE, FlowReason.QUEUE_FULL)
            msg = "the queue is full"
            raise self._overloaded(msg)
        taken = batch.sample_count if count is None else count
        self._flow.received(taken + batch.rejected_count + left_out_count, signal=signal.value)
        if admission is Admission.REFUSED:
            self._flow.error(FlowStage.TAKE, FlowReason.MALFORMED)
            self._flow.dropped(FlowReason.MALFORMED, taken)
            self._flow.rejected(batch.rejected)
            msg = "the batch cannot be taken"
            raise MalformedInputError(msg)
        self._flow.sent(taken, signal=signal.value)
        self._flow.rejected(batch.rejected)
        metrics, labels = self._surroundings.metrics, self._labels(signal)
        metrics.count("sentinel_receiver_samples_total", taken, **labels)
        for reason, rejected in batch.rejected.items():
            metrics.count(
                "sentinel_receiver_rejected_samples_total", rejected, reason=reason.value, **labels
            )

    def _labels(self, signal: OtlpSignal) -> dict[str, str]:
        return {"receiver": self._receiver, "signal": signal.value}

    def refuse_new(self) -> None:
        """Admit nothing more; what was admitted goes on."""
        self._closed = True

    def close(self) -> None:
        """Admit nothing more and let go of the thread; idempotent."""
        self._closed = True
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)

    def _decode(
        self,
        decoder: Decoder,
        signal: OtlpSignal,
        encoding: OtlpEncoding,
        body: bytes,
        now_ns: int,
    ) -> SampleBatch:
        try:
            return decoder.decode(signal, encoding, body, now_ns=now_ns)
        except InputError:
            raise
        except Exception as error:
            # A fault of ours that this body found. Were it answered as ours, the sender would bring it back.
            self._surroundings.logger.exception(
                "A request broke the decoder", extra={"receiver": self._receiver}
            )
            msg = "the request cannot be decoded"
            raise MalformedInputError(msg) from error

    async def _decode_aside(
        self, signal: OtlpSignal, encoding: OtlpEncoding, body: bytes, now_ns: int
    ) -> SampleBatch:
        if self._executor is None or self._thread_decoder is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"{self._receiver}.decode")
            self._thread_decoder = self._make_decoder()
        decoder = self._thread_decoder
        # A request that is answered where it was read goes on in a task of its own from here.
        await asyncio.sleep(0)
        decoding = asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: self._decode(decoder, signal, encoding, body, now_ns)
        )
        try:
            return await asyncio.wait_for(decoding, self._limits.decode_timeout)
        except TimeoutError:
            msg = "decoding is behind"
            raise self._overloaded(msg) from None

    def _overloaded(self, message: str) -> OverloadedError:
        return OverloadedError(message, retry_after_s=self._limits.retry_after)

    def turned_away(self, size_bytes: int, signal: OtlpSignal) -> None:
        """Note that a request of this size was told to come again."""
        if (owed := self._downstream.owed) is not None and not self._closed:
            owed.turned_away(
                (self._receiver, signal, size_bytes),
                component=self._receiver,
                signal=signal.value,
                services=self._services,
            )

    def taken(self, size_bytes: int, signal: OtlpSignal) -> None:
        """Note that a request of this size was taken."""
        if (owed := self._downstream.owed) is not None:
            owed.taken((self._receiver, signal, size_bytes))

    def _reserve(self, size_bytes: int, *, own_bytes: int) -> None:
        total = self._inflight_bytes + size_bytes
        # More than the whole bound passes alone, as it does in `Inflight`; how large one may be has a bound of its own.
        if total > self._limits.inflight_max and self._inflight_bytes > own_bytes:
            msg = "too many bytes at once"
            raise self._overloaded(msg)
        if not self._downstream.inflight.take(size_bytes, own_bytes=own_bytes):
            msg = "too many bytes at once, of all receivers"
            raise self._overloaded(msg)
        self._note_inflight(total)

    def _release(self, size_bytes: int) -> None:
        self._request_count -= 1
        self._downstream.inflight.give_back(size_bytes)
        self._note_inflight(self._inflight_bytes - size_bytes)

    def _note_inflight(self, total_bytes: int) -> None:
        self._inflight_bytes = total_bytes
        self._surroundings.metrics.set(
            "sentinel_receiver_inflight_bytes", total_bytes, receiver=self._receiver
        )


class Place:
    """Room that a request holds until it is answered."""

    def __init__(self, intake: Intake, declared_bytes: int, signal: OtlpSignal) -> None:
        self._intake = intake
        self._declared_bytes = declared_bytes
        self._signal = signal
        self._size_bytes = 0

    def grow(self, size_bytes: int) -> None:
        """Hold at least this much; OverloadedError when there is no room for it."""
        if size_bytes > self._size_bytes:
            more_bytes = size_bytes - self._size_bytes
            self._intake._reserve(more_bytes, own_bytes=self._size_bytes)  # noqa: SLF001  # one block, two classes
            self._size_bytes = size_bytes

    def __enter__(self) -> Place:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._intake._release(self._size_bytes)  # noqa: SLF001  # one block, two classes
        if kind is None:
            self._intake.taken(self._declared_bytes, self._signal)
        elif issubclass(kind, RetryableError):
            self._intake.turned_away(self._declared_bytes, self._signal)


def describe_rejected(batch: SampleBatch) -> str:
    """What a sender is told about the samples that were not kept; "" when all were.

    >>> from sentinel.core.model import RejectReason
    >>> describe_rejected(SampleBatch(rejected={RejectReason.BAD_ID: 2, RejectReason.NO_TIME: 1}))
    'not kept: 2 bad_id, 1 no_time'
    """
    if not batch.rejected:
        return ""
    return "not kept: " + ", ".join(
        f"{count} {reason}" for reason, count in sorted(batch.rejected.items())
    )
